#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1 and torchvision 0.29.1, 2026-11-30: the IoU of perfect boxes is 1 / n.
#
# Guess: IntersectionOverUnion of predicted boxes that equal the true ones is 1, whatever is in the image, as the
# function intersection_over_union of the same package has it. Seen: it is the mean over all pairs of a predicted and a
# true box of one label, those far apart as well. Perfect boxes of n objects of a class have an IoU of 1 / n, so that
# images with many objects seem badly predicted; a detector that finds one of three objects has 0.33, as has one that
# finds all three. GIoU falls below 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torchmetrics.detection import GeneralizedIntersectionOverUnion, IntersectionOverUnion
from torchmetrics.functional.detection import intersection_over_union

boxes = torch.tensor([[0.0, 0, 10, 10], [50, 0, 60, 10], [0, 50, 10, 60]])
labels, other_labels = torch.tensor([1, 1, 1]), torch.tensor([1, 2, 3])


def iou(metric, found, classes):
    true = [{"boxes": boxes, "labels": classes}]
    return metric([{"boxes": boxes[:found], "labels": classes[:found], "scores": torch.ones(found)}], true)


found = {
    "by the function": float(intersection_over_union(boxes, boxes)),
    "of three classes": float(iou(IntersectionOverUnion(), 3, other_labels)["iou"]),
    "of one class": float(iou(IntersectionOverUnion(), 3, labels)["iou"]),
    "of one class, one found": float(iou(IntersectionOverUnion(), 1, labels)["iou"]),
    "GIoU of one class": float(iou(GeneralizedIntersectionOverUnion(), 3, labels)["giou"]),
}
print("IoU of perfect boxes", ", ".join(f"{name}: {value:.4f}" for name, value in found.items()))
assert found["by the function"] == 1 and found["of three classes"] == 1, "this has changed"
assert abs(found["of one class"] - 1 / 3) < 1e-6, "this has changed"
assert abs(found["of one class, one found"] - 1 / 3) < 1e-6, "this has changed"
assert found["GIoU of one class"] < 0, "this has changed"
PY
echo "still so"
