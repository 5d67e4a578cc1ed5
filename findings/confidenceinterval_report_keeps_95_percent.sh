#!/usr/bin/env bash
# confidenceinterval 1.0.5 with scikit-learn 1.9.1 and numpy 2.4.6, 2026-11-30: the report's intervals stay at 95 %.
#
# Guess: classification_report_with_ci(confidence_level=0.999) gives wider intervals than 0.95 gives, and 0.5 narrower
# ones, as its docstring and precision_score(confidence_level=...) have it. Seen: only the F1 of single classes follows.
# Precision and recall of each class and the rows "micro" and "macro", F1 too, are at 95 % whatever is asked for, since
# the level isn't handed on to them. In a row of the report with 0.5 the interval of F1 is a third as wide as its
# neighbours; with 0.999 recall of the first class ends at 0.855 where it should end at 0.884.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  confidenceinterval==1.0.5 scikit-learn==1.9.1 statsmodels==0.15.0 pandas==3.1.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import confidenceinterval
import numpy as np
from statsmodels.stats.proportion import proportion_confint

LEVELS = (0.5, 0.95, 0.999)
draw = np.random.default_rng(0)
true = draw.integers(0, 3, 500)
predicted = np.where(draw.random(500) < 0.7, true, draw.integers(0, 3, 500))


def width(interval):
    return float(interval[1] - interval[0])


reports = {
    level: confidenceinterval.classification_report_with_ci(
        true.tolist(), predicted.tolist(), confidence_level=level, round_ndigits=6
    ).set_index("Class")
    for level in LEVELS
}
for level, report in reports.items():
    print(f"at {level}:")
    print(report[["Precision CI", "Recall CI", "F1-Score CI"]].round(3).to_string())

# The oracle: Wilson's interval of recall, and the library's own functions at the level asked for.
for level in LEVELS:
    hits, count = int(np.sum((true == 0) & (predicted == 0))), int(np.sum(true == 0))
    wilson = proportion_confint(hits, count, alpha=1 - level, method="wilson")
    own = confidenceinterval.recall_score(
        (true == 0).astype(int), (predicted == 0).astype(int), level, average="binary", method="wilson"
    )[1]
    told = reports[level].loc["Class 0", "Recall CI"]
    print(f"recall of class 0 at {level}: by hand {np.round(wilson, 3)}, in the report {np.round(told, 3)}")
    assert np.allclose(own, wilson), "the oracle has changed"
    assert np.allclose(told, wilson, atol=1e-5) == (level == 0.95), "this has changed"
for column in ("Precision CI", "Recall CI", "F1-Score CI"):
    for row in ("Class 0", "Class 1", "Class 2", "micro", "macro"):
        widths = [width(reports[level].loc[row, column]) for level in LEVELS]
        follows = column == "F1-Score CI" and row.startswith("Class")
        assert (widths[0] < 0.5 * widths[1] < 0.5 * widths[2]) == follows, "this has changed"
        assert follows or max(widths) - min(widths) < 1e-5, "this has changed: the level is handed on"
PY
echo "still so"
