#!/usr/bin/env bash
# huggingface_hub 2.4.0 with torch 2.14.1 and NumPy 2.4.6, 2026-11-29: what a model was made with comes back as the default.
#
# Guess: PyTorchModelHubMixin writes the arguments that a model was made with to config.json, and from_pretrained makes
# the same model. Seen: what JSON does not know, a NumPy number (but for float64) or a class such as nn.Tanh, is not
# written, or as the default; no word is said. A head calibrated by np.float32(2.5) divides by 1 when it is read again,
# and activation=nn.Tanh is nn.ReLU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  huggingface_hub==2.4.0 safetensors==0.8.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> said.txt <<'PY'
import json
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn


class Head(nn.Module, PyTorchModelHubMixin):
    def __init__(self, width: int = 4, temperature: float = 1.0, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.temperature, self.activation, self.linear = temperature, activation(), nn.Linear(width, 2)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.activation(features)) / self.temperature


torch.manual_seed(0)
features = torch.randn(3, 4)
for name, value in (("temperature", 2.5), ("temperature", np.float32(2.5)), ("activation", nn.Tanh)):
    saved = Head(**{name: value}).eval()
    saved.save_pretrained("head")
    read = Head.from_pretrained("head").eval()
    with torch.no_grad():
        off = float((saved(features) - read(features)).abs().max())
    written = json.loads(Path("head/config.json").read_text()).get(name)
    print(f"{name}={value!r}: written as {written}, logits {off:.2f} apart")
    if isinstance(value, float) and not isinstance(value, np.floating):
        assert off == 0
    else:
        assert off > 0.1, "this has changed: the model is made as it was"
PY
if grep -i -E "warn|temperature|activation" said.txt; then echo "this has changed: something is said of it"; exit 1; fi
echo "still so"
