#!/usr/bin/env bash
# evidently 0.7.23 with scipy 1.17.1, 2026-11-30: ValueDrift(method="mannw") sees no drift where all values have fallen.
#
# Guess: a drift test asks whether two samples differ, in either direction; the Mann-Whitney test is two-sided, as it is
# by default in scipy, and as evidently's own "ks", "t_test" and the docstring of this test ("the two-tailed p-value").
# Seen: mann_whitney_urank_stattest.py asks scipy for alternative="less", so that only a rise counts. After a fall of
# half a standard deviation in 500 rows the p-value is 1.0, where it is 1e-15, however large the fall: a score or
# a confidence that collapses passes the check. A rise has half the p-value, thus more false alarms.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  evidently==0.7.23 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cd "$folder"
HOME="$folder" DO_NOT_TRACK=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas as pd
from evidently import Report
from evidently.metrics import ValueDrift
from scipy.stats import mannwhitneyu

draw = np.random.default_rng(0)
reference = pd.DataFrame({"confidence": draw.normal(0.7, 0.1, 500)})
for move in (0.05, 0, -0.05, -0.3):
    current = pd.DataFrame({"confidence": draw.normal(0.7 + move, 0.1, 500)})

    def drift(method):
        report = Report([ValueDrift(column="confidence", method=method)])
        return float(report.run(current, reference).dict()["metrics"][0]["value"])

    own, others = drift("mannw"), {method: drift(method) for method in ("ks", "t_test")}
    hand = mannwhitneyu(reference["confidence"], current["confidence"]).pvalue
    print(f"moved by {move}: p-value by scipy {hand:.2g}, evidently mannw {own:.2g},",
          ", ".join(f"{name} {value:.2g}" for name, value in others.items()))
    less = mannwhitneyu(reference["confidence"], current["confidence"], alternative="less").pvalue
    assert np.isclose(own, less, rtol=1e-6), "this has changed"
    if move:
        assert hand < 1e-4 and max(others.values()) < 1e-4
        assert own < 1e-4 if move > 0 else own > 0.999, "this has changed"
PY
echo "still so"
