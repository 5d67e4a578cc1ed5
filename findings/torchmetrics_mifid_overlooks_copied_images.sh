#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, 2026-11-30: MIFID has 2.6 for mere copies of training images, not 5 million.
#
# Guess: MemorizationInformedFrechetInceptionDistance divides FID by how far each GENERATED image is from the nearest
# training image, on average (Bai et al. 2021 sum over the generated ones), so that copies, which have no distance,
# make it huge; a distance from 0.1 on (cosine_distance_eps) counts 1. Seen: it takes for each TRAINING image the
# nearest generated one (_mifid_compute in image/mifid.py gets the real features first). A generator that copies a
# tenth of the training images, time and again, is far from the other nine tenths and passes for one that copies
# nothing: MIFID is FID. Who copies seven eighths has a tiny penalty. That is what MIFID is for; nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import scipy.linalg
import torch
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance


class Features(torch.nn.Module):
    num_features = 16

    def forward(self, images):
        return images.flatten(1)


def by_hand(real, generated):
    """FID, and the mean distance of generated images to the nearest real one."""
    real, generated = (images.flatten(1).double().numpy() for images in (real, generated))
    one, two = np.cov(real.T), np.cov(generated.T)
    fid = ((real.mean(0) - generated.mean(0)) ** 2).sum() + np.trace(one + two - 2 * scipy.linalg.sqrtm(one @ two).real)
    real, generated = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (real, generated))
    return fid, (1 - np.abs(generated @ real.T)).min(1).mean()


draw = torch.Generator().manual_seed(0)
real = torch.randn(400, 1, 4, 4, generator=draw)
generators = {
    "new images": torch.randn(400, 1, 4, 4, generator=draw),
    "copies of 40": real[:40].repeat(10, 1, 1, 1) + 0.001 * torch.randn(400, 1, 4, 4, generator=draw),
    "copies of 350": real[torch.arange(400) % 350] + 0.001 * torch.randn(400, 1, 4, 4, generator=draw),
}
for name, generated in generators.items():
    metric = MemorizationInformedFrechetInceptionDistance(feature=Features())
    metric.update(real, real=True)
    metric.update(generated, real=False)
    own = float(metric.compute())
    fid, distance = by_hand(real, generated)
    wanted = fid / (distance if distance < 0.1 else 1)
    print(f"{name}: FID {fid:.4f}, distance to the nearest {distance:.7f}: MIFID {wanted:.4f}; torchmetrics {own:.4f}")
    if name == "copies of 40":
        assert wanted > 1e5 and abs(own - fid) < 0.01 * fid, "this has changed"
    elif name == "new images":
        assert abs(own - wanted) < 0.01 * wanted, "this has changed: new images"
    else:
        assert own < wanted / 1000, "this has changed: most copied"
PY
echo "still so"
