#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, nltk 3.10.4, beside sacrebleu 2.6.0, 2026-11-30: chrF of equal texts is below
# 1.
#
# Guess: chrF of a text and itself is 1, in any implementation, as n-grams that are longer than both texts are left out
# (sacrebleu counts the orders that are there). Seen: torchmetrics and nltk give those orders 0, as if nothing had
# matched, as sacrebleu does with eps_smoothing=True alone. "yes" and "yes" have 0.5, "a" and "a" 0.17. Short answers,
# titles and labels are scored by their length: a right one of three letters is worse than one of eleven letters with a
# mistake.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 nltk==3.10.4 sacrebleu==2.6.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import sacrebleu
from nltk.translate.chrf_score import sentence_chrf
from torchmetrics.text import CHRFScore


def scores(prediction, reference):
    return {
        "torchmetrics": float(CHRFScore(n_word_order=0)([prediction], [[reference]])),
        "torchmetrics, chrF++": float(CHRFScore()([prediction], [[reference]])),
        "nltk": sentence_chrf(reference, prediction, beta=2.0),
        "sacrebleu": sacrebleu.CHRF().sentence_score(prediction, [reference]).score / 100,
        "sacrebleu, chrF++": sacrebleu.CHRF(word_order=2).sentence_score(prediction, [reference]).score / 100,
    }


found = {}
for pair in (("the old house", "the old house"), ("yes", "yes"), ("a", "a"), ("red flowers", "red flower")):
    found[pair] = scores(*pair)
    print(" and ".join(pair), {name: round(value, 4) for name, value in found[pair].items()})
assert all(abs(value - 1) < 1e-6 for value in found["the old house", "the old house"].values()), "this has changed"
for text, orders in {"yes": 3, "a": 1}.items():
    score = found[text, text]
    assert score["sacrebleu"] == score["sacrebleu, chrF++"] == 1, "this has changed"
    assert abs(score["torchmetrics"] - orders / 6) < 1e-6 and abs(score["nltk"] - orders / 6) < 1e-6, "this has changed"
    assert abs(score["torchmetrics, chrF++"] - (orders + 1) / 8) < 1e-6, "this has changed"
near = found["red flowers", "red flower"]
assert near["torchmetrics"] > found["yes", "yes"]["torchmetrics"], "this has changed"
PY
echo "still so"
