#!/usr/bin/env bash
# aeon 1.6.0 with numpy 2.3.5 and numba 0.63.1, 2026-11-30: ERP of a series and of the same with one more point before
# it is 7 where it is 1, the distance of this point from the gap.
#
# Guess: erp_distance is Chen and Ng's edit distance with real penalty, a metric: a point that is left out costs its
# distance from g, so that one point of height 1 before a series (g=0) makes 1, as after it. Seen: each cell of the
# edges holds the sum over the whole series instead of that over the points left out so far. To leave out the first
# point costs as much as to leave out all, so that the beginnings are matched by force instead. Series that start late
# or early are told too far; turning both series round changes the distance, and the nearest neighbour with it.
# (distances/elastic/_erp.py, _erp_cost_matrix)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  aeon==1.6.0 numba==0.63.1 scikit-learn==1.9.1 scipy==1.17.1 pandas==3.0.6 numpy==2.3.5
cd "$folder"
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from aeon.distances import erp_distance


def penalty(one, two, whole=False):
    """The recursion of the paper with g = 0; with "whole" the edges hold the sum of all points."""
    table = np.zeros((len(one) + 1, len(two) + 1))
    table[1:, 0] = np.abs(one).sum() if whole else np.abs(one).cumsum()
    table[0, 1:] = np.abs(two).sum() if whole else np.abs(two).cumsum()
    for i, a in enumerate(one, 1):
        for j, b in enumerate(two, 1):
            table[i, j] = min(table[i - 1, j - 1] + abs(a - b), table[i - 1, j] + abs(a), table[i, j - 1] + abs(b))
    return table[-1, -1]


def aeon(one, two):
    return erp_distance(np.ascontiguousarray(one, float), np.ascontiguousarray(two, float), g=0.0)


draw = np.random.default_rng(0)
series = draw.permutation(np.arange(2.0, 32.0))
for name, longer in (("before", np.append(1, series)), ("after", np.append(series, 1))):
    found, true = aeon(longer, series), penalty(longer, series)
    print(f"one point of height 1 {name} the series: aeon {found:.4f}, by hand {true:.4f}")
    assert abs(true - 1) < 1e-9, "the oracle"
    assert abs(found - (7 if name == "before" else 1)) < 1e-9, "this has changed"
    assert abs(found - penalty(longer, series, whole=True)) < 1e-9, "this has changed"

turned = higher = 0
for _ in range(100):
    one, two = draw.normal(size=(2, 30)).cumsum(1)
    found, backwards, true = aeon(one, two), aeon(one[::-1], two[::-1]), penalty(one, two)
    assert abs(true - penalty(one[::-1], two[::-1])) < 1e-6, "the oracle"
    assert abs(found - penalty(one, two, whole=True)) < 1e-6, "this has changed"
    higher, turned = higher + (found > true + 1e-6), turned + (abs(found - backwards) > 1e-6)
print(f"of 100 random walks: {higher} are told too far, {turned} change when both are turned round")
assert higher > 30 and turned > 30, "this has changed"
PY
echo "still so"
