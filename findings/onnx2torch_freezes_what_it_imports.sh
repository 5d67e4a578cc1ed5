#!/usr/bin/env bash
# onnx2torch 1.5.15 with torch 2.14.1 and onnx 1.23.2, 2026-11-30: of an imported transformer the head alone learns.
#
# Guess: a network that onnx2torch made of an ONNX file has its weights as parameters, so that it can be trained on; it
# is a torch.nn.Module and predicts the same. Seen: convolutions and layers on rows of a table become Conv2d and Linear
# with parameters. Layers on sequences are stored as MatMul and Add in ONNX, and their weights become buffers, as do
# those of LayerNorm and embeddings. No optimizer sees them. Of a small transformer 51 of 3075 numbers learn, in
# train() and after requires_grad_(True), too. Nothing is said: the loss falls, to 0.77 where the network itself comes
# to 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  onnx2torch==1.5.15 onnx==1.23.2 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import copy
import io

import onnx
import onnx2torch
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(16), nn.LayerNorm(16)
        self.mixed, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.wide, self.narrow = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.mixed(self.first(tokens)).chunk(3, -1)
        tokens = tokens + self.out((query @ key.transpose(1, 2) / 4).softmax(-1) @ value)
        return tokens + self.narrow(self.wide(self.second(tokens)).relu())


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.block, self.head = nn.Embedding(50, 16), Block(), nn.Linear(16, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.words(words)).mean(1))


def imported(model: nn.Module, inputs: torch.Tensor) -> nn.Module:
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(model.eval(), (inputs,), "model.onnx", opset_version=13, dynamo=False)
    return onnx2torch.convert(onnx.load("model.onnx"))


def loss_after(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    optimizer = torch.optim.AdamW(model.train().requires_grad_(True).parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
    return float(loss)


torch.manual_seed(0)
images = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
labels = torch.randint(3, (48,))
for name, model, inputs in (("images", images, torch.randn(48, 3, 8, 8)), ("text", Text(), torch.randint(50, (48, 6)))):
    own = copy.deepcopy(model)
    other = imported(model, inputs)
    gap = float((other(inputs) - model(inputs)).abs().max())
    learns = [sum(part.numel() for part in one.parameters()) for one in (model, other)]
    before = {key: value.clone() for key, value in other.state_dict().items()}
    losses = loss_after(own, inputs, labels), loss_after(other, inputs, labels)
    still = sum(value.numel() for key, value in other.state_dict().items() if torch.equal(value, before[key]))
    print(f"{name}: outputs {gap:.0e} apart; {learns[1]} of {learns[0]} numbers are parameters, {still} stay;", end=" ")
    print(f"loss after 100 steps {losses[1]:.3f}, of the network itself {losses[0]:.3f}")
    assert gap < 1e-5, "this has changed: the outputs"
    if name == "images":
        assert learns[0] == learns[1] and still == 0 and abs(losses[0] - losses[1]) < 1e-3, "this has changed: images"
    else:
        assert learns[1] == 16 * 3 + 3 and losses[1] > losses[0] + 0.1, "this has changed: more is learnt"
PY
echo "still so"
