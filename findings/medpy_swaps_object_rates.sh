#!/usr/bin/env bash
# MedPy 0.5.2 with numpy 2.4.6 and scipy 1.17.1, 2026-11-30: the detection rates of objects are those of the other
# mask.
#
# Guess: obj_tpr(result, reference) is the share of the reference's objects that were found, and obj_fpr the share of
# the result's objects that aren't there: "Whatever array is considered as reference should be passed second", as in
# the doctests below. Seen: labels of the two masks are swapped within. A model that finds three lesions of ten and
# nothing else has an obj_tpr of 1.0; one that marks all ten and ten places more has 0.5, and no false positives. Both
# rates of the docstring's own example come out the other way round. Missed lesions are counted as false alarms.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  medpy==0.5.2 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from medpy.metric.binary import obj_fpr, obj_tpr
from scipy.ndimage import label


def spots(places: range) -> np.ndarray:
    mask = np.zeros((100, 100), bool)
    for place in places:
        mask[5 + 20 * (place // 5) : 9 + 20 * (place // 5), 5 + 20 * (place % 5) : 9 + 20 * (place % 5)] = True
    return mask


def by_hand(result: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    (found, number), (lesions, count) = label(result), label(reference)
    hit = sum(bool(result[lesions == one].any()) for one in range(1, count + 1))
    void = sum(not reference[found == one].any() for one in range(1, number + 1))
    return hit / count, void / number


lesions = spots(range(10))
for name, result in {"finds three of ten": spots(range(3)), "marks ten places more": spots(range(20))}.items():
    told = obj_tpr(result, lesions), obj_fpr(result, lesions)
    true = by_hand(result, lesions)
    print(f"{name}: obj_tpr {told[0]:.2f} for {true[0]:.2f}, obj_fpr {told[1]:.2f} for {true[1]:.2f}")
    swapped = by_hand(lesions, result)
    assert np.allclose(told, swapped), "this has changed"
    assert not np.allclose(told, true), "this has changed: the rates are right"

# The docstring's example of directedness: one of three objects of the second array is missing in the first.
two, three = np.array([1, 0, 1, 0, 0]), np.array([1, 0, 1, 0, 1])
for name, rate, documented in (("obj_tpr", obj_tpr, (2 / 3, 1)), ("obj_fpr", obj_fpr, (0, 1 / 3))):
    told = rate(two, three), rate(three, two)
    print(f"{name}: {told[0]:.2f} and {told[1]:.2f}, documented {documented[0]:.2f} and {documented[1]:.2f}")
    assert "Example of directedness" in rate.__doc__, "this has changed: the docstring"
    assert np.allclose(told, documented[::-1]), "this has changed: the example"
PY
echo "still so"
