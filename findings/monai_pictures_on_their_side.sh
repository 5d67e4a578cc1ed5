#!/usr/bin/env bash
# monai 1.6.1 with torch 2.14.1 and pillow 13.0.0, 2026-11-30: pictures are read lying on their side.
#
# Guess: LoadImage gives a PNG as (channels, height, width), as torchvision, kornia, albumentations and OpenCV do. Seen: the
# axes are (channels, width, height): a photo of 4 rows and 6 columns comes as 6 x 4, turned over its diagonal. A network
# with weights from elsewhere sees all photos on their side, and masks that are read by another library don't fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  monai==1.6.1 torch==2.14.1 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import numpy as np
from monai.transforms import LoadImage
from PIL import Image

photo = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
Image.fromarray(photo).save("photo.png")
Image.fromarray(photo[..., 0]).save("mask.png")
for name, right in (("photo.png", photo.transpose(2, 0, 1)), ("mask.png", photo[None, ..., 0])):
    read = LoadImage(image_only=True, ensure_channel_first=True)(name).numpy()
    print(f"{name}: {right.shape} in the file, {read.shape} as read")
    assert np.array_equal(read, right.transpose(0, 2, 1)), "this has changed"
PY
echo "still so"
