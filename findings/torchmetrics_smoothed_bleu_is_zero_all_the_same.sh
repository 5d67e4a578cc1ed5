#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, beside sacrebleu and nltk, 2026-11-30: smoothed BLEU is 0 where it is 0.45.
#
# Guess: BLEUScore(smooth=True) and SacreBLEUScore(smooth=True) add one to the counts of n-grams from two words on (Lin
# and Och 2004), so that a text without a common run of four words has a small score and not 0; that is what smoothing
# is for. sacrebleu (add-k with 1) and nltk (method2) agree on that. Seen: where all runs have a match, so does
# torchmetrics; where one kind has none, it returns 0 before it comes to smoothing (_bleu_score_compute in
# functional/text/bleu.py). So smooth=True changes nothing in the one case it is for: of short texts most have 0, and
# a mean over them is half of what it is. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 sacrebleu==2.6.0 nltk==3.10.4 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import sacrebleu
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
from torchmetrics.text import BLEUScore, SacreBLEUScore

pairs = [
    ("the cat sat on the mat", "the cat sat on a mat"),
    ("there is no time left", "there is little time left"),
    ("a dog barks at night", "at night a dog barks"),
    ("she reads a long book", "she has read a long book"),
    ("it is raining here again today", "it is raining here again"),
]
sums = {"sacrebleu": 0, "nltk": 0, "BLEUScore": 0, "SacreBLEUScore": 0, "BLEUScore, not smoothed": 0}
for guessed, true in pairs:
    one = [guessed], [[true]]
    found = {
        "sacrebleu": sacrebleu.corpus_bleu(*one, smooth_method="add-k", smooth_value=1).score / 100,
        "nltk": corpus_bleu(
            [[true.split()]], [guessed.split()], smoothing_function=SmoothingFunction().method2
        ),
        "BLEUScore": float(BLEUScore(smooth=True)(*one)),
        "SacreBLEUScore": float(SacreBLEUScore(smooth=True)(*one)),
        "BLEUScore, not smoothed": float(BLEUScore()(*one)),
    }
    print(f"{guessed!r}:", ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    assert abs(found["sacrebleu"] - found["nltk"]) < 1e-6, "this has changed: the others"
    if found["BLEUScore, not smoothed"]:
        assert abs(found["BLEUScore"] - found["nltk"]) < 1e-6, "this has changed: a text with common runs of four"
    else:
        assert found["BLEUScore"] == found["SacreBLEUScore"] == 0 < 0.2 < found["nltk"], "this has changed"
    sums = {name: value + found[name] / len(pairs) for name, value in sums.items()}
print("mean:", ", ".join(f"{name} {value:.3f}" for name, value in sums.items()))
assert sums["BLEUScore"] < 0.5 * sums["nltk"], "this has changed"
PY
echo "still so"
