#!/usr/bin/env bash
# pyod 3.6.7 with numpy 2.3.5, 2026-11-30: ECOD calls one and the same row an outlier when it comes alone, and normal
# when others like it come with it.
#
# Guess: fit learns the distribution of the training data, and decision_function and predict judge each row by it, as
# for the other detectors (HBOS here), so that a batch may be cut anywhere. Seen: ECOD and COPOD put the rows to be
# judged into the training data and take the shares of all of them. A row's score depends on the batch it came in; the
# more outliers come at once, the more usual they are, while the threshold stays that of the training data. A broken
# sensor is told by its first row and not by its thousand others.
# (models/ecod.py and copod.py, decision_function: np.concatenate((self.X_train, X)))
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pyod==3.6.7 numba==0.63.1 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.3.5
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.hbos import HBOS
from scipy.stats import norm

draw = np.random.default_rng(0)
train = draw.normal(size=(1000, 4))
broken = 6 + 0.1 * draw.normal(size=(1000, 4))  # six deviations off in each dimension
print(f"share of rows as far off by the distribution of the training data: {norm.sf(6):.0e} in each dimension")

for detector in (HBOS(), ECOD(), COPOD()):
    name = type(detector).__name__
    detector.fit(train)
    scores, labels = {}, {}
    for company in (1, 10, 100, 1000):
        batch = broken[:company]
        scores[company] = detector.decision_function(batch)[0]
        labels[company] = detector.predict(batch).mean()
    alone = np.mean([detector.predict(row[None])[0] for row in broken[:50]])
    print(f"{name}: threshold {detector.threshold_:.2f}, score of the first row",
          {company: round(float(score), 2) for company, score in scores.items()},
          "share called outliers", {company: round(float(label), 3) for company, label in labels.items()},
          f"alone {alone:.2f}")
    assert alone == 1, "the oracle: each row is an outlier"
    if name == "HBOS":
        assert len(set(scores.values())) == 1 and set(labels.values()) == {1.0}, "the oracle"
    else:
        assert scores[1] > scores[10] > scores[100] > scores[1000], "this has changed"
        assert labels[1] == 1 and labels[1000] < 0.5, "this has changed"
PY
echo "still so"
