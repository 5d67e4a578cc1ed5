#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1, 2026-11-28: under autocast each LoRA layer casts its bfloat16 input to float32, and back.
#
# Guess: in a block of autocast in bfloat16, what one layer gives in bfloat16 reaches LoRA's matrices in the next one as
# it is. Seen: peft's layer first casts its input to the type of the matrices (float32), and autocast casts that to
# bfloat16 again before it multiplies: two more passes over every activation, and a float32 copy of it (the dropped
# input) kept for the gradient. `peft.helpers.disable_input_dtype_casting` switches it off; the outputs are the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
from contextlib import nullcontext

import torch
from peft import LoraConfig, get_peft_model
from peft.helpers import disable_input_dtype_casting

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
model = get_peft_model(network, LoraConfig(target_modules=["1"], init_lora_weights=False)).eval()
layer = network[1]
seen, outputs, values = {}, {}, torch.randn(4, 8)
for name, context in (("as it is", nullcontext()), ("switched off", disable_input_dtype_casting(model))):
    types = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: types.append(given[0].dtype)),
        layer.lora_A["default"].register_forward_pre_hook(lambda _, given: types.append(given[0].dtype)),
    ]
    with context, torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        outputs[name] = model(values)
    for hook in hooks:
        hook.remove()
    seen[name] = types
    print(name, "the layer is given", types[0], "its first matrix", types[1])
assert seen["as it is"] == [torch.bfloat16, torch.float32], "this has changed"
assert seen["switched off"] == [torch.bfloat16, torch.bfloat16], "this has changed"
assert torch.equal(*outputs.values()), "this has changed: the outputs differ"
PY
echo "still so"
