#!/usr/bin/env bash
# seg_metrics 1.2.8 with SimpleITK 2.5.7 and numpy 2.4.6, 2026-12-01: an organ that is not found at all has a
# Hausdorff distance of 0, that of a perfect mask.
#
# Guess: write_metrics gives infinity, NaN, the size of the image or an error for the distances (hd, hd95, msd, mdsd)
# of an object without a counterpart, as monai, medpy, pymia and surface-distance do. Seen: it gives 0. A mask two
# pixels off has 2; an empty one 0, and so has a false object where there is none. A warning says that precision and
# recall are set to 0; nothing is said about the distances. The mean distance over the images of a test set FALLS with
# each object that is missed: of two models the one that predicts nothing where it is unsure wins by distance.
# Likewise vs, the difference of volumes (0 is perfect), is 1 where both masks are empty.
# (seg_metrics.py, computeQualityMeasures: the distance map of an empty mask is the mask itself)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  SimpleITK==2.5.7 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 matplotlib==3.11.2 tqdm==4.70.1 pingouin==0.6.1
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps seg-metrics==1.2.8 medutils==0.1.21
cd "$folder"
HOME="$folder" MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
import logging

import numpy as np
from scipy.spatial.distance import directed_hausdorff
from seg_metrics.seg_metrics import write_metrics

logging.disable(logging.WARNING)
WANTED = ("dice", "hd", "hd95", "msd", "vs")


def measures(truth, predicted):
    found = write_metrics(labels=[1], gdth_img=truth, pred_img=predicted, metrics=list(WANTED))[0]
    return {name: float(found[name][0]) for name in WANTED}


def by_hand(truth, predicted):
    """Hausdorff distance of the two sets of voxels; infinite where one of them is empty."""
    one, other = np.argwhere(truth), np.argwhere(predicted)
    if not len(one) or not len(other):
        return 0.0 if len(one) == len(other) else float("inf")
    return max(directed_hausdorff(one, other)[0], directed_hausdorff(other, one)[0])


truth = np.zeros((16, 32, 32), int)
truth[4:10, 8:20, 8:20] = 1
empty = np.zeros_like(truth)
found = {}
for name, (one, other) in {
    "the same": (truth, truth), "two pixels off": (truth, np.roll(truth, 2, 1)), "not found": (truth, empty),
    "found where nothing is": (empty, truth), "nothing, and nothing found": (empty, empty),
}.items():
    found[name] = measures(one, other)
    print(f"{name}: Hausdorff distance by hand {by_hand(one, other):.1f}; seg_metrics {found[name]}")
assert found["the same"]["hd"] == by_hand(truth, truth) == 0 and found["the same"]["dice"] == 1, "the oracle"
assert found["two pixels off"]["hd"] == by_hand(truth, np.roll(truth, 2, 1)) == 2, "the oracle"
for name in ("not found", "found where nothing is"):
    assert found[name]["dice"] == 0, "the oracle"
    assert all(found[name][each] == 0 for each in ("hd", "hd95", "msd")), "this has changed"
assert found["the same"]["vs"] == 0 and found["nothing, and nothing found"]["vs"] == 1, "this has changed: vs"

# Two models for a test set of ten images: one is two pixels off everywhere, the other three off in one, blank in nine.
careful = [measures(truth, np.roll(truth, 2, 1)) for _ in range(10)]
lazy = [measures(truth, np.roll(truth, 3, 1))] + [measures(truth, empty) for _ in range(9)]
means = [round(float(np.mean([each["hd95"] for each in model])), 2) for model in (careful, lazy)]
dices = [round(float(np.mean([each["dice"] for each in model])), 2) for model in (careful, lazy)]
print(f"mean hd95 of a model two pixels off: {means[0]}, of one that finds one of ten: {means[1]}; Dice {dices}")
assert means[1] < means[0] and dices[1] < dices[0], "this has changed"
PY
echo "still so"
