#!/usr/bin/env bash
# captum 0.9.0 with torch 2.14.1, 2026-12-01: DeepLift explains a probability by the company of the row: alone, half of
# the rows have another most important feature.
#
# Guess: DeepLift explains each row by itself, and its values add up to the probability minus that of the baseline, as
# its documentation says, for a model that ends with Softmax (one of the activations it has a rule for), too.
# Seen: with scores, without Softmax, so it is. The rule for Softmax takes away a mean, over all classes of all rows of
# the batch (and of the baselines) at once. In a batch of 64 little is left of it, and the values are those of the
# scores, scaled to add up. A row alone is off by more than what is to be explained: of 64 rows 31 have another
# feature first, and a quarter of all signs are others. Explaining one row after another, as in a report on a case, is
# the worst. Nothing is said. (softmax in attr/_core/deep_lift.py)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  captum==0.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from captum.attr import DeepLift
from torch import nn

torch.manual_seed(0)
scores = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
probabilities = nn.Sequential(scores, nn.Softmax(-1))
rows, zero = 2 * torch.randn(64, 6), torch.zeros(1, 6)
classes = scores(rows).argmax(1)


def explain(model, chosen):
    return DeepLift(model).attribute(rows[chosen], baselines=zero, target=classes[chosen]).detach()


def change(model):
    return (model(rows) - model(zero)).detach().gather(1, classes[:, None])[:, 0]


values = {}
for name, model in (("scores", scores), ("probabilities", probabilities)):
    together = explain(model, torch.arange(64))
    alone = torch.cat([explain(model, torch.tensor([row])) for row in range(64)])
    values[name] = together, alone
    gaps = [(found.sum(1) - change(model)).abs().mean().item() for found in (together, alone)]
    others = int((together.argmax(1) != alone.argmax(1)).sum())
    signs = ((together > 0) != (alone > 0)).float().mean().item()
    size = change(model).abs().mean().item()
    print(f"{name}: change to explain {size:.3f}; sums off by {gaps[0]:.4f} in a batch, {gaps[1]:.4f} alone;")
    print(f"  another feature comes first in {others} of 64 rows, {signs:.0%} of signs differ")
    if name == "scores":
        assert max(gaps) < 1e-5 and others == 0 and torch.allclose(together, alone, atol=1e-5), "this has changed"
    else:
        assert gaps[0] < 0.01 and gaps[1] > size > 0.1, "this has changed: rows alone add up"
        assert others > 20 and signs > 0.15, "this has changed: rows alone have the same values"

# By hand: with one change of the score, the probability's values are the score's, scaled to its own change.
by_hand = values["scores"][0] * (change(probabilities) / change(scores))[:, None]
for name, found in zip(("in a batch", "alone"), values["probabilities"]):
    print(f"first row {name}: {[round(value, 3) for value in found[0].tolist()]}")
    wrong = int((found.argmax(1) != by_hand.argmax(1)).sum())
    print(f"  first features that aren't those by hand: {wrong} of 64")
    assert wrong == 0 if name == "in a batch" else wrong > 20, "this has changed"
print(f"by hand: {[round(value, 3) for value in by_hand[0].tolist()]}")
PY
echo "still so"
