#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, torchvision 0.29.1, Pillow 13.0.0, 2026-11-28: one 12-bit greyscale file, three outcomes.
#
# Guess: an image processor gives the same pixels of a 16-bit file whichever backend it has and however the file was
# opened. Seen, for ViTImageProcessor without normalisation (values should lie in 0 to 1):
#   load_image (as pipelines open files)   1.0 everywhere: Pillow clips to white, both backends
#   the Pillow image itself, torchvision   1.2 to 16.0 in one channel: divided by 255 whatever the depth
#   the Pillow image itself, Pillow        ValueError (values outside 0 to 255)
# And torchvision's ToTensor gives int16 of it, unscaled, negative from 32,768 on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from PIL import Image
from torchvision.transforms import ToTensor
from transformers import ViTImageProcessor, ViTImageProcessorPil
from transformers.image_utils import load_image

values = np.random.default_rng(0).integers(310, 4086, (64, 64)).astype(np.uint16)
Image.fromarray(values).save("scan.png")
for make in (ViTImageProcessor, ViTImageProcessorPil):
    processor = make(size={"height": 64, "width": 64}, do_normalize=False)
    white = processor(images=load_image("scan.png"), return_tensors="pt")["pixel_values"]
    print(make.__name__, "load_image", tuple(white.shape), float(white.min()), float(white.max()))
    assert float(white.min()) == 1.0, "this has changed: no longer clipped to white"
    try:
        pixels = processor(images=Image.open("scan.png"), return_tensors="pt")["pixel_values"]
    except ValueError as error:
        print(make.__name__, "Pillow image", "ValueError:", str(error)[:80])
        assert make is ViTImageProcessorPil, "this has changed"
        continue
    print(make.__name__, "Pillow image", tuple(pixels.shape), float(pixels.min()), float(pixels.max()))
    assert make is ViTImageProcessor, "this has changed"
    assert pixels.shape[1] == 1
    assert float(pixels.max()) > 15, "this has changed: scaled by its depth now"
Image.fromarray(np.full((2, 2), 40_000, dtype=np.uint16)).save("bright.png")
tensor = ToTensor()(Image.open("bright.png"))
print("ToTensor", tensor.dtype, int(tensor.max()))
assert int(tensor.max()) == 40_000 - 65_536, "this has changed"
PY
echo "still so"
