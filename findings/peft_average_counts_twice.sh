#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1, 2026-11-29: the linear mean of LoRA adapters is not the mean of what they add.
#
# Guess: add_weighted_adapter(["a", "b"], [0.5, 0.5], "mean", combination_type="linear") adds half of what each adds, as a
# mean of two trainings should. Seen: the factors A and B are averaged each by itself, with roots of the weights, and then
# multiplied: A of one meets B of the other. The mean of an adapter and its copy is twice that adapter, and that of two
# adapters is further from their mean than nothing would be. "svd", the default, keeps the nearest matrix of the same rank; "cat"
# is exact and needs the ranks of both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

torch.manual_seed(0)
config = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False)
model = get_peft_model(nn.Sequential(nn.Linear(16, 16)), config, adapter_name="a")
for name in ("b", "copy"):
    model.add_adapter(name, config)
layer = model.base_model.model[0]
for factors in (layer.lora_A, layer.lora_B):
    factors["copy"].load_state_dict(factors["a"].state_dict())
added = layer.get_delta_weight


def mean(first: str, second: str, kind: str) -> torch.Tensor:
    name = f"{first}_{second}_{kind}"
    model.add_weighted_adapter([first, second], [0.5, 0.5], name, combination_type=kind)
    return added(name)


twice = float((mean("a", "copy", "linear") / added("a")).median())
print(f"linear mean of an adapter and its copy: {twice:.3f} times the adapter")
assert abs(twice - 2) < 1e-4, "this has changed: the mean of equals is the same"
wanted = (added("a") + added("b")) / 2
off = {kind: float((mean("a", "b", kind) - wanted).norm() / wanted.norm()) for kind in ("linear", "svd", "cat")}
print("off the mean of two: " + ", ".join(f"{kind} {value:.2f}" for kind, value in off.items()))
assert off["linear"] > 0.9 and off["cat"] < 1e-5, "this has changed: linear is the mean of what is added"
PY
echo "still so"
