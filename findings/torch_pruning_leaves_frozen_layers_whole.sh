#!/usr/bin/env bash
# torch-pruning 1.6.1 with torch 2.14.1 and torchvision 0.29.1, 2026-11-30: frozen layers are not pruned.
#
# Guess: a MagnitudePruner with a ratio of 0.5 halves the channels of all layers that are not ignored, as it removes weights
# and needs no gradients. Seen: layers before the first weight that asks for gradients stay whole. With a frozen body and
# a new head nothing at all is pruned, and no word is said. Besides, the network that was in training is left in eval mode.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torch-pruning==1.6.1 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W error - <<'PY'
import torch
import torch_pruning
from torchvision.models import resnet18

kept = {"nothing": 0.25, "conv1, bn1, layer1": 0.26, "all but the head": 1.0}
for frozen in kept:
    torch.manual_seed(0)
    network = resnet18(num_classes=3).train()
    for name, weight in network.named_parameters():
        part = name.split(".")[0]
        weight.requires_grad_(not (part in frozen or frozen == "all but the head" and part != "fc"))
    before = sum(weight.numel() for weight in network.parameters())
    importance = torch_pruning.importance.MagnitudeImportance(p=2)
    pruner = torch_pruning.pruner.MagnitudePruner(
        network, torch.rand(2, 3, 64, 64), importance=importance, pruning_ratio=0.5, ignored_layers=[network.fc]
    )
    pruner.step()
    after = sum(weight.numel() for weight in network.parameters())
    widths = [layer.out_channels for layer in (network.conv1, network.layer1[0].conv1, network.layer4[1].conv2)]
    print(f"frozen {frozen}: {after / before:.2f} of the weights are left, widths {widths}, training {network.training}")
    assert abs(after / before - kept[frozen]) < 0.02, "this has changed"
    assert widths[0] == (32 if frozen == "nothing" else 64), "this has changed: the first layer"
    assert not network.training, "this has changed: the mode"
PY
echo "still so"
