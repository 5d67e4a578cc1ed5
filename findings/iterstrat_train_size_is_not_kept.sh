#!/usr/bin/env bash
# iterative-stratification 0.1.9, 2026-11-30: train_size=0.05 with test_size=0.2 gives 0.2 and 0.8 of the examples.
#
# Guess: MultilabelStratifiedShuffleSplit(train_size=, test_size=) takes those shares of the examples, "the proportion
# of the dataset to include in the train split", or those counts, and leaves the others out, as StratifiedShuffleSplit
# of scikit-learn does; learning curves and small training sets for a fixed test set are made so.
# Seen: only the ratio of both counts (ml_stratifiers.py); all examples are handed out. Asked for 50 of 1000 to train
# and 200 to test, it gives 200 and 800; for 10 and 10, 500 and 500. A curve over few examples is one over many, each
# with another test set. test_size alone is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  iterative-stratification==0.1.9 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from sklearn.model_selection import ShuffleSplit

warnings.simplefilter("error")  # nothing is said
labels = (np.random.default_rng(0).random((1000, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(int)
inputs = np.zeros((1000, 1))


def sizes(splitter, **settings):
    train, test = next(splitter(n_splits=1, random_state=0, **settings).split(inputs, labels))
    assert not set(train) & set(test)
    return len(train), len(test)


cases = (
    ({"test_size": 0.2}, 800),
    ({"train_size": 0.05, "test_size": 0.2}, 200),
    ({"train_size": 0.2, "test_size": 0.2}, 500),
    ({"train_size": 0.8, "test_size": 0.2}, 800),
    ({"train_size": 50, "test_size": 200}, 200),
    ({"train_size": 10, "test_size": 10}, 500),
)
for settings, wanted in cases:
    own, other = sizes(MultilabelStratifiedShuffleSplit, **settings), sizes(ShuffleSplit, **settings)
    print(f"{settings}: {own[0]} to train and {own[1]} to test, scikit-learn {other[0]} and {other[1]}")
    assert sum(own) == 1000 and abs(own[0] - wanted) <= 5, "this has changed"
assert sizes(ShuffleSplit, train_size=0.05, test_size=0.2) == (50, 200)
assert sizes(ShuffleSplit, train_size=10, test_size=10) == (10, 10)
PY
echo "still so"
