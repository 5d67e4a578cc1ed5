#!/usr/bin/env bash
# ema-pytorch 0.8.3 with torch 2.14.1, 2026-11-30: forward_eval does not evaluate.
#
# Guess: forward_eval of EMA, "for invoking ema model with no grad + eval", calls the average in eval mode: the same
# pictures have the same predictions twice, and it learns nothing from them. Seen: it notes the mode, calls the
# average as it is, and sets the noted mode again; eval() is never called. The average is a copy of a model in
# training, so dropout draws anew at each call, BatchNorm takes the statistics of the batch, so that a picture's
# prediction depends on its neighbours, and the averaged statistics move with each batch of the test. After ema.eval()
# all is as it should be.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check ema-pytorch==0.8.3 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import copy

import torch
from ema_pytorch import EMA
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
inputs = torch.randn(400, 8)
labels = inputs[:, :3].argmax(1)
average = EMA(model, beta=0.9, update_after_step=0, update_every=1)
steps = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(200):
    steps.zero_grad()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    steps.step()
    average.update()

test = torch.randn(1000, 8) + 1
truth = test[:, :3].argmax(1)
reference = copy.deepcopy(average.ema_model).eval()
with torch.no_grad():
    expected = reference(test)
before = average.ema_model[1].running_mean.clone()
first, second = average.forward_eval(test), average.forward_eval(test)
alone = average.forward_eval(test[:50])
moved = float((average.ema_model[1].running_mean - before).abs().max())


def right(logits):
    return float((logits.argmax(1) == truth).float().mean())


print(f"right in eval mode {right(expected):.3f}, by forward_eval {right(first):.3f} and {right(second):.3f};"
      f" predictions that differ between two calls: {int((first.argmax(1) != second.argmax(1)).sum())} of 1000;"
      f" statistics of BatchNorm moved by {moved:.3f}")
assert not average.forward_eval(test).requires_grad
assert not torch.equal(first, second), "this has changed: dropout is off"
assert not torch.allclose(alone, first[:50], atol=1e-3)
assert moved > 0.02, "this has changed: BatchNorm stands still"
assert right(expected) - right(first) > 0.02, "this has changed"

average = EMA(model, beta=0.9)
average.ema_model.load_state_dict(reference.state_dict())
average.eval()
assert torch.equal(average.forward_eval(test), expected), "after eval() it does"
PY
echo "still so"
