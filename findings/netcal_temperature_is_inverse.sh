#!/usr/bin/env bash
# netcal 1.4.0, 2026-11-29: the temperature that TemperatureScaling finds is the inverse of what is usually called so.
#
# Guess: of predictions that are three times too sure (logits times 3), `temperature` is about 3, by which logits are
# divided, as in Guo et al. (arXiv 1706.04599).
# Seen: it is about 0.33: logits are multiplied by it. Whoever divides by it makes the predictions nine times too sure
# instead of right; `transform` itself is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check netcal==1.4.0 numpy==2.4.6 scipy==1.17.1 torch==2.14.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY' 2>/dev/null
import numpy as np
from netcal.metrics import ECE
from netcal.scaling import TemperatureScaling
from scipy.special import softmax

random = np.random.default_rng(0)
logits = random.normal(size=(4_000, 3))
labels = np.array([random.choice(3, p=own) for own in softmax(logits, axis=1)])
too_sure = softmax(3 * logits, axis=1)
scaling = TemperatureScaling()
scaling.fit(too_sure, labels)
found = float(np.ravel(scaling.temperature)[0])
error = {
    "as they were": ECE(15).measure(too_sure, labels),
    "transformed": ECE(15).measure(scaling.transform(too_sure), labels),
    "divided by it": ECE(15).measure(softmax(np.log(too_sure) / found, axis=1), labels),
}
print(f"temperature {found:.3f}; calibration error", {name: round(float(value), 3) for name, value in error.items()})
assert abs(found - 1 / 3) < 0.03, "this has changed"
assert error["transformed"] < 0.05 < error["as they were"] < error["divided by it"], "this has changed"
PY
echo "still so"
