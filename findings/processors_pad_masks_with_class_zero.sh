#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1 and torchvision 0.29.1, 2026-11-30: padding around a mask is labelled as class
# 0.
#
# Guess: where a processor pads an image, its segmentation map is padded with 255, the number that the losses of these
# models ignore (semantic_loss_ignore_index), as do_reduce_labels fills the background with it. Seen: MobileViT's,
# DPT's and BEiT's pad it with 0. MobileViT's default resizes to 224 and crops to 256, so that 23 % of the labels of
# each image are class 0 where nothing is to be seen. With do_reduce_labels=True, as with ADE20K, the padding is the
# first real class (wall), not the ignored one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 pillow==13.0.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import transformers

image, segments = np.full((256, 256, 3), 200, np.uint8), np.full((256, 256), 5, np.uint8)
settings = {
    "MobileViT": {},
    "DPT": {"do_resize": False, "do_pad": True, "size_divisor": 100},
    "Beit": {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 300, "width": 300}},
}
for name, given in settings.items():
    for reduce in (False, True):
        processor = getattr(transformers, f"{name}ImageProcessor")(**given, do_reduce_labels=reduce)
        labels = processor(image, segmentation_maps=segments.copy(), return_tensors="pt")["labels"]
        found = {int(n): round(float((labels == n).float().mean()), 3) for n in labels.unique()}
        print(f"{name}, do_reduce_labels={reduce}: shares of the classes: {found}")
        assert set(found) == {0, 5 - reduce}, "this has changed"
        assert found[0] > 0.2, "this has changed"

configs = [transformers.MobileViTConfig, transformers.DPTConfig, transformers.BeitConfig]
ignored = [config().semantic_loss_ignore_index for config in configs]
print("number that their losses ignore:", ignored)
assert ignored == [255, 255, 255], "this has changed"
PY
echo "still so"
