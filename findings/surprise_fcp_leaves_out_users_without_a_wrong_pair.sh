#!/usr/bin/env bash
# scikit-surprise 1.1.5 with numpy 2.4.6, 2026-12-01: one user ranked the wrong way round among nine ranked perfectly
# brings the fraction of concordant pairs to 0.5; by its definition it is 0.9.
#
# Guess: accuracy.fcp is, as in the paper of Koren and Sill that it names, the share of the pairs of items of the same
# user that are in the right order: concordant pairs over concordant and discordant ones, summed over the users.
# Seen: it takes the MEAN number of concordant pairs of the users who have one, and the mean number of discordant pairs
# of the users who have one. Users without a wrong pair do not count as 0 among the latter. The few users that go wrong
# weigh as much as all that go right, and the better a model gets, the less it shows: with 10 or with 1000 perfect users
# beside the one the number stays 0.5. It puts a model with more right pairs below one with fewer.
# (accuracy.py, fcp: nc_u and nd_u only hold the users that had such a pair)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  scikit-surprise==1.1.5 numpy==2.4.6 scipy==1.17.1
cd "$folder"
HOME="$folder" "$folder/venv/bin/python" - <<'PY'
from itertools import combinations

from surprise import accuracy


def predictions(orders):
    """The predictions for users whose items 1, 2, 3 ... get the given estimates."""
    return [(user, item, float(item), float(value), {}) for user, values in enumerate(orders)
            for item, value in enumerate(values, 1)]


def by_hand(orders):
    pairs = [one < other for values in orders for one, other in combinations(values, 2)]
    return sum(pairs) / len(pairs)


right, wrong, half = (1, 2, 3), (3, 2, 1), (1, 3, 2)
found = {}
for name, orders in {
    "9 right, 1 wrong": [right] * 9 + [wrong],
    "999 right, 1 wrong": [right] * 999 + [wrong],
    "all with one of three pairs wrong": [half] * 10,
    "all right": [right] * 10,
}.items():
    found[name] = accuracy.fcp(predictions(orders), verbose=False)
    print(f"{name}: by hand {by_hand(orders):.3f}, surprise {found[name]:.3f}")
assert by_hand([right] * 9 + [wrong]) == 0.9 and by_hand([half] * 10) < 0.67, "by hand"
assert found["all right"] == 1 and abs(found["all with one of three pairs wrong"] - 2 / 3) < 1e-9, "the oracle"
assert found["9 right, 1 wrong"] == found["999 right, 1 wrong"] == 0.5, "this has changed"
PY
echo "still so"
