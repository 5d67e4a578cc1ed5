#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0 with torch 2.14.1, 2026-11-30: SmoothAPLoss takes the wrong images for one class.
#
# Guess: where all images of a class have one embedding and classes are orthogonal, SmoothAPLoss is 0: all average
# precisions are 1. Equal counts per class are checked. Seen: it takes the number per class for the number of classes. The
# loss is 0 only for sorted batches with as many classes as images of each. For other batches and shuffled ones it is high,
# at times higher than for noise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pytorch-metric-learning==2.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from pytorch_metric_learning.losses import SmoothAPLoss


def at_best_and_noise(classes: int, images: int, shuffled: bool) -> tuple[float, float]:
    labels = torch.arange(classes).repeat_interleave(images)
    if shuffled:
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    best = torch.eye(16)[labels]
    noise = torch.randn(best.shape, generator=torch.Generator().manual_seed(1))
    return float(SmoothAPLoss()(best, labels)), float(SmoothAPLoss()(noise, labels))


for classes, images, shuffled in ((4, 4, False), (4, 4, True), (8, 4, False), (4, 8, False), (2, 8, False)):
    best, noise = at_best_and_noise(classes, images, shuffled)
    order = "shuffled" if shuffled else "sorted"
    print(f"{classes} classes with {images} images each, {order}: loss {best:.3f} at best, {noise:.3f} for noise")
    square = classes == images and not shuffled
    assert (abs(best) < 0.01) == square, "this has changed"
PY
echo "still so"
