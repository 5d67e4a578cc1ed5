#!/usr/bin/env bash
# datasets 5.2.0 with Pillow 13.0.0, 2026-11-29: a function given to map that looks at an image compresses it anew.
#
# Guess: map(lambda row: {"width": row["image"].width}) adds a column and leaves the images as they are; they come back
# from the cache byte for byte. Seen: a JPEG that lies in the table (Parquet, the Hub, push_to_hub) is written again at
# Pillow's default quality of 75 with halved colours, although the function returned no image. Of a photo saved at
# quality 95 a third of the bytes is left; each further look takes more. With input_columns the image is kept.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import io

import datasets
import numpy as np
from PIL import Image

small = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
buffer = io.BytesIO()
Image.fromarray(small).resize((128, 128), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95, subsampling=0)
rows = {"image": [{"bytes": buffer.getvalue(), "path": None}]}
photos = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))


def pixels(of: datasets.Dataset) -> np.ndarray:
    return np.asarray(of[0]["image"]).astype(int)


def size(of: datasets.Dataset) -> int:
    return len(of.with_format("arrow")[0]["image"][0].as_py()["bytes"])


first = pixels(photos)
print(f"before: {size(photos):,} bytes")
looked = photos
for times in (1, 2, 3):
    looked = looked.map(lambda row, times=times: {f"width_{times}": row["image"].width})
    off = np.abs(pixels(looked) - first).mean()
    print(f"looked at {times} times: {size(looked):,} bytes, pixels {off:.1f} of 255 off in the mean")
    assert size(looked) < 0.5 * size(photos) and off > 3, "this has changed: looking leaves images as they are"
PY
echo "still so"
