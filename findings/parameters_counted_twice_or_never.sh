#!/usr/bin/env bash
# torchinfo 1.8.0 and thop 0.1.1 with torch 2.14.1, beside ptflops 0.7.5, 2026-11-30: parameters counted twice or
# never.
#
# Guess: torchinfo's summary and thop's profile tell as many parameters as model.parameters() has. Seen: torchinfo
# counts a weight that two layers share twice: a GPT-2, whose head is tied to its embeddings, has 163 million where
# 124 are. thop counts the layers that it knows: nn.MultiheadAttention, class token and positions aren't among them,
# so that torchvision's ViT-B/16 has 58.1 million where 86.6 are; nor are GPT-2's Conv1D and embeddings, so that it
# has 38.6 million. ptflops has both right. Nothing is said; such numbers stand in tables of papers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchinfo==1.8.0 thop==0.1.1.post2209072238 ptflops==0.7.5 transformers==5.23.0 \
  torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import torchinfo
import torchvision
from ptflops import get_model_complexity_info
from thop import profile
from transformers import GPT2Config, GPT2LMHeadModel

ids = torch.zeros(1, 8, dtype=torch.long)
picture = torch.zeros(1, 3, 224, 224)
models = {
    "ResNet-18": (torchvision.models.resnet18(), picture),
    "ViT-B/16": (torchvision.models.vit_b_16(), picture),
    "GPT-2": (GPT2LMHeadModel(GPT2Config()), ids),
}
found = {}
for name, (model, example) in models.items():
    model.eval()
    true = sum(weight.numel() for weight in model.parameters())
    layers = torchinfo.summary(model, input_data=example, verbose=0).total_params
    other = get_model_complexity_info(
        model, (1,), input_constructor=lambda _: example, as_strings=False, print_per_layer_stat=False, verbose=False
    )[1]
    known = int(profile(model, (example,), verbose=False)[1])
    found[name] = true, layers, other, known
    print(f"{name}: parameters() {true:,}, torchinfo {layers:,}, ptflops {other:,}, thop {known:,}")
    assert other == true

assert found["ResNet-18"][0] == found["ResNet-18"][1] == found["ResNet-18"][3], "all agree"
true, layers, _, known = found["ViT-B/16"]
assert true == 86_567_656 and layers == true
vit = models["ViT-B/16"][0]
left_out = vit.class_token.numel() + vit.encoder.pos_embedding.numel()
left_out += sum(
    weight.numel() for name, weight in vit.named_parameters() if "self_attention.in_proj" in name or "out_proj" in name
)
print(f"ViT-B/16: attention, class token and positions have {left_out:,}")
assert true - known == left_out, "this has changed"
true, layers, _, known = found["GPT-2"]
assert true == 124_439_808
assert layers == true + 50257 * 768, "this has changed: torchinfo"
assert known < true / 3, "this has changed: thop"
PY
echo "still so"
