#!/usr/bin/env bash
# category_encoders 2.11.2 with pandas 3.1.1 and scikit-learn 1.9.1, 2026-12-01: JamesSteinEncoder gives a category of
# a single row this row's own label, and one of 4 rows as much weight as one of 1000.
#
# Guess: with its default model="independent" it draws the mean of a category towards the mean of all, the more the
# fewer rows the category has: it takes, as documented, "squared standard errors, which penalize small observation
# counts: SE^2 = var(y)/count(y)". Seen: it takes the variance and does not divide by the count. Without regard for
# the number of rows, a category is drawn the less the more its rows agree. One row, or two or three of the same
# label, have no variance and are believed altogether; a large category whose mean is known well is drawn to the
# middle. A column of nearly as many values as rows (post codes, names, ids that recur) hands the labels over to the
# model: all is well on the training data, and the model is worse on new data than without the column. TargetEncoder
# and MEstimateEncoder of the package do as one expects.
# (james_stein.py, _train_independent: i_var, global_var)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  category-encoders==2.11.2 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas as pd
from category_encoders import JamesSteinEncoder, MEstimateEncoder, TargetEncoder
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

# Labels by category; the other categories are all of label 0.
labels = {"1000 rows, half 1": [0, 1] * 500, "4 rows, half 1": [0, 1] * 2, "1 row": [1], "3 rows": [1] * 3,
          "others": [0] * 400, "rest": [0] * 400}
column = pd.DataFrame({"kind": np.repeat(list(labels), [len(each) for each in labels.values()])})
target = pd.Series(np.concatenate(list(labels.values())))
overall, kinds = target.mean(), pd.DataFrame({"kind": list(labels)})


def by_hand(divide):
    """The documented weights, with squared standard errors or with plain variances."""
    found, spread = {}, target.var()
    for name, each in labels.items():
        own = np.var(each, ddof=1) if len(each) > 1 else (spread if divide else 0)
        if divide:  # a category without variance or of one row is taken to be as varied as all rows
            own = max(own, spread) / len(each)
        share = own / (own + spread) * (len(labels) - 3) / (len(labels) - 1)
        found[name] = (1 - share) * np.mean(each) + share * overall
    return pd.Series(found)


found = {model.__name__: pd.Series(model().fit(column, target).transform(kinds)["kind"].to_numpy(), index=list(labels))
         for model in (JamesSteinEncoder, TargetEncoder, MEstimateEncoder)}
print(f"mean of all {overall:.3f}")
print(pd.DataFrame({**found, "with counts, by hand": by_hand(True)}).round(3).to_string())
own = found["JamesSteinEncoder"]
assert abs(own - by_hand(False)).max() < 1e-9, "this has changed: variances without counts"
assert own["1 row"] == own["3 rows"] == 1, "this has changed: a single row"
drawn = {name: float(abs(own[name] - 0.5)) for name in ("1000 rows, half 1", "4 rows, half 1")}
assert drawn["1000 rows, half 1"] > 0.7 * drawn["4 rows, half 1"] > 0, "this has changed: the count"
for name in ("TargetEncoder", "MEstimateEncoder"):
    assert abs(found[name]["1000 rows, half 1"] - 0.5) < 1e-3 and found[name]["1 row"] < 0.8, "the oracle"

# A useful number, and a column of 1500 values that says nothing: 1000 rows to train, 4000 to test.
random = np.random.default_rng(0)
number = random.normal(size=5000)
truth = pd.Series((number + random.normal(size=5000) > 0).astype(int))
names = pd.DataFrame({"kind": random.integers(1500, size=5000).astype(str)})
areas = {"without": None, "JamesSteinEncoder": JamesSteinEncoder(), "TargetEncoder": TargetEncoder()}
for name, encoder in areas.items():
    rows = number[:, None]
    if encoder is not None:
        encoder.fit(names[:1000], truth[:1000])
        rows = np.c_[rows, encoder.transform(names)["kind"]]
    model = LogisticRegression().fit(rows[:1000], truth[:1000])
    chances = model.predict_proba(rows)[:, 1]
    areas[name] = [round(float(roc_auc_score(truth[part], chances[part])), 3)
                   for part in (slice(1000), slice(1000, None))]
print("AUC on the training and the test rows:", areas)
assert areas["JamesSteinEncoder"][0] > 0.95, "this has changed: the training rows"
assert areas["JamesSteinEncoder"][1] < areas["without"][1] - 0.05, "this has changed: the test rows"
assert areas["TargetEncoder"][1] > areas["JamesSteinEncoder"][1] + 0.03, "the oracle"
PY
echo "still so"
