#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1 and torchvision 0.29.1, 2026-11-30: EoMT's processor counts each class one
# lower.
#
# Guess: EomtImageProcessor(ignore_index=255) leaves out the pixels of 255 and keeps the classes, and do_reduce_labels
# counts them one lower, as Mask2FormerImageProcessor has both, whose parameters it shares. Seen: ignore_index alone
# counts classes one lower and leaves class 0 out, whatever do_reduce_labels says; the pixels of 255 become a class
# 254. do_reduce_labels alone does nothing. A training set prepared so learns other classes than its list of names has.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 pillow==13.0.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from transformers import EomtImageProcessor, Mask2FormerImageProcessor

image = np.zeros((64, 64, 3), np.uint8)
segments = np.zeros((64, 64), np.uint8)
segments[:20], segments[20:40], segments[60:] = 1, 2, 255


def classes(processor, **settings):
    batch = processor(do_resize=False, **settings)(image, segmentation_maps=segments.copy(), return_tensors="pt")
    return batch["class_labels"][0].tolist()


own = classes(EomtImageProcessor, ignore_index=255, do_reduce_labels=False)
other = classes(Mask2FormerImageProcessor, ignore_index=255, do_reduce_labels=False)
alone = classes(EomtImageProcessor, do_reduce_labels=True)
plain = classes(EomtImageProcessor)
print(f"classes 0, 1, 2 and 255 to ignore: EoMT: {own}, Mask2Former: {other}; do_reduce_labels alone: {alone}")
assert other == [0, 1, 2], "this has changed"
assert own == [0, 1, 254], "this has changed: 255 is ignored"
assert alone == plain == [0, 1, 2, 255], "this has changed"
PY
echo "still so"
