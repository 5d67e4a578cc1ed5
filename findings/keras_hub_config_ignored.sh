#!/usr/bin/env bash
# keras_hub 0.32.0 with keras 3.15.1 and transformers 5.23.0, 2026-11-28: a converted ViT or Swin computes something else.
#
# Guess: from_preset of a folder that transformers wrote builds the network that its config.json describes, or refuses.
# Seen: hidden_act and layer_norm_eps are not read. Networks with other values than the usual ones load without a
# word, and their logits are off by 0.2 and 0.7. (The usual ones agree to 1e-5: ViT's epsilon is 1e-12 there, 1e-6 here.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  keras==3.15.1 transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 pillow sentencepiece kagglehub==1.0.3
# Without what keras_hub depends on for texts: TensorFlow, among others.
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps keras-hub==0.32.0
cd "$folder"
HF_HUB_OFFLINE=1 KERAS_HOME="$folder" KERAS_BACKEND=torch "$folder/venv/bin/python" -W ignore - <<'PY'
import keras_hub
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
found = {}
for name, other in {"usual": {}, "relu": {"hidden_act": "relu"}, "epsilon": {"layer_norm_eps": 0.1}}.items():
    torch.manual_seed(0)
    config = ViTConfig(**size, image_size=32, patch_size=8, initializer_range=0.2, num_labels=3, **other)
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(name)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(name)
    converted = keras_hub.models.ImageClassifier.from_preset(name)
    with torch.no_grad():
        there = converted(pixels.permute(0, 2, 3, 1), training=False)
        found[name] = float((there - model(pixels).logits).abs().max())
print("largest difference of a logit:", found)
assert found["usual"] < 1e-3
assert found["relu"] > 0.05, "this has changed: hidden_act is read"
assert found["epsilon"] > 0.05, "this has changed: layer_norm_eps is read"
PY
echo "still so"
