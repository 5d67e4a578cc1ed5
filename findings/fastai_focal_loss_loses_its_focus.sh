#!/usr/bin/env bash
# fastai 2.8.12 with torch 2.14.1 and torchvision 0.29.1, 2026-11-30: with class weights the focal loss loses its focus.
#
# Guess: FocalLoss(weight=w) is w · (1 - p)^gamma · -log p, as in the paper, whose alpha is said to be given by
# `weight`. Seen: p is taken back from the loss after that was weighted, so that p to the power of w stands in its
# place. Of a class with weight 10, an example that is all but right (p = 0.9) counts 42 times as much as it should.
# Those that the loss is to pass over are what is learnt from. With a weight below 1 a wrong answer counts too little.
# Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  fastai==2.8.12 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from fastai.losses import FocalLoss, FocalLossFlat
from torchvision.ops import sigmoid_focal_loss

chance = torch.tensor([0.9, 0.5, 0.2])
logits, truth = torch.stack([1 - chance, chance], 1).log(), torch.tensor([1, 1, 1])
for weight in (1.0, 10.0, 0.25):
    weights = torch.tensor([1.0, weight])
    by_hand = -weight * (1 - chance) ** 2 * chance.log()
    # torchvision's alpha is at most 1, so its loss is scaled here.
    other = weight * 4 * sigmoid_focal_loss(logits[:, 1] - logits[:, 0], truth.float(), alpha=0.25, gamma=2.0)
    own = FocalLoss(weight=weights, reduction="none")(logits, truth)
    flat = torch.as_tensor(FocalLossFlat(weight=weights, reduction="none")(logits, truth))
    powers = -weight * (1 - chance**weight) ** 2 * chance.log()
    times = [round(float(part), 2) for part in own / by_hand]
    print(f"weight {weight:5}: fastai {own.tolist()}, by hand {by_hand.tolist()}: {times} times")
    assert torch.allclose(by_hand, other, rtol=1e-4), "the oracles differ"
    assert torch.allclose(own, powers, rtol=1e-4) and torch.allclose(own, flat), "this has changed"
    assert torch.allclose(own, by_hand, rtol=1e-4) == (weight == 1), "this has changed: p is that of the model"
    assert weight != 10 or 40 < times[0] < 45, "this has changed: what is almost right"
PY
echo "still so"
