#!/usr/bin/env bash
# piq 0.8.0 with torch 2.14.1, 2026-12-01: SR-SIM of an image is 0.99 by itself and 0.73 in a batch with a plain grey
# one; 0.70 becomes 0.82 beside one with a bright spot.
#
# Guess: srsim(..., reduction="none") gives for each pair of images what it gives for this pair alone, as piq's ssim,
# gmsd, fsim, vsi and haarpsi do. Seen: the saliency maps of all images of a batch are scaled by the least and the
# greatest value of the BATCH, not of each image; the constants of the formula are meant for maps from 0 to 1. The
# number depends on what else is in the batch, on its size and its order: the mean over a test set changes with
# batch_size and shuffling by more than models differ, and as a loss (SRSIMLoss) an image is trained on by the company
# it keeps.
# (srsim.py, _spectral_residual_visual_saliency: torch.max(saliency_map[:]))
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps piq==0.8.0
cd "$folder"
HOME="$folder" OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import piq
import torch
from torch.nn.functional import interpolate

SIZE = 96


def texture(strength, grain, seed):
    coarse = torch.rand(1, 1, grain, grain, generator=torch.Generator().manual_seed(seed))
    return 0.5 + strength * (interpolate(coarse, size=(SIZE, SIZE), mode="bilinear") - 0.5)


def noisy(image, spread):
    return (image + spread * torch.randn(image.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)


def first(measure, pairs):
    """The measure of the first of the pairs of images, in a batch with the others."""
    one, other = (torch.cat(each) for each in zip(*pairs))
    if measure in (piq.vsi, piq.fsim):
        one, other = one.repeat(1, 3, 1, 1), other.repeat(1, 3, 1, 1)
    return round(float(measure(one, other, data_range=1.0, reduction="none")[0]), 3)


grey = torch.full((1, 1, SIZE, SIZE), 0.5)
spot = grey.clone()
spot[:, :, 40:44, 40:44] = 1
company = {"alone": [], "with itself": None, "with a grey one": [(grey, grey)], "with a spot": [(spot, spot)]}
found = {}
for name, pair in {
    "little noise": (noisy(texture(1, 12, 1), 0.01), texture(1, 12, 1)),
    "more noise": (noisy(texture(0.5, 12, 1), 0.1), texture(0.5, 12, 1)),
}.items():
    for measure in (piq.srsim, piq.ssim, piq.gmsd, piq.fsim, piq.vsi, piq.haarpsi):
        seen = {each: first(measure, [pair] + ([pair] if more is None else more)) for each, more in company.items()}
        found[name, measure.__name__] = seen
        if measure in (piq.srsim, piq.ssim, piq.gmsd):
            print(f"{name}, {measure.__name__}: {seen}")
        if measure is not piq.srsim:
            assert max(seen.values()) - min(seen.values()) < 2e-3, "the oracle"
little, more = found["little noise", "srsim"], found["more noise", "srsim"]
assert abs(little["alone"] - little["with itself"]) < 2e-3, "the oracle: a batch as such changes nothing"
assert little["alone"] > 0.98 and little["with a grey one"] < 0.8, "this has changed"
assert more["alone"] < 0.75 and more["with a spot"] > more["alone"] + 0.08, "this has changed"
PY
echo "still so"
