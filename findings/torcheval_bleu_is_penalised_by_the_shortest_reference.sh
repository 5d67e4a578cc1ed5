#!/usr/bin/env bash
# torcheval 0.0.7 with torch 2.14.1, 2026-12-01: a text cut off after six words has a BLEU of 1 as soon as one reference
# is two words long; sacrebleu, nltk and torchmetrics give 0.61.
#
# Guess: bleu_score takes the brevity penalty by the reference whose length is closest to the candidate's, as Papineni
# et al. and the other libraries do. Seen: it takes the shortest. A second reference that is short and has no word in
# common switches the penalty off: candidates that stop early lose nothing, and of two models the terser one wins.
# BLEUScore does the same. With one reference all agree.
# (functional/text/bleu.py, _bleu_score_update)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torcheval==0.0.7 torch==2.14.1 torchmetrics==1.9.0 sacrebleu==2.6.0 nltk==3.10.4 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import math

import sacrebleu
import torchmetrics.functional.text as torchmetrics
from nltk.translate.bleu_score import corpus_bleu
from torcheval.metrics import BLEUScore
from torcheval.metrics.functional import bleu_score

FULL, CUT, SHORT = "the cat sat on the mat near the door", "the cat sat on the mat", "dogs ran"

for references in ([FULL], [FULL, SHORT]):
    for candidate in (FULL, CUT):
        own = float(bleu_score([candidate], [references]))
        whole = float(BLEUScore(n_gram=4).update([candidate], [references]).compute())
        others = {
            "sacrebleu": sacrebleu.corpus_bleu([candidate], [[each] for each in references], tokenize="none").score / 100,
            "nltk": corpus_bleu([[each.split() for each in references]], [candidate.split()]),
            "torchmetrics": float(torchmetrics.bleu_score([candidate], [references])),
        }
        length = len(candidate.split())
        closest = min((len(each.split()) for each in references), key=lambda each: abs(each - length))
        by_hand = min(1, math.exp(1 - closest / length))  # all n-grams are in the first reference
        print(f"{length} words, {len(references)} references: torcheval {own:.4f}, by hand {by_hand:.4f},",
              {name: round(value, 4) for name, value in others.items()})
        assert all(abs(value - by_hand) < 1e-4 for value in others.values()), "the oracle"
        wrong = len(references) == 2 and candidate == CUT
        assert abs(own - (1 if wrong else by_hand)) < 1e-4 and abs(whole - own) < 1e-6, "this has changed"
        assert not wrong or by_hand < 0.61
PY
echo "still so"
