#!/usr/bin/env bash
# spacy 3.8.18 with scikit-learn 1.9.1, 2026-11-30: the AUC of a perfect text classifier is 0.5, where classes are
# absent.
#
# Guess: cats_macro_auc, the score by which textcat_multilabel is judged and its best model chosen, is the mean over
# the classes that have an AUC, as one of a class without examples, or with nothing else, can't be computed
# (scikit-learn says so and gives no number). Seen: it counts 0, less than chance. One of four classes that a dev set
# lacks and one that all of its texts have bring perfect predictions to 0.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check spacy==3.8.18 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import spacy
from sklearn.metrics import roc_auc_score
from spacy.scorer import Scorer
from spacy.training import Example

language = spacy.blank("en")
labels = ["sport", "music", "weather", "english"]


def example(scores, true):
    predicted, reference = language.make_doc("text"), language.make_doc("text")
    predicted.cats = dict(zip(labels, scores, strict=True))
    reference.cats = dict(zip(labels, true, strict=True))
    return Example(predicted, reference)


# Perfect predictions: no text is about the weather, and all are English.
true = np.array([[1.0, 0, 0, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]])
scores = 0.05 + 0.9 * true
examples = [example(s.tolist(), t.tolist()) for s, t in zip(scores, true, strict=True)]
found = Scorer.score_cats(examples, "cats", labels=labels, multi_label=True)
per_class = {label: float(value) for label, value in found["cats_auc_per_type"].items() if value is not None}
own = float(found["cats_macro_auc"])
other = [roc_auc_score(true[:, i], scores[:, i]) for i in range(2)]
print(f"spacy: {own}, judged by: {found['cats_score_desc']}; scikit-learn, two classes: {other}; by class: {per_class}")
assert other == [1.0, 1.0] and found["cats_score"] == own, "this has changed"
assert abs(own - 0.5) < 1e-9, "this has changed"
PY
echo "still so"
