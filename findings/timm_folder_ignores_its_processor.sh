#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, torchvision 0.29.1, timm 1.0.31, 2026-11-28: a processor saved beside a timm
# network is not read back.
#
# Guess: AutoImageProcessor gives the image processor that preprocessor_config.json of a folder names, whatever network
# lies beside it. Seen: where config.json is of a TimmWrapper it gives a TimmWrapperImageProcessor made of config.json,
# and the file is passed over, without a word: images come at 224 × 224, cropped, in place of 64 × 96. A model trained
# with its own processor scored 0.48 in place of 0.53 of mean IoU when it was loaded so.
# SegformerImageProcessor.from_pretrained(FOLDER) reads the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from PIL import Image
from transformers import AutoImageProcessor, SegformerImageProcessor, TimmWrapperConfig, TimmWrapperModel

config = TimmWrapperConfig(architecture="test_efficientnet", pretrained_cfg={"input_size": [3, 224, 224]})
TimmWrapperModel(config).save_pretrained("saved")
SegformerImageProcessor(size={"height": 64, "width": 96}).save_pretrained("saved")
picture = Image.new("RGB", (200, 100))
found = {}
for kind in (AutoImageProcessor, SegformerImageProcessor):
    processor = kind.from_pretrained("saved")
    found[kind.__name__] = tuple(processor(images=[picture], return_tensors="pt")["pixel_values"].shape[2:])
    print(kind.__name__, type(processor).__name__, found[kind.__name__])
assert found["SegformerImageProcessor"] == (64, 96)
assert found["AutoImageProcessor"] == (224, 224), "this has changed: the file is read"
PY
echo "still so"
