#!/usr/bin/env bash
# pytorch-ignite 0.5.5 with torch 2.14.1 and scipy 1.17.1, 2026-11-30: SSIM(gaussian=False) has a window of five by
# five, whatever the kernel_size.
#
# Guess: SSIM(data_range, kernel_size=11, gaussian=False) takes plain means over 11 × 11 pixels, as the uniform window
# of the literature and of scikit-image (win_size). Seen: the kernel has this size, but is 1/5 in the middle five places
# and 0 elsewhere. A kernel_size of 7, 11 or 21 gives the very number of 5, 0.77 for an image of which 11 × 11 gives
# 0.88. One of 3 gets three places of 1/5 each: the kernel sums to 0.36, so that brightness counts as structure, and
# noise is hidden by it: 0.99 where it is 0.64.
# (metrics/ssim.py, _uniform)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pytorch-ignite==0.5.5 torch==2.14.1 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from ignite.metrics import SSIM
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.metrics import structural_similarity

draw = np.random.default_rng(0)
image = gaussian_filter(draw.random((64, 64)), 2)
image = (image - image.min()) / (image.max() - image.min())
other = np.clip(image + draw.normal(size=image.shape) * 0.05, 0, 1)


def by_hand(one, two, window):
    """SSIM of plain means over the window; the border is mirrored, as in ignite."""
    mean = lambda each: uniform_filter(each, window, mode="mirror")
    one_mean, two_mean = mean(one), mean(two)
    one_var, two_var = mean(one**2) - one_mean**2, mean(two**2) - two_mean**2
    both = mean(one * two) - one_mean * two_mean
    c1, c2 = 0.01**2, 0.03**2
    return (2 * one_mean * two_mean + c1) * (2 * both + c2) / (one_mean**2 + two_mean**2 + c1) / (one_var + two_var + c2)


def ignite(one, two, **settings):
    metric = SSIM(data_range=1.0, **settings)
    metric.update([torch.tensor(each)[None, None] for each in (one, two)])
    return metric.compute()


five = ignite(image, other, kernel_size=5, gaussian=False)
for window in (3, 5, 7, 11, 21):
    found = ignite(image, other, kernel_size=window, gaussian=False)
    table = by_hand(image, other, window)
    _, theirs = structural_similarity(
        image, other, win_size=window, data_range=1.0, use_sample_covariance=False, full=True)
    inside = slice(window, -window)
    assert np.abs(table - theirs)[inside, inside].max() < 1e-6, "the oracle"
    print(f"{window} × {window}: ignite {found:.4f}, by hand {table.mean():.4f}")
    if window == 5:
        assert abs(found - table.mean()) < 1e-4, "the oracle"
    else:
        assert abs(found - table.mean()) > 0.02, "this has changed"
    if window > 5:
        assert abs(found - five) < 1e-4, "this has changed: the window grows with kernel_size"
PY
echo "still so"
