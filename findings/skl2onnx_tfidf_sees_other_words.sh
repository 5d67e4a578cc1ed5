#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: TfidfVectorizer has other numbers.
#
# Guess: TfidfVectorizer converted to ONNX gives the vectors of transform(), or says what it can't do, as it does with
# analyzer="char_wb" and strip_accents. Seen: so it is for single words of plain English letters. With pairs of words
# stop words aren't taken out, and words of one letter, which scikit-learn passes over, stand between two words: of
# "have a dog" the pair "have dog" is lost. Words with accents are cut where the accent is, and lost. sublinear_tf
# takes log(1 + count) for 1 + log(count). Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import re

import numpy as np
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer

texts = np.array([
    "we have a dog and a cat", "we have no dog but i have the cat", "a cat sat on the mat and the cat slept",
    "the café on the corner has a cat", "no café has a dog", "dog dog dog and dog and cat",
])  # fmt: skip


def converted(model: TfidfVectorizer) -> np.ndarray:
    file = convert_sklearn(model, initial_types=[("texts", StringTensorType([None]))]).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"texts": texts})[0]


def by_hand(model: TfidfVectorizer) -> np.ndarray:
    rows = np.zeros((len(texts), len(model.vocabulary_)))
    for row, text in zip(rows, texts):
        words = [word for word in re.findall(r"\w\w+", text) if word not in (model.stop_words or ())]
        pairs = [f"{first} {second}" for first, second in zip(words, words[1:])]
        for term in words + pairs * (model.ngram_range[1] == 2):
            row[model.vocabulary_[term]] += 1
    if model.sublinear_tf:
        rows[rows > 0] = 1 + np.log(rows[rows > 0])
    rows *= model.idf_
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


english = {"lowercase": False, "token_pattern": r"(?u)\b\w\w+\b"}
settings = {
    "single words": {},
    "pairs": {"ngram_range": (1, 2)},
    "pairs, stop words": {"ngram_range": (1, 2), "stop_words": ["the", "and", "on"]},
    "sublinear_tf": {"sublinear_tf": True},
}
for name, setting in settings.items():
    for accents in (False, True):
        model = TfidfVectorizer(**english, **setting).fit(texts)
        chosen = np.array([("é" in text) == accents for text in texts])
        true, told = model.transform(texts).toarray(), converted(model)
        assert np.allclose(true, by_hand(model)), "this has changed: scikit-learn"
        gap = float(np.abs(true - told)[chosen].max())
        lost = int(((true > 0) & (told == 0))[chosen].sum())
        print(f"{name}, texts {'with' if accents else 'without'} accents: up to {gap:.3f} apart; {lost} terms lost")
        right = name == "single words" and not accents
        assert gap < 1e-5 if right else gap > 0.01, "this has changed"

model = TfidfVectorizer(**english, sublinear_tf=True, use_idf=False, norm=None).fit(texts)
place = model.vocabulary_["dog"]
print(f"'dog' four times: {model.transform(texts).toarray()[5, place]:.3f}, of ONNX {converted(model)[5, place]:.3f}")
assert np.isclose(converted(model)[5, place], np.log(5)), "this has changed: the logarithm"
PY
echo "still so"
