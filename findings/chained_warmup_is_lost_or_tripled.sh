#!/usr/bin/env bash
# torch 2.14.1 with numpy 2.4.6, 2026-11-30: a warm-up chained with LambdaLR is lost, or triples the rate.
#
# Guess: ChainedScheduler multiplies the factors of its schedulers, as its example shows, in any order, and so it does
# with ExponentialLR and MultiplicativeLR. Seen: LambdaLR and CosineAnnealingWarmRestarts set the rate anew from the
# initial one at each step. After a LinearLR or ConstantLR they wipe the warm-up out, and training starts at the full
# rate. Before it, LinearLR multiplies the full rate by the growth since its last step: the second step has 2.9 times
# the rate that was asked for. "Chainable" is said to be needed, but of all schedulers the documents of OneCycleLR
# alone say that it is not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from torch.optim import lr_scheduler as schedulers

ramp, constant = np.array([0.1, 0.325, 0.55, 0.775, 1, 1]), np.array([0.1, 0.1, 0.1, 1, 1, 1])
warm = {
    "linear": (lambda optimizer: schedulers.LinearLR(optimizer, 0.1, 1.0, 4), ramp),
    "constant": (lambda optimizer: schedulers.ConstantLR(optimizer, 0.1, 3), constant),
}
falling, cosine = 0.9 ** np.arange(6), np.cos(np.arange(6) * np.pi / 40) ** 2
after = {
    "ExponentialLR": (lambda optimizer: schedulers.ExponentialLR(optimizer, 0.9), falling),
    "MultiplicativeLR": (lambda optimizer: schedulers.MultiplicativeLR(optimizer, lambda step: 0.9), falling),
    "CosineAnnealingLR": (lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 20), cosine),
    "LambdaLR": (lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: 0.9**step), falling),
    "CosineAnnealingWarmRestarts": (
        lambda optimizer: schedulers.CosineAnnealingWarmRestarts(optimizer, 20), cosine,
    ),  # fmt: skip
}


def rates(makers: list) -> np.ndarray:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    chain = schedulers.ChainedScheduler([maker(optimizer) for maker in makers], optimizer)
    found = []
    for _ in range(6):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        chain.step()
    return np.array(found)


for name, (maker, factors) in after.items():
    assert np.allclose(rates([maker]), factors), f"{name} alone has changed"
    for kind, (start, rise) in warm.items():
        assert np.allclose(rates([start]), rise), f"the warm-up {kind} has changed"
        behind, before = rates([start, maker]), rates([maker, start])
        print(f"{kind}, then {name}: {behind[:5].round(3).tolist()}; swapped {before[:5].round(3).tolist()}")
        if name in ("LambdaLR", "CosineAnnealingWarmRestarts"):
            assert np.allclose(behind, factors), "this has changed: the warm-up is there"
            assert before.max() > 2.9, "this has changed: the other way round"
        else:
            assert np.allclose(behind, rise * factors) and np.allclose(before, rise * factors), f"{name} has changed"
print("asked for:", (ramp * falling)[:5].round(3).tolist())
PY
echo "still so"
