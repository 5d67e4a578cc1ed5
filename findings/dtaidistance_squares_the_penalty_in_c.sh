#!/usr/bin/env bash
# dtaidistance 2.5.1 with numpy 2.4.6, 2026-11-30: with inner_dist="euclidean" the fast distance has another penalty
# than the plain one: 24.5 for 27.5.
#
# Guess: distance_fast, distance_matrix_fast and use_c=True are, as documented, the same distances, only faster; a
# penalty of p is added to each step that compresses or stretches. Seen: the C code adds the square of the penalty
# whatever the inner distance is. With the default, squared distances and a root at the end, that is right; with
# inner_dist="euclidean", whose costs are not squared, a penalty of 0.1 counts as 0.01 and one of 2 as 4. Distances from
# one place are not those from another, and neighbours change with it. A penalty of 1 hides it; dtw.warping_paths_fast
# is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check dtaidistance==2.5.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from dtaidistance import dtw


def by_hand(one, two, penalty, power):
    """Costs are differences to this power, and so is the penalty; the root is taken at the end."""
    table = np.full((len(one) + 1, len(two) + 1), np.inf)
    table[0, 0] = 0
    for i, a in enumerate(one, 1):
        for j, b in enumerate(two, 1):
            step = min(table[i - 1, j] + penalty**power, table[i, j - 1] + penalty**power, table[i - 1, j - 1])
            table[i, j] = abs(a - b) ** power + step
    return table[-1, -1] ** (1 / power)


draw = np.random.default_rng(0)
series = draw.normal(size=(12, 30))
one, two = series[:2]
for inner, power in (("squared euclidean", 2), ("euclidean", 1)):
    for penalty in (0.1, 0.5, 1.0, 1.5):
        settings = {"inner_dist": inner, "penalty": penalty}
        true = by_hand(one, two, penalty, power)
        squared = by_hand(one, two, penalty**2, power)
        plain, fast = dtw.distance(one, two, **settings), dtw.distance_fast(one, two, **settings)
        table = dtw.distance_matrix_fast([one, two], parallel=False, **settings)[0, 1]
        paths = dtw.warping_paths_fast(one, two, **settings)[0]
        print(f"{inner}, penalty {penalty}: by hand {true:.4f}, distance {plain:.4f}, distance_fast {fast:.4f},",
              f"distance_matrix_fast {table:.4f}, warping_paths_fast {paths:.4f}")
        assert abs(plain - true) < 1e-9 and abs(paths - true) < 1e-9, "the oracle"
        expected = squared if inner == "euclidean" else true
        assert abs(fast - expected) < 1e-9 and abs(table - expected) < 1e-9, "this has changed"
        assert (abs(fast - true) > 0.1) == (inner == "euclidean" and penalty != 1), "this has changed"

settings = {"inner_dist": "euclidean", "penalty": 0.2}
nearest = []
for make in (dtw.distance_matrix, dtw.distance_matrix_fast):
    table = make(list(series), **settings, **({"parallel": False} if make is dtw.distance_matrix_fast else {}))
    np.fill_diagonal(table, np.inf)
    nearest.append(table.argmin(1))
print("nearest neighbours, plain:", nearest[0], "fast:", nearest[1])
PY
echo "still so"
