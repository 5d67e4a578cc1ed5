#!/usr/bin/env bash
# safetensors 0.8.0 with numpy 2.4.6, 2026-11-29: the same tensors with the same metadata become other bytes at each save.
#
# Guess: a file is a function of what is in it, so that its hash tells whether two models are equal.
# Seen: with several entries of metadata these are written in an order that changes from one call to the next, within one
# process too. With one entry, such as transformers' `format`, the bytes are the same. Compare tensors, or hash them, not
# the files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import hashlib

import numpy as np
from safetensors.numpy import save

tensors = {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros(2)}


def hashes(metadata):
    return {hashlib.sha256(save(tensors, metadata)).hexdigest() for _ in range(50)}


several = hashes({"format": "np", "labels": "cat,dog", "seed": "0", "recipe": "probe"})
one = hashes({"format": "np"})
print(f"50 saves: {len(several)} files with four entries of metadata, {len(one)} with one")
assert len(one) == 1, "this has changed: with one entry too"
assert len(several) > 1, "this has changed: the files are equal"
PY
echo "still so"
