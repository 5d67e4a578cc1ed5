#!/usr/bin/env bash
# autorank 1.3.0 with statsmodels 0.15.0 and numpy 2.4.6, 2026-11-30: overlapping intervals are "significant".
#
# Guess: where autorank chooses ANOVA with Tukey's HSD, create_report and the groups of the plots call two populations
# different where Tukey's test does, at the alpha given, or as the report itself says: "if their confidence intervals
# are not overlapping". Seen: get_sorted_rank_groups compares the difference of means with one half-width of the
# intervals, which is half of Tukey's distance, so that overlapping intervals are called significant: pairs with p of
# 0.26 by scipy's tukey_hsd. And alpha isn't handed on to tukeyhsd(): with 0.001 intervals are still those of 0.05.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  autorank==1.3.0 baycomp==1.0.3 statsmodels==0.15.0 pandas==3.1.1 matplotlib==3.11.2 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io

import numpy as np
import pandas
from autorank import autorank, create_report
from scipy import stats

NAMES = ["first", "second", "third"]


def told(values, alpha):
    """What autorank finds, and the end of its report."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        found = autorank(pandas.DataFrame(values, columns=NAMES), alpha=alpha)
        create_report(found)
    return found, heard.getvalue().strip().splitlines()[-1]


# Scores on 20 folds of which the second is 0.5 deviations better than the first and the third a whole one.
draw = np.random.default_rng(0)
values = stats.zscore(draw.normal(size=(20, 3)), ddof=1) + [0, 0.5, 1]
by_scipy = stats.tukey_hsd(*values.T).pvalue
found, last = told(values, 0.05)
ends = found.rankdf.loc[NAMES, ["ci_lower", "ci_upper"]].to_numpy(float)
print("scipy's tukey_hsd, p:", {(1, 2): by_scipy[0, 1].round(3), (2, 3): by_scipy[1, 2].round(3)})
print("intervals:", ends.round(2).tolist(), "-", found.omnibus, f"p={found.pvalue:.4f}")
print("report:", last)
assert found.omnibus == "anova" and found.pvalue < 0.05, "this has changed"
assert min(by_scipy[0, 1], by_scipy[1, 2]) > 0.2 > 0.01 > by_scipy[0, 2], "the oracle has changed"
assert ends[1, 0] < ends[0, 1] and ends[2, 0] < ends[1, 1], "this has changed: the intervals don't overlap"
assert "all differences between the populations are significant" in last, "this has changed"

strict, last = told(values, 0.001)
print("intervals at alpha=0.001:", strict.rankdf.loc[NAMES, ["ci_lower", "ci_upper"]].to_numpy(float).round(2).tolist())
assert np.allclose(strict.rankdf.loc[NAMES, ["ci_lower", "ci_upper"]].to_numpy(float), ends), "this has changed: alpha"
PY
echo "still so"
