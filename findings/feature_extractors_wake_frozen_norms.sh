#!/usr/bin/env bash
# torchvision 0.29.1 with torch 2.14.1, 2026-11-30: making a feature extractor sets frozen BatchNorm layers to train.
#
# Guess: create_feature_extractor, get_graph_node_names and torch.onnx.export (TorchScript) leave the mode of each layer of
# the given network as it was. Seen: they note the outermost mode only, and set all layers to it at the end. Layers put
# to eval() within a network in training come back in training, in the given network too. The next batch moves their
# statistics. The exporter that is not TorchScript leaves the modes as they are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchvision==0.29.1 torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

pixels = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
ways = {
    "create_feature_extractor": lambda network: create_feature_extractor(network, ["layer4"]),
    "get_graph_node_names": get_graph_node_names,
    "torch.onnx.export, TorchScript": lambda network: torch.onnx.export(network, (pixels,), "old.onnx", dynamo=False),
    "torch.onnx.export": lambda network: torch.onnx.export(network, (pixels,), "new.onnx", dynamo=True),
}
for name, way in ways.items():
    torch.manual_seed(0)
    network = resnet18().train()
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.eval().requires_grad_(False)
    way(network)
    before = network.bn1.running_mean.clone()
    network(pixels)
    moved = float((network.bn1.running_mean - before).abs().max())
    training = sum(layer.training for layer in norms)
    print(f"{name}: {training} of {len(norms)} frozen norms train; the first one's mean moves by {moved:.3f}")
    assert (training, moved > 0) == ((0, False) if name == "torch.onnx.export" else (len(norms), True)), "this has changed"
PY
echo "still so"
