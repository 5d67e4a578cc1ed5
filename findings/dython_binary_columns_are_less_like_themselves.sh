#!/usr/bin/env bash
# dython 0.7.12 with scipy 1.17.1 and pandas 3.1.1, 2026-12-01: Cramér's V of a column of two categories and its exact
# copy is 0.89 with 20 rows; with three categories it is 1.
#
# Guess: nominal.cramers_v of identical columns is 1, with or without the documented bias correction (Bergsma), as in
# scipy.stats.contingency.association. Seen: for a table of two by two scipy's chi2_contingency is called with its
# default, the correction of Yates for continuity, of which the documentation says nothing and which
# bias_correction=False does not turn off. In a table of associations() a yes/no feature that decides the yes/no
# target outright stands below a three-valued one that leaves some rows open. The fewer rows, the lower: 0.77 with
# ten. A weak association of two-valued columns (0.2) is halved.
# (nominal.py, cramers_v)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  dython==0.7.12 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 scikit-learn==1.9.1 matplotlib==3.11.2
cd "$folder"
HOME="$folder" MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas as pd
from dython.nominal import associations, cramers_v
from scipy.stats.contingency import association


def by_hand(one, other, corrected):
    """Cramér's V from the table of counts, with Bergsma's correction if asked for."""
    table = pd.crosstab(one, other).to_numpy().astype(float)
    rows = table.sum()
    expected = np.outer(table.sum(1), table.sum(0)) / rows
    phi2, (r, k) = ((table - expected) ** 2 / expected).sum() / rows, table.shape
    if not corrected:
        return np.sqrt(phi2 / (min(r, k) - 1))
    phi2 = max(0, phi2 - (r - 1) * (k - 1) / (rows - 1))
    r, k = r - (r - 1) ** 2 / (rows - 1), k - (k - 1) ** 2 / (rows - 1)
    return np.sqrt(phi2 / (min(r, k) - 1))


seen = {}
for rows in (10, 20, 50):
    for values in ("ab", "abc"):
        column = np.array(list(values * rows)[:rows])
        seen[rows, values] = [float(cramers_v(column, column, bias_correction=each)) for each in (True, False)]
        hand = [by_hand(column, column, each) for each in (True, False)]
        print(f"{rows} rows, {len(values)} categories, a column and its copy: by hand {np.round(hand, 3)},",
              f"dython {np.round(seen[rows, values], 3)}")
        table = pd.crosstab(column, column).to_numpy()
        assert np.allclose(hand, 1) and abs(association(table, method="cramer") - 1) < 1e-9, "the oracle"
        assert (values == "ab") == (max(seen[rows, values]) < 0.97), "this has changed"
assert abs(seen[20, "ab"][0] - 0.894) < 1e-3 and abs(seen[20, "ab"][1] - 0.9) < 1e-9, "this has changed"

# Which feature says most about the target?
target = np.array(["no", "yes"] * 10)
same = np.where(target == "yes", "on", "off")
other = np.where(target == "yes", "high", "middle")
other[:2] = "low"  # a "no" and a "yes"
table = pd.DataFrame({"same": same, "other": other, "target": target})
found = associations(table, compute_only=True, nominal_columns="all")["corr"]["target"].astype(float).round(3).to_dict()
hand = {name: round(float(by_hand(table[name], target, True)), 3) for name in ("same", "other")}
print(f"association with the target: by hand {hand}, dython {found}")
assert hand["same"] > hand["other"] and found["same"] < found["other"] == hand["other"], "this has changed: the order"
weak = [np.repeat(list("aabb"), [6, 4, 4, 6]), np.repeat(list("xyxy"), [6, 4, 4, 6])]
hand, own = float(by_hand(*weak, False)), float(cramers_v(*weak, bias_correction=False))
print(f"a weak association, without bias correction: by hand {hand:.2f}, dython {own:.2f}")
assert abs(hand - 0.2) < 1e-9 and abs(own - 0.1) < 1e-9, "this has changed: a weak one is halved"
PY
echo "still so"
