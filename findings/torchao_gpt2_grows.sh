#!/usr/bin/env bash
# torchao 0.18.0 with torch 2.14.1 and transformers 5.23.0, 2026-11-30: int8 weights make a GPT-2 larger.
#
# Guess: quantize_ with 8 bits a weight makes a language model smaller, as it does Llama's kind. Seen: GPT-2 keeps its
# layers in transformers' Conv1D, which are passed over without a word. The one Linear is the output layer, which shared
# its weights with the embedding: it gets 8-bit weights of its own beside them, so that the model only grows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchao==0.18.0 torch==2.14.1 transformers==5.23.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import io

import torch
from torchao.quantization import Int8WeightOnlyConfig, quantize_
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

heads = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": 1000}
gpt2 = GPT2Config(n_embd=128, n_layer=2, n_head=2, n_positions=16, **heads)
llama = LlamaConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, **heads)


def saved_bytes(model: torch.nn.Module) -> int:
    held = io.BytesIO()
    torch.save(model.state_dict(), held)
    return held.tell()


ratio = {}
for name, model in (("Llama", LlamaForCausalLM(llama)), ("GPT-2", GPT2LMHeadModel(gpt2))):
    before = saved_bytes(model.eval())
    quantize_(model, Int8WeightOnlyConfig())
    ratio[name] = saved_bytes(model) / before
    print(f"{name}: {before:,} bytes before, {saved_bytes(model):,} after")
assert ratio["Llama"] < 0.5 and ratio["GPT-2"] > 1.02, "this has changed"
PY
echo "still so"
