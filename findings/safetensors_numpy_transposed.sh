#!/usr/bin/env bash
# safetensors 0.8.0 with numpy 2.4.6, 2026-11-28: a transposed array is written with its numbers in another order.
#
# Guess: `safetensors.numpy.save_file` writes the array, or refuses what is not contiguous, as that for torch does.
# Seen: the shape is right, the numbers are those of the memory as it lies: no error, no warning. So it goes for
# `save`, too, and for all that numpy gives in Fortran's order: `a.T`, `np.asfortranarray(a)`, eigenvectors of
# `np.linalg.eigh` cut and turned. `np.ascontiguousarray` before it helps.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import numpy as np
from safetensors.numpy import load, load_file, save, save_file

array = np.arange(6, dtype=np.float32).reshape(2, 3).T
save_file({"a": array, "b": np.ascontiguousarray(array)}, "arrays.safetensors")
found = load_file("arrays.safetensors")
print("wanted:", array.tolist(), "read:", found["a"].tolist())
assert np.array_equal(found["b"], array)
assert found["a"].shape == array.shape
assert found["a"].tolist() == [[0, 1], [2, 3], [4, 5]], "this has changed: a transposed array is written as it is"
assert not np.array_equal(load(save({"a": array}))["a"], array), "this has changed: save writes it as it is"
PY
echo "still so"
