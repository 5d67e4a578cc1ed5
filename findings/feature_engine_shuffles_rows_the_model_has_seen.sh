#!/usr/bin/env bash
# feature-engine 1.9.4 with scikit-learn 1.9.1 and pandas 3.1.1, 2026-11-30: with shuffled folds SelectByShuffling finds
# that shuffling any feature makes the model better.
#
# Guess: SelectByShuffling(cv=StratifiedKFold(5, shuffle=True)) scores each fold's model on the fold that it has not
# seen, once as it is and once with the feature shuffled, and takes the difference. Seen: it asks the splitter for its
# folds a second time after the models are fitted, and a splitter that shuffles without a seed gives others. The
# shuffled scores are mostly of rows that the model was trained on. The features' drifts come out below 0, that of the
# one that carries the model as well, and the selection goes by how well a forest remembers. With a seed, or without
# shuffle, all is well.
# (selection/shuffle_features.py, fit: validation_indices)
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
from feature_engine.selection import SelectByShuffling
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import StratifiedKFold

values, labels = make_classification(
    300, 8, n_informative=3, n_redundant=0, random_state=3, flip_y=0.3, class_sep=0.7, shuffle=False)
table = pandas.DataFrame(values, columns=[f"f{place}" for place in range(8)])
target = pandas.Series(labels)
forest = RandomForestClassifier(50, random_state=0)


def by_hand(splitter):
    """scikit-learn's permutation importance on the rows that each model has not seen."""
    found = []
    for train, test in splitter.split(table, target):
        model = clone(forest).fit(table.iloc[train], target.iloc[train])
        found.append(permutation_importance(
            model, table.iloc[test], target.iloc[test], scoring="roc_auc", n_repeats=5, random_state=0).importances_mean)
    return np.mean(found, 0)


drifts = {}
cases = {"seeded": {"shuffle": True, "random_state": 1}, "not shuffled": {}, "unseeded": {"shuffle": True}}
for name, folds in cases.items():
    splitter = StratifiedKFold(5, **folds)
    np.random.seed(0)
    fitted = SelectByShuffling(forest, scoring="roc_auc", cv=splitter, random_state=0, threshold=0.05).fit(table, target)
    drifts[name] = np.array(list(fitted.performance_drifts_.values()))
    oracle = by_hand(splitter)
    print(f"{name}: AUC {fitted.initial_model_performance_:.3f}, drifts {drifts[name].round(3)}, by hand {oracle.round(3)}",
          f"dropped {len(fitted.features_to_drop_)}")
    assert oracle.argmax() == 1 and oracle[1] > 0.15 and np.delete(oracle, 1).max() < 0.1, "the oracle"
    if name == "unseeded":
        assert drifts[name].max() < 0 and len(fitted.features_to_drop_) == 8, "this has changed"
        assert np.median(drifts[name]) < -0.1, "this has changed"
    else:
        assert np.abs(drifts[name] - oracle).max() < 0.1 and "f1" not in fitted.features_to_drop_, "the oracle"
PY
echo "still so"
