#!/usr/bin/env bash
# autorank 1.3.0 with scipy 1.17.1 and numpy 2.4.6, 2026-11-30: equal models are "different" nearly twice too often.
#
# Guess: of two populations that aren't normal autorank tests at alpha whether they differ, as it does with the t-test
# where they are normal, so that of pairs of equal models about 5 in 100 have p below 0.05. Seen: rank_two looks which
# has the larger median, and asks Wilcoxon's test for alternative="greater" on that side. p is half of what the
# two-sided test gives, and equal models are told apart nearly 10 times in 100. Where a model with the larger
# median is the worse in most rows, p is near 1 though the models differ. The docstring has no word of a side.
# And create_report names other populations as not normal than those that are: the p-values of the table are put in
# order for the ranking by the inverse of what they should be, which is the same only where columns change in pairs.
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

TIMES = 1000


def told(values, names, report=False):
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        found = autorank(pandas.DataFrame(values, columns=names))
        if report:
            create_report(found)
    return found, heard.getvalue()


# Two models whose scores on 30 data sets are drawn alike.
draw, below, two_sided = np.random.default_rng(0), 0, 0
for _ in range(TIMES):
    values = draw.exponential(size=(30, 2)) ** 2
    found = told(values, ["first", "second"])[0]
    assert found.omnibus == "wilcoxon", "this has changed"
    true = stats.wilcoxon(*values.T).pvalue
    assert min(abs(found.pvalue - true / 2), abs(found.pvalue - 1 + true / 2)) < 0.02, "this has changed: one side"
    below, two_sided = below + (found.pvalue < 0.05) / TIMES, two_sided + (true < 0.05) / TIMES
print(f"equal models have p below 0.05: autorank {below:.3f}, scipy's two-sided test {two_sided:.3f}")
assert two_sided < 0.065 and below > two_sided + 0.02, "this has changed"

# Three models, of which the middling one alone is far from normal.
values = np.stack([draw.normal(9, 1, 40), draw.normal(1, 1, 40), draw.exponential(size=40) ** 3 + 5], 1)
found, report = told(values, ["best", "poor", "skewed"], report=True)
line = next(line for line in report.splitlines() if "population is normal" in line)
print("p of Shapiro and Wilk:", [float(f"{stats.shapiro(column).pvalue:.2g}") for column in values.T])
print("report:", line)
assert stats.shapiro(values[:, 2]).pvalue < 1e-6 < 0.02 < stats.shapiro(values[:, 1]).pvalue, "the oracle has changed"
assert "for the population poor (p=0.000)" in line, "this has changed: the report names the right ones"
PY
echo "still so"
