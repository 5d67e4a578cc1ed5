#!/usr/bin/env bash
# feature-engine 1.9.4 with scikit-learn 1.9.1 and pandas 3.1.1, 2026-11-30: threshold=0 drops features that help, those
# below the mean.
#
# Guess: SelectByShuffling(threshold=0) drops the features whose shuffling does not make the model worse, and
# SelectBySingleFeaturePerformance and SelectByTargetMeanPerformance(scoring="r2", threshold=0) those by which a model
# is no better than the mean; only threshold=None takes the mean over the features, as documented. Seen: all three ask
# "if not self.threshold", so that 0 and 0.0 are None. One strong feature lifts the mean, and everything else goes:
# features of which shuffling costs 0.14 of R² are dropped at a threshold of 0 and kept at one of 1e-9.
# (selection/shuffle_features.py, single_feature_performance.py, target_mean_selection.py, fit)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  feature-engine==1.9.4 scikit-learn==1.9.1 pandas==3.1.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas
from feature_engine.selection import SelectByShuffling, SelectBySingleFeaturePerformance, SelectByTargetMeanPerformance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

draw = np.random.default_rng(0)
table = pandas.DataFrame(draw.normal(size=(400, 4)), columns=["strong", "weak", "faint", "noise"])
target = 10 * table.strong + 3 * table.weak + 1.5 * table.faint + draw.normal(size=400)

selectors = {
    "shuffling": lambda threshold: SelectByShuffling(
        LinearRegression(), scoring="r2", cv=5, threshold=threshold, random_state=0),
    "single": lambda threshold: SelectBySingleFeaturePerformance(
        LinearRegression(), scoring="r2", cv=5, threshold=threshold),
    "target mean": lambda threshold: SelectByTargetMeanPerformance(
        scoring="r2", cv=5, regression=True, threshold=threshold),
}
for name, make in selectors.items():
    dropped, scores = {}, None
    for threshold in (None, 0, 0.0, 1e-9):
        fitted = make(threshold).fit(table, target)
        scores = fitted.performance_drifts_ if name == "shuffling" else fitted.feature_performance_
        dropped[threshold, type(threshold).__name__] = set(fitted.features_to_drop_)
    none, zero, also_zero, tiny = dropped.values()
    by_hand = {feature for feature, score in scores.items() if score < 0}
    print(f"{name}: scores", {feature: round(float(score), 3) for feature, score in scores.items()})
    print(f"  dropped at None {sorted(none)}, at 0 {sorted(zero)}, at 1e-9 {sorted(tiny)}; below 0 are {sorted(by_hand)}")
    assert tiny == by_hand, "the oracle"
    assert zero == also_zero == none == {"weak", "faint", "noise"} != by_hand, "this has changed"

kept = {name: cross_val_score(LinearRegression(), table[columns], target, cv=5, scoring="r2").mean()
        for name, columns in {"0": ["strong"], "1e-9": ["strong", "weak", "faint"]}.items()}
print("R² of a model with what shuffling leaves:", {name: round(float(score), 3) for name, score in kept.items()})
assert kept["1e-9"] > kept["0"] + 0.05
PY
echo "still so"
