#!/usr/bin/env bash
# ml_dtypes 0.6.0 with numpy 2.4.6, 2026-11-29: the mean of a thousand ones in bfloat16 is 0.256.
#
# Guess: numpy sums bfloat16 as it sums float16, whose mean it takes in float32.
# Seen: sums, means, variances and norms along an axis are taken in bfloat16 itself. It has 8 bits: 256 + 1 is 256, and
# the sum of ones ends there. Embeddings kept as bfloat16 have means like that, without a warning. A product of matrices
# is taken in float32. `mean(dtype="float32")` is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check ml_dtypes==0.6.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import ml_dtypes
import numpy as np

ones = np.ones((1000, 3), dtype=ml_dtypes.bfloat16)
mean, half = ones.mean(axis=0), ones.astype(np.float16).mean(axis=0)
right = ones.mean(axis=0, dtype=np.float32)
deviation = float(np.arange(1000).astype(ml_dtypes.bfloat16).std())
print("bfloat16:", mean, "float16:", half, "dtype=float32:", right, "deviation of 0 to 999:", deviation, "(288.7)")
assert (half == 1).all() and (right == 1).all()
assert (np.abs(mean.astype(float) - 0.256) < 0.001).all(), "this has changed: the mean is right"
assert deviation == 384.0, "this has changed: the deviation is another"
PY
echo "still so"
