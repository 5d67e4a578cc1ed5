#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0 and torch 2.14.1, 2026-11-30: a merged LayerNorm tuning is saved without its head.
#
# Guess: merge_and_unload gives a plain model, and what its save_pretrained writes loads into the same class with the same
# logits, as it is for LoRA. Seen: after LNTuningConfig with modules_to_save the merged model still holds its wrappers.
# It predicts as before, and writes the trained head under names that nothing reads. from_pretrained gives it a new random
# head, and only a table in the log tells. Merged LayerNorm weights are kept.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
from peft import LNTuningConfig, LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import ViTConfig, ViTForImageClassification

size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32}
pixels = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
labels = torch.arange(16) % 4

for name, config in (
    ("LoRA", LoraConfig(target_modules="all-linear", exclude_modules=["classifier"], modules_to_save=["classifier"])),
    ("LayerNorm", LNTuningConfig(target_modules=["layernorm_before", "layernorm_after"], modules_to_save=["classifier"])),
):
    torch.manual_seed(0)
    tuned = get_peft_model(ViTForImageClassification(ViTConfig(**size, num_labels=4)), config).train()
    optimizer = torch.optim.AdamW([weight for weight in tuned.parameters() if weight.requires_grad], lr=0.02)
    for _ in range(20):
        optimizer.zero_grad()
        tuned(pixel_values=pixels, labels=labels).loss.backward()
        optimizer.step()
    with torch.no_grad():
        before = tuned.eval()(pixel_values=pixels).logits
        merged = tuned.merge_and_unload().eval()
        in_memory = float((merged(pixel_values=pixels).logits - before).abs().max())
        merged.save_pretrained(name)
        loaded = ViTForImageClassification.from_pretrained(name).eval()
        after = float((loaded(pixel_values=pixels).logits - before).abs().max())
    heads = [key for key in load_file(f"{name}/model.safetensors") if "classifier" in key]
    print(f"{name}: logits differ by {in_memory:.1e} once merged, by {after:.1e} once loaded; the head is saved as {heads}")
    assert in_memory < 1e-4, "this has changed: merging in memory"
    assert (after < 1e-4) == (name == "LoRA"), "this has changed: the saved model"
PY
echo "still so"
