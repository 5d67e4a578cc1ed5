#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, 2026-11-30: a noisy small photo has an SSIM of 0.50 where it is 0.63.
#
# Guess: StructuralSimilarityIndexMeasure averages over the places where its window of 11 x 11 fits, as the paper's own
# program, scikit-image and piq do, which agree to four places.
# Seen: images are widened by mirroring, and what stands on the border is averaged with the rest (_ssim_update in
# functional/image/ssim.py; only the contrast for MS-SSIM is cut). Of 32 x 32 pixels, as in CIFAR, more than half the
# places are border. The order of two pictures turns: the noisy one has 0.50 and the blurred one 0.64, where it is
# 0.63 and 0.60. At 224 x 224 it is off by 0.01. Nothing is said of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 torchvision==0.29.1 piq==0.8.0 scikit-image==0.26.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import piq
import torch
from skimage import data, transform
from skimage.metrics import structural_similarity
from torchmetrics.image import StructuralSimilarityIndexMeasure

photo = data.camera() / 255  # ships with scikit-image
found = {}
for size in (32, 64, 224):
    clear = transform.resize(photo, (size, size), anti_aliasing=True)
    blurred = transform.resize(transform.resize(clear, (size // 4, size // 4), anti_aliasing=True), (size, size))
    noisy = np.clip(clear + 0.1 * np.random.default_rng(0).normal(size=clear.shape), 0, 1)
    for name, picture in (("noisy", noisy), ("blurred", blurred)):
        pair = [torch.tensor(each, dtype=torch.float64)[None, None] for each in (picture, clear)]
        hand = structural_similarity(
            clear, picture, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        other = float(piq.ssim(*pair, data_range=1.0, downsample=False))
        own = float(StructuralSimilarityIndexMeasure(data_range=1.0)(*pair))
        print(f"{size} x {size}, {name}: scikit-image {hand:.4f}, piq {other:.4f}, torchmetrics {own:.4f}")
        assert abs(hand - other) < 1e-4
        found[size, name] = own, hand

        # scikit-image's map with its borders is what torchmetrics averages.
        whole = structural_similarity(
            np.pad(clear, 5, "reflect"), np.pad(picture, 5, "reflect"), data_range=1, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
        assert abs(own - whole) < 1e-4, "this has changed"
noisy, blurred = found[32, "noisy"], found[32, "blurred"]
assert noisy[0] < noisy[1] - 0.1 and noisy[0] < blurred[0] and noisy[1] > blurred[1], "this has changed"
PY
echo "still so"
