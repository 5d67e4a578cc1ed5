#!/usr/bin/env bash
# torch 2.14.1 with numpy 2.4.6, 2026-11-30: update_bn counts a last batch of one image as much as one of 64.
#
# Guess: torch.optim.swa_utils.update_bn gives BatchNorm the mean of the training images, whatever the size of the
# batches. Seen: each batch weighs the same. With 129 images in batches of 64 the last image alone is a third of the
# statistics of an averaged model (SWA or EMA); with shuffle=True it is another one each time, and so are predictions.
# Besides, layers that were put to eval() in a model in training, as frozen BatchNorm is, get other statistics and
# come back in training. Nothing is said. drop_last=True ends the first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
# 129 images, each of its own brightness, as photos are; the last one is much brighter.
images = torch.randn(129, 3, 8, 8) + torch.randn(129, 1, 1, 1)
images[-1] += 6
data = TensorDataset(images)
true = images.mean((0, 2, 3))


def mean_after(loader):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 2))
    average = AveragedModel(model)
    update_bn(loader, average)
    return average.module[0].running_mean


for size, last in ((43, 43), (64, 1), (100, 29)):
    seen = mean_after(DataLoader(data, batch_size=size))
    by_batch = torch.stack([batch.mean((0, 2, 3)) for (batch,) in DataLoader(data, batch_size=size)]).mean(0)
    print(f"batches of {size}, the last of {last}: mean of the first channel {float(seen[0]):.3f},"
          f" true {float(true[0]):.3f}")
    assert torch.allclose(seen, by_batch, atol=1e-4), "this has changed: batches don't weigh the same"
    if size == last:
        assert torch.allclose(seen, true, atol=1e-4)
    else:
        assert float((seen - true).abs().min()) > 0.1, "this has changed"
assert float(mean_after(DataLoader(data, batch_size=64))[0] - true[0]) > 1.5, "a third of the brightest"

# The same images in another order each time.
orders = []
for seed in range(20):
    shuffled = DataLoader(data, 64, shuffle=True, generator=torch.Generator().manual_seed(seed))
    orders.append(float(mean_after(shuffled)[0]))
print(f"shuffled: from {min(orders):.3f} to {max(orders):.3f}")
assert max(orders) - min(orders) > 1, "this has changed"

# A frozen layer in a model in training.
model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)).train()
model[0].eval().requires_grad_(False)
before = model[0].running_mean.clone()
update_bn(DataLoader(data, batch_size=43), model)
print(f"frozen layer: mean from {before.tolist()} to {[round(v, 2) for v in model[0].running_mean.tolist()]},"
      f" training: {model[0].training}")
assert model[0].training and not torch.equal(model[0].running_mean, before), "this has changed"
PY
echo "still so"
