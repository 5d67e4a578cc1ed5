#!/usr/bin/env bash
# bitsandbytes 0.50.2 with torch 2.14.1 and numpy 2.4.6, 2026-11-30: LAMB on a CPU moves layers by 0.0016 of their
# length at a rate of 0.01, and large layers by still less.
#
# Guess: LAMB moves each layer by lr of its length at each step, lr * |w| / |u| * u, that is what You et al. made it
# for; max_unorm=1, "the maximum gradient norm", is some clipping besides. Seen: max_unorm is all there is: the Adam
# step is shortened where |u| > |w|, and never lengthened, so that a layer of large weights moves by Adam's lr. And the
# code for CPUs takes |u| before the bias correction and u after it (_optimizer_update_32bit_cpu in
# backends/cpu/ops.py; that for GPUs corrects both): steps are 3 times too short at first, 6 times at the tenth, 3 times
# at the hundredth. Nothing is said. bitsandbytes' AdamW on a CPU is that of torch to the last digits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  bitsandbytes==0.50.2 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import bitsandbytes
import numpy as np
import torch

RATE, KEEP, EPS, STEPS = 0.01, (0.9, 0.999), 1e-8, 100
shown = [0, 9, 99]
slopes = np.random.default_rng(0).normal(0.05, 0.1, size=(STEPS, 64, 64)).astype("float32")
start = np.random.default_rng(1).normal(size=(64, 64)).astype("float32")


def share(path):
    """By how much of its length a layer moves at each step."""
    return np.array([np.linalg.norm(new - old) / np.linalg.norm(old) for old, new in zip(path, path[1:])])


def by_library(name, scale):
    weights = torch.nn.Parameter(torch.tensor(start * scale))
    optimizer = getattr(bitsandbytes.optim, name)([weights], lr=RATE, betas=KEEP, eps=EPS, weight_decay=0)
    path = [start * scale]
    for slope in slopes:
        weights.grad = torch.tensor(slope)
        optimizer.step()
        path.append(weights.detach().numpy().copy())
    return path


def by_hand(scale, lengthen):
    """lengthen(|w|, |u|, |u| before the bias correction): by what an Adam step u is multiplied."""
    weights, mean, square = start * float(scale), 0.0, 0.0
    path = [weights]
    for step, slope in enumerate(slopes.astype(float), 1):
        mean = KEEP[0] * mean + (1 - KEEP[0]) * slope
        square = KEEP[1] * square + (1 - KEEP[1]) * slope**2
        update = mean / (1 - KEEP[0] ** step) / (np.sqrt(square / (1 - KEEP[1] ** step)) + EPS)
        lengths = [np.linalg.norm(each) for each in (weights, update, mean / np.sqrt(square))]
        weights = weights - RATE * lengthen(*lengths) * update
        path.append(weights)
    return path


for scale in (0.02, 20):
    own = by_library("LAMB", scale)
    paper = by_hand(scale, lambda weights, update, _: weights / update)
    seen = by_hand(scale, lambda weights, _, before: min(1, weights / before))
    print(f"weights of {scale}: moved at the steps 1, 10 and 100 by {share(own)[shown]} of their length, LAMB:"
          f" {share(paper)[shown]}")
    assert np.allclose(share(paper), RATE, atol=1e-4), "by hand"
    assert np.allclose(share(own), share(seen), rtol=0.01), "this has changed"
    assert share(own)[shown].max() < 0.4 * RATE and share(own)[9] < 0.2 * RATE, "this has changed"
assert np.allclose(by_library("AdamW", 1)[-1], by_hand(1, lambda *_: 1)[-1], atol=1e-4), "this has changed: AdamW"
PY
echo "still so"
