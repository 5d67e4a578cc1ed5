#!/usr/bin/env bash
# aeon 1.6.0 with numpy 2.3.5 and numba 0.63.1, 2026-11-30: EDR of a series and of the same with ten other points before
# it is 0; with the ten points after it, it is 1/3.
#
# Guess: edr_distance is Chen, Özsu and Oria's edit distance on real sequences, divided by the longer length: each point
# that has no partner costs 1, wherever it stands, so that turning both series round changes nothing. Seen: the edges of
# the table, which stand for points left out at the beginning, are 0 instead of 1, 2, 3, ... Whatever is left out before
# the first match of the one or of the other series is free. Series that start differently count as near, ones that end
# differently as far; the nearest neighbour changes with the direction of time.
# (distances/elastic/_edr.py, _edr_cost_matrix)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  aeon==1.6.0 numba==0.63.1 scikit-learn==1.9.1 scipy==1.17.1 pandas==3.0.6 numpy==2.3.5
cd "$folder"
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from aeon.distances import edr_distance


def edits(one, two, near, free=False):
    """Fewest points to leave out or to replace, by the recursion of the paper; with "free" the first are not counted."""
    table = np.zeros((len(one) + 1, len(two) + 1))
    if not free:
        table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(two) + 1)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(two, 1):
            table[i, j] = min(table[i - 1, j - 1] + (abs(a - b) >= near), table[i - 1, j] + 1, table[i, j - 1] + 1)
    return table[-1, -1] / max(len(one), len(two))


draw = np.random.default_rng(0)
series = draw.normal(size=20).cumsum()
other = 50 + draw.normal(size=10)
before, after = np.concatenate([other, series]), np.concatenate([series, other])
for name, longer, seen in (("before", before, 0), ("after", after, 1 / 3)):
    found, true = edr_distance(longer, series, epsilon=0.1), edits(longer, series, 0.1)
    print(f"ten other points {name} the series: aeon {found:.4f}, by hand {true:.4f}")
    assert abs(true - 1 / 3) < 1e-9, "the oracle"
    assert abs(found - seen) < 1e-9, "this has changed"

lower = turned = 0
for _ in range(100):
    one, two = draw.normal(size=(2, 30)).cumsum(1)
    found, backwards = edr_distance(one, two, epsilon=1.0), edr_distance(one[::-1].copy(), two[::-1].copy(), epsilon=1.0)
    true = edits(one, two, 1.0)
    assert abs(true - edits(one[::-1], two[::-1], 1.0)) < 1e-9, "the oracle"
    assert abs(found - edits(one, two, 1.0, free=True)) < 1e-9, "this has changed"
    lower, turned = lower + (found < true - 1e-9), turned + (abs(found - backwards) > 1e-9)
print(f"of 100 random walks: {lower} are told too near, {turned} change when both are turned round")
assert lower > 50 and turned > 50, "this has changed"
PY
echo "still so"
