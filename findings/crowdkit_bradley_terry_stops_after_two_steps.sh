#!/usr/bin/env bash
# crowd-kit 1.4.2 beside choix 0.4.1, 2026-11-30: BradleyTerry stops after two steps, whatever n_iter and tol are.
#
# Guess: BradleyTerry(n_iter=10_000, tol=1e-9) goes on until the scores change by less than tol, and gives those of the
# maximum of the likelihood, as choix does. Seen: it compares the new scores with themselves, as both names mean one
# array, so that the change is 0 at the second step. Of ten things, each compared with the one above it, which wins,
# eight have another place in the ranking; the second weakest comes before four stronger ones, and the strongest has
# 0.22 where it has 0.83. With tol=0, which is never reached, the steps go on, and the scores are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  crowd-kit==1.4.2 choix==0.4.1 scikit-learn==1.9.1 pandas==2.3.3 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import choix
import numpy as np
import pandas as pd
from crowdkit.aggregation import BradleyTerry

# Each of ten things is compared with the next one 20 times, of which the stronger one wins 18 or 12 in turn.
wins = [18, 12, 18, 12, 18, 12, 18, 12, 18]
pairs = [(i, i + 1, i + 1 if k < wins[i] else i) for i in range(9) for k in range(20)]
table = pd.DataFrame([("w", *pair) for pair in pairs], columns=["worker", "left", "right", "label"])


def scores(**settings):
    model = BradleyTerry(**settings).fit(table)
    return model.scores_.sort_index().to_numpy(), len(model.loss_history_)


strengths = np.exp(choix.ilsr_pairwise(10, [(won, right if won == left else left) for left, right, won in pairs]))
true = strengths / strengths.sum()
own, _ = scores(n_iter=10_000, tol=1e-9)
two, _ = scores(n_iter=2, tol=0)
longer, _ = scores(n_iter=10_000, tol=0)
print("choix:                    ", true.round(4).tolist())
print("10,000 steps, tol=0:      ", longer.round(4).tolist())
print("10,000 steps, tol=1e-9:   ", own.round(4).tolist())
assert np.abs(longer - true).max() < 1e-6 and (np.diff(true) > 0).all(), "this has changed"
assert np.abs(np.diff(np.log(true)) - [np.log(n / (20 - n)) for n in wins]).max() < 1e-3, "this has changed"
print("order by choix:", np.argsort(true).tolist(), "order by BradleyTerry:", np.argsort(own).tolist())
assert (own == two).all() and np.abs(own - true).max() > 0.1, "this has changed: it goes on"
assert np.argsort(true).tolist() == list(range(10)) and np.argsort(own).tolist() != list(range(10)), "this has changed"
PY
echo "still so"
