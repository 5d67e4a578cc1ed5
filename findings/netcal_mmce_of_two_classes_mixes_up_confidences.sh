#!/usr/bin/env bash
# netcal 1.4.0 with torch 2.14.1 and numpy 2.4.6, 2026-11-30: the MMCE of calibrated probabilities of two classes is up
# to 0.45 instead of 0.003.
#
# Guess: MMCE().measure(p, y) of the probabilities of the positive class is the error of the paper, of the confidence in
# the class that is called: p above one half, 1 - p below, as it is for two columns 1 - p and p. Seen: the class called
# is 0 below one half, but its confidence stays p. A model that is sure and right about the negatives, p = 0.05, counts
# as one that is right with a confidence of 0.05. The better a calibrated model tells the classes apart, the worse its
# MMCE. ECE of the same array is near 0.
# (metrics/confidence/MMCE.py, measure: X_batch.ndim == 1)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  netcal==1.4.0 torch==2.14.1 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from netcal.metrics import ECE, MMCE


def paper(confidence, right):
    """Kumar et al. with the kernel of netcal's documentation."""
    gap = right - confidence
    return np.sqrt((gap[:, None] * gap * np.exp(-2.5 * np.abs(confidence[:, None] - confidence))).sum()) / len(gap)


draw = np.random.default_rng(0)
errors = []
for sharpness in (1.0, 0.3, 0.05):  # beta distributions: the smaller, the surer the model
    chance = draw.beta(sharpness, sharpness, size=2000).clip(1e-6, 1 - 1e-6)
    label = (draw.random(2000) < chance).astype(int)
    called = (chance > 0.5).astype(int)
    true = paper(np.where(called == 1, chance, 1 - chance), (called == label).astype(float))
    of_positives = paper(chance, label)
    one, two = MMCE().measure(chance, label), MMCE().measure(np.column_stack([1 - chance, chance]), label)
    mixed = paper(chance, (called == label).astype(float))
    ece = ECE(10).measure(chance, label)
    print(f"calibrated, {np.mean(called == label):.2f} right: MMCE of one column {one:.4f}, of two {two:.4f};",
          f"by hand {true:.4f}, of the positive class {of_positives:.4f}; ECE {ece:.4f}")
    assert abs(two - true) < 1e-6 and max(true, of_positives, ece) < 0.04, "the oracle"
    assert abs(one - mixed) < 1e-6 and one > 5 * true, "this has changed"
    errors.append(one)
assert errors == sorted(errors), "this has changed: the surer, the worse"
PY
echo "still so"
