#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1, 2026-11-30: add_weighted_adapter gives rsLoRA adapters another strength.
#
# Guess: a copy of one adapter with the weight 1.0 adds what that adapter adds, for rsLoRA as for plain LoRA, and by "svd",
# "cat" and "linear" alike. Seen: the scaling of rsLoRA goes into the new factors once, and the new adapter is given one of
# its own, the root of its rank. So with rank 4 the copy adds twice as much, and nothing tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import copy

import torch
from peft import LoraConfig, get_peft_model

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(16, 32))
inputs = torch.randn(50, 16)
with torch.no_grad():
    before = network(inputs)
    for stabilized in (False, True):
        config = LoraConfig(target_modules=["0"], r=4, lora_alpha=16, use_rslora=stabilized, init_lora_weights=False)
        model = get_peft_model(copy.deepcopy(network), config, adapter_name="own").eval()
        added = model(inputs) - before
        for kind in ("linear", "cat", "svd"):
            model.add_weighted_adapter(["own"], [1.0], kind, combination_type=kind)
            model.set_adapter(kind)
            times = float((model(inputs) - before).norm() / added.norm())
            print(f"rsLoRA {stabilized}, {kind}: the copy adds {times:.3f} times as much")
            assert abs(times - (2 if stabilized else 1)) < 0.01, "this has changed"
PY
echo "still so"
