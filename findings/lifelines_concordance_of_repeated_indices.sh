#!/usr/bin/env bash
# lifelines 0.30.0 with pandas 3.1.1 and numpy 2.4.6, beside scikit-survival 0.28.0, 2026-12-01: the concordance of a
# Cox model is 0.73; of the same rows with an index that has values twice it is 0.60.
#
# Guess: concordance_index_, and "Concordance" in print_summary(), is that of the model's predictions for the rows it
# was fitted to; the index of the table plays no part in it. Seen: with values that occur twice in the index, as after
# pd.concat of two files or df.sample(replace=True), the hazards are set beside the durations of other rows, and the
# number falls towards a half. Coefficients, errors, likelihood and baseline are the same, and score(df,
# "concordance_index") is right. Every bootstrap of the concordance that reads it from the fitted model is wrong: the
# optimism comes out as negative by a wide margin, and the interval lies below the value itself. Shuffled rows do no
# harm. WeibullAFTFitter raises an error for such a table.
# (fitters/coxph_fitter.py, where _predicted_partial_hazards_ is made)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  lifelines==0.30.0 pandas==3.1.1 numpy==2.4.6 scipy==1.17.1 matplotlib==3.11.2 scikit-survival==0.28.0 \
  scikit-learn==1.9.1
cd "$folder"
HOME="$folder" MPLBACKEND=agg OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from sksurv.metrics import concordance_index_censored

random = np.random.default_rng(0)
rows = pd.DataFrame({"x": random.normal(size=200), "z": random.normal(size=200)})
rows["time"] = random.exponential(np.exp(-rows["x"]))
rows["event"] = random.random(200) < 0.7


def concordances(table, **settings):
    """That of the fitted model, that of its score(), and scikit-survival's of its predictions."""
    model = CoxPHFitter(**settings).fit(table, "time", "event")
    risk = model.predict_partial_hazard(table).to_numpy()
    other = concordance_index_censored(table["event"].to_numpy(bool), table["time"].to_numpy(), risk)[0]
    scored = model.score(table, scoring_method="concordance_index")
    return model, [round(float(each), 3) for each in (model.concordance_index_, scored, other)]


halves = pd.concat([rows[:100].reset_index(drop=True), rows[100:].reset_index(drop=True)])
assert (halves.to_numpy() == rows.to_numpy()).all()
found, models = {}, {}
for name, table in {"index 0 to 199": rows, "shuffled": rows.sample(frac=1, random_state=1),
                    "two files put together": halves}.items():
    models[name], found[name] = concordances(table)
    print(f"{name}: concordance_index_ {found[name][0]}, score() {found[name][1]}, scikit-survival {found[name][2]};",
          f"coefficients {models[name].params_.round(4).tolist()}")
assert len({each[2] for each in found.values()}) == 1 and len({each[1] for each in found.values()}) == 1, "the oracle"
assert found["index 0 to 199"][0] == found["shuffled"][0] == found["shuffled"][2], "the oracle"
assert np.allclose(models["two files put together"].params_, models["index 0 to 199"].params_), "the same model"
assert found["two files put together"][0] < found["two files put together"][2] - 0.1, "this has changed"

# Optimism by bootstrap: concordance on the drawn rows less that on all rows, as Harrell has it.
seen = {"drawn rows as they are": [], "with a new index": []}
for seed in range(20):
    drawn = rows.sample(frac=1, replace=True, random_state=seed)
    for name, table in zip(seen, (drawn, drawn.reset_index(drop=True))):
        model = CoxPHFitter().fit(table, "time", "event")
        seen[name].append(model.concordance_index_ - model.score(rows, scoring_method="concordance_index"))
optimism = {name: round(float(np.mean(each)), 3) for name, each in seen.items()}
print("optimism of twenty bootstrap draws:", optimism)
assert abs(optimism["with a new index"]) < 0.02, "the oracle"
assert optimism["drawn rows as they are"] < -0.1, "this has changed: the bootstrap"
PY
echo "still so"
