#!/usr/bin/env bash
# miseval 1.3.0 with numpy 2.4.6, beside scipy 1.17.1, 2026-11-30: masks 20 pixels apart have a Hausdorff distance of 0.
#
# Guess: evaluate(truth, predicted, metric="HD") is the greatest distance of a pixel of one object to the other object,
# as in the paper of Taha and Hanbury that hausdorff.py names; "AHD" is the average of such distances.
# Seen: HD takes each ROW of the masks for a point of as many dimensions as there are columns, and class numbers for
# coordinates. An object moved down has 0; one moved by a single column has more than one moved by 20 rows; the
# class that is asked for plays no part, so that with several classes all have the same. "AHD" is the maximum, that is
# what HD should be, and no average. No number is marked; Dice and the rest agree with scikit-learn's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  miseval==1.3.0 hausdorff==0.2.6 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from miseval import evaluate
from scipy.spatial import cKDTree
from sklearn.metrics import f1_score


def distances(truth, predicted, number=1):
    """Greatest and mean distance of the pixels of each object to the other one."""
    one, other = np.argwhere(truth == number), np.argwhere(predicted == number)
    both = [cKDTree(other).query(one)[0], cKDTree(one).query(other)[0]]
    return max(part.max() for part in both), np.mean([part.mean() for part in both])


truth = np.zeros((64, 64), int)
truth[5:25, 20:40] = 1
found = {}
for name, move in {"20 rows down": (20, 0), "one column on": (0, 1), "20 columns on": (0, 20)}.items():
    predicted = np.roll(truth, move, (0, 1))
    own = {metric: float(evaluate(truth, predicted, metric=metric)) for metric in ("HD", "AHD", "DSC")}
    greatest, mean = distances(truth, predicted)
    found[name] = own["HD"]
    print(
        f"{name}: Hausdorff distance {greatest:.2f}, the average one {mean:.2f}; miseval"
        f" HD {own['HD']:.2f}, AHD {own['AHD']:.2f}, Dice {own['DSC']:.2f}"
    )
    assert abs(own["DSC"] - f1_score(truth.flatten(), predicted.flatten())) < 1e-9
    assert abs(own["AHD"] - greatest) < 1e-9 and own["AHD"] > 1.5 * mean, "this has changed: AHD"
    assert greatest == max(move), "by hand"
assert found["20 rows down"] == 0 and found["one column on"] > 1, "this has changed: HD"

# Three classes: one is right everywhere, one is off by a row of pixels, one by many.
truth, predicted = np.zeros((64, 64), int), np.zeros((64, 64), int)
for number, move in ((1, 0), (2, 1), (3, 25)):
    truth[5:15, number * 12 : number * 12 + 8] = number
    predicted[5 + move : 15 + move, number * 12 : number * 12 + 8] = number
own = evaluate(truth, predicted, metric="HD", multi_class=True, n_classes=4)
hand = [float(distances(truth, predicted, number)[0]) for number in range(1, 4)]
print(f"three classes: by hand {hand}, miseval {own[1:].round(2).tolist()}")
assert hand == [0, 1, 25] and len(set(own)) == 1, "this has changed: several classes"
PY
echo "still so"
