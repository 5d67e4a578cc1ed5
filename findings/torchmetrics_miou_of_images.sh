#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, 2026-11-30: MeanIoU is a mean over images, not that of all pixels.
#
# Guess: MeanIoU after all batches is the mean over classes of intersection / union of all pixels together, as mIoU is in
# Pascal VOC, Cityscapes and the confusion matrix of scikit-learn. Seen: each image has its own IoU of each class, and
# classes weigh by the images they occur in. One image where a few pixels are wrongly taken for a class that it lacks
# counts as a whole 0: here 0.75 for what is 0.98 by pixels, where 1 pixel in 64 is wrong in half of the images.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from sklearn.metrics import jaccard_score
from torchmetrics.segmentation import MeanIoU

truth = torch.zeros(8, 8, 8, dtype=torch.long)
truth[4:, :, 4:] = 1  # the second class fills half of each of the last four images, and the first four lack it
predicted = truth.clone()
predicted[:4, 0, 0] = 1  # one pixel of these is wrong
metric = MeanIoU(num_classes=2, input_format="index")
for image in range(8):
    metric.update(predicted[image : image + 1], truth[image : image + 1])
theirs = float(metric.compute())
by_pixels = float(jaccard_score(truth.flatten(), predicted.flatten(), average="macro"))
print(f"MeanIoU {theirs:.3f}; of all pixels together {by_pixels:.3f}")
assert by_pixels > 0.95 and theirs < 0.8, "this has changed"
PY
echo "still so"
