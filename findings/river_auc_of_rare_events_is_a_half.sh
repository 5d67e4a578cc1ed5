#!/usr/bin/env bash
# river 0.26.1 with numpy 2.4.6, beside scikit-learn 1.9.1, 2026-12-01: well calibrated chances of a rare event have
# an AUC of 0.5, that of guessing, where it is 0.82, and a worse model gets 0.65.
#
# Guess: metrics.ROCAUC is near the true area: the docstring says that the error "is not significant as long as the
# predicted probabilities are well calibrated" and that "in any case" it serves to compare models "reliably".
# Seen: the ten thresholds are spread evenly over 0 to 1, the first above 0 being 0.11. Calibrated probabilities of an
# event of one in a hundred (fraud, clicks, churn) hardly get there: all rows are alike to it. The better calibrated
# the model, the nearer to a half; one that exaggerates is put first although it orders the rows worse. More
# thresholds help little: 20 give 0.60, 50 give 0.73. RollingROCAUC gives the true area of its window.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  river==0.26.1 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from river import metrics
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

random = np.random.default_rng(0)
chance = np.minimum(random.beta(0.5, 40, 30000), 0.0999)
event = random.random(len(chance)) < chance


def area(scores, rows=None, **settings):
    metric = metrics.ROCAUC(**settings)
    for truth, score in zip(event[:rows].tolist(), scores[:rows].tolist()):
        metric.update(truth, score)
    return metric.get()


said, were = calibration_curve(event, chance, n_bins=5, strategy="quantile")
print(f"{event.mean():.2%} events; chances that are told", said.round(4), "and that came true", were.round(4))
assert abs(said - were).max() < 0.01, "calibrated"
models = {
    "calibrated": chance,
    "three times too high, and noisy": np.clip(3 * chance + random.normal(0, 0.03, len(chance)), 0, 1),
    "shuffled": random.permutation(chance),
}
seen = {}
for name, scores in models.items():
    seen[name] = area(scores), roc_auc_score(event, scores)
    print(f"{name}: AUC of scikit-learn {seen[name][1]:.3f}, of river {seen[name][0]:.3f}")
finer = {number: round(float(area(chance, n_thresholds=number)), 3) for number in (20, 50, 1000)}
rolling = metrics.RollingROCAUC(window_size=3000)
for truth, score in zip(event[:3000].tolist(), chance[:3000].tolist()):
    rolling.update(truth, score)
print(f"by n_thresholds: {finer}; RollingROCAUC of 3000 rows {rolling.get():.3f},",
      f"scikit-learn {roc_auc_score(event[:3000], chance[:3000]):.3f}")
assert abs(finer[1000] - seen["calibrated"][1]) < 0.01, "the oracle"
assert abs(rolling.get() - roc_auc_score(event[:3000], chance[:3000])) < 1e-6, "the oracle"
assert seen["calibrated"][1] > 0.8 > seen["three times too high, and noisy"][1] + 0.01, "the oracle"
assert seen["calibrated"][0] == seen["shuffled"][0] == 0.5, "this has changed"
assert seen["three times too high, and noisy"][0] > 0.6, "this has changed: the worse one comes first"
PY
echo "still so"
