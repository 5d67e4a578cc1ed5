#!/usr/bin/env bash
# snorkel 0.10.0 with torch 2.14.1 and numpy 2.4.6, 2026-12-01: given class_balance (or Y_dev) LabelModel labels also
# the rows on which no labelling function has a vote, four in ten here, all as the commoner class.
#
# Guess: predict(L, tie_break_policy="abstain"), the default, gives -1 for rows where every labelling function
# abstains, as MajorityLabelVoter does; class_balance weighs the classes of the rows that have votes. Seen: of a row
# without votes the probabilities are the class balance itself. By default it is even, which is a tie, and the row
# abstains. As soon as the true balance is given, or taken from Y_dev, there is no tie: nothing abstains, and coverage
# is 1.0. Filtering by -1 drops nothing; the training set is filled with the commoner class, which no function ever
# gave. F1 of the very model is 0.54 over the rows with votes and 0.37 over what it labels. A balance of 0.51 to 0.49
# is enough for it.
# (labeling/model/label_model.py, predict_proba; utils/core.py, probs_to_preds)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torch==2.14.1 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 scikit-learn==1.9.1 networkx==3.6.1 munkres==3.0.0 \
  tqdm==4.70.1
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps snorkel==0.10.0
cd "$folder"
HOME="$folder" OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import logging

import numpy as np
from sklearn.metrics import f1_score
from snorkel.labeling.model import LabelModel, MajorityLabelVoter

logging.disable(logging.WARNING)
random = np.random.default_rng(0)
truth = (random.random(1000) < 0.3).astype(int)
votes = np.full((1000, 5), -1)
for each in votes.T:
    speaks, right = random.random(1000) < 0.15, random.random(1000) < 0.85
    each[speaks] = np.where(right, truth, 1 - truth)[speaks]
silent = (votes == -1).all(axis=1)
print(f"{silent.mean():.0%} of the rows have no vote; {truth.mean():.0%} are of class 1")


def outcome(name, model):
    called, chances = model.predict(votes, return_probs=True, tie_break_policy="abstain")
    scores = {key: round(float(value), 2) for key, value in
              model.score(votes, truth, metrics=["accuracy", "coverage", "f1"]).items()}
    print(f"{name}: rows without a vote are called {sorted(set(called[silent].tolist()))},",
          f"with the probabilities {chances[silent][0].round(3)}; {scores}")
    return called, scores


seen = {"MajorityLabelVoter": outcome("MajorityLabelVoter", MajorityLabelVoter(cardinality=2))}
for name, settings in {
    "LabelModel": {}, "class_balance=[0.7, 0.3]": {"class_balance": [0.7, 0.3]},
    "class_balance=[0.51, 0.49]": {"class_balance": [0.51, 0.49]}, "Y_dev": {"Y_dev": truth},
}.items():
    model = LabelModel(cardinality=2, verbose=False)
    model.fit(votes, n_epochs=200, seed=1, progress_bar=False, **settings)
    seen[name] = outcome(name, model)
assert all((seen[name][0][silent] == -1).all() for name in ("MajorityLabelVoter", "LabelModel")), "the oracle"
for name in ("class_balance=[0.7, 0.3]", "class_balance=[0.51, 0.49]", "Y_dev"):
    assert (seen[name][0][silent] == 0).all() and seen[name][1]["coverage"] == 1, "this has changed"
# The same model over the rows with votes, and over all that it labels.
called = seen["class_balance=[0.7, 0.3]"][0]
alone, every = f1_score(truth[~silent], called[~silent]), f1_score(truth, called)
print(f"F1 of the model that knows the balance: {alone:.2f} over the rows with votes, {every:.2f} over all")
assert alone > every + 0.1 and abs(every - seen["class_balance=[0.7, 0.3]"][1]["f1"]) < 0.01, "this has changed: F1"
PY
echo "still so"
