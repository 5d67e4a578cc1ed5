#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, 2026-11-28: the score of the same logits depends on how large the batches are.
#
# Guess: MultilabelF1Score of the same logits is the same, whether they are given at once or row by row. Seen: in each
# update anew, values that all lie in [0, 1] are taken for probabilities, others for logits. At once one value of 2.0
# sends all rows through a sigmoid (F1 0.8571); row by row only its own row is (0.6667). There is no warning; a small last
# batch of an evaluation is enough. So hftransfer makes probabilities of logits itself, before any metric.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torchmetrics.classification import MultilabelF1Score

logits = torch.tensor([[0.2, 0.9], [0.4, 0.1], [0.3, 0.3], [0.7, 0.8], [0.1, 0.6], [2.0, 1.5]])
labels = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1], [0, 1], [1, 0]])
at_once, by_row = MultilabelF1Score(2, average="micro"), MultilabelF1Score(2, average="micro")
at_once.update(logits, labels)
for row in range(len(logits)):
    by_row.update(logits[row : row + 1], labels[row : row + 1])
found = round(at_once.compute().item(), 4), round(by_row.compute().item(), 4)
print("at once", found[0], "row by row", found[1])
assert found == (0.8571, 0.6667), "this has changed"
PY
echo "still so"
