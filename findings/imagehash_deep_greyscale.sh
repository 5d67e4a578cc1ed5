#!/usr/bin/env bash
# ImageHash 4.3.2 with Pillow 13.0.0, 2026-11-28: every perceptual hash of a 16-bit greyscale file is the same.
#
# Guess: hashes of different pictures differ, whatever their depth. Seen: Pillow's convert("L"), with which each hash
# begins, clips values above 255 to white, so that scans of 10 to 16 bits all hash alike: a search for duplicates finds
# nothing but duplicates. The same pictures in 8 bits hash differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check ImageHash==4.3.2 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import imagehash
import numpy as np
from PIL import Image

HASHES = (imagehash.phash, imagehash.dhash, imagehash.average_hash, imagehash.whash)
deep, plain = [], []
for seed in range(5):
    cells = np.random.default_rng(seed).integers(300, 4096, (8, 8))  # 12 bits, as a scanner stores them
    values = np.kron(cells, np.ones((16, 16), int))
    Image.fromarray(values.astype(np.uint16)).save(f"deep{seed}.png")
    Image.fromarray((values // 16).astype(np.uint8)).save(f"plain{seed}.png")
    deep.append(tuple(str(of(Image.open(f"deep{seed}.png"))) for of in HASHES))
    plain.append(tuple(str(of(Image.open(f"plain{seed}.png"))) for of in HASHES))
print("16 bits:", deep[0], "for", len(deep), "pictures:", len(set(deep)), "different")
print(" 8 bits:", len(set(plain)), "different of", len(plain))
assert len(set(deep)) == 1, "this has changed: deep pictures hash differently now"
assert len(set(plain)) == 5
PY
echo "still so"
