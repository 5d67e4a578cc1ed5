#!/usr/bin/env bash
# grad-cam 1.5.7 with torch 2.14.1, 2026-11-30: looking at a map in a training loop changes the training.
#
# Guess: making a Grad-CAM map leaves the model as it was. Seen: the model stays in eval mode, so that dropout and
# BatchNorm's statistics are off for the rest of the epoch, and the gradients summed so far are replaced by those of the
# map's score, which the next step of the optimizer takes for its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  grad-cam==1.5.7 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
)
images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
nn.functional.cross_entropy(model(images), labels).backward()
before = model[-1].weight.grad.clone()
with GradCAM(model, [model[2]]) as cam:
    cam(images[:1], [ClassifierOutputTarget(1)])
after = model[-1].weight.grad
print(f"training mode: {model.training}; gradients of the last layer kept: {torch.equal(before, after)}")
assert not model.training and not torch.equal(before, after), "this has changed"
assert float(after[0].abs().max()) == 0 and float(after[1].abs().max()) > 0, "this has changed: not the map's gradient"
PY
echo "still so"
