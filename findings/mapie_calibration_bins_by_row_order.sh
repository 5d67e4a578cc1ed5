#!/usr/bin/env bash
# mapie 1.6.0 with scikit-learn 1.9.1 and numpy 2.4.6, 2026-11-30: the calibration error depends on the order of the
# rows.
#
# Guess: expected_calibration_error(split_strategy="array split") sorts the scores and parts them into bins of equal
# size, as its name says, so that it finds what "quantile" finds. Seen: it parts the rows as they come and takes the
# greatest score of each part for an edge. In data that are not sorted all edges are near 1, so that nearly all rows
# fall into one bin: scores that are far too timid have an error of 0.003 where it is 0.10, and 0.10 with the same rows
# sorted. And "uniform" and "quantile" make one bin less than num_bins: with num_bins=2 everything is in one bin.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  mapie==1.6.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from mapie.metrics.calibration import expected_calibration_error

# Scores between 0.3 and 0.7, whose true probabilities lie between 0.1 and 0.9.
random = np.random.default_rng(0)
score = random.uniform(0.3, 0.7, 20_000)
true = (random.random(20_000) < 0.5 + 2 * (score - 0.5)).astype(int)


def by_hand(true, score, bins):
    """Mean distance of accuracy and score in bins of equal size."""
    parts = np.array_split(np.argsort(score), bins)
    return sum(len(part) * abs(true[part].mean() - score[part].mean()) for part in parts) / len(true)


rows = np.argsort(score)
found = {
    "by hand": by_hand(true, score, 10),
    "quantile": expected_calibration_error(true, score, num_bins=10, split_strategy="quantile"),
    "array split, sorted rows": expected_calibration_error(
        true[rows], score[rows], num_bins=10, split_strategy="array split"
    ),
    "array split": expected_calibration_error(true, score, num_bins=10, split_strategy="array split"),
}
print(", ".join(f"{name}: {value:.4f}" for name, value in found.items()))
assert found["by hand"] > 0.09 and abs(found["quantile"] - found["by hand"]) < 0.005, "this has changed"
assert abs(found["array split, sorted rows"] - found["by hand"]) < 0.005, "this has changed"
assert found["array split"] < 0.01, "this has changed: the order of the rows makes no difference"

two = {"by hand": by_hand(true, score, 2)}
two["quantile"] = expected_calibration_error(true, score, num_bins=2, split_strategy="quantile")
two["uniform"] = expected_calibration_error(true, score, num_bins=2, split_strategy="uniform")
print("two bins:", ", ".join(f"{name}: {value:.4f}" for name, value in two.items()))
whole = abs(true.mean() - score.mean())
assert two["by hand"] > 0.09, "this has changed"
assert abs(two["quantile"] - whole) < 1e-4 and abs(two["uniform"] - whole) < 1e-9, "this has changed: two bins"
PY
echo "still so"
