#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0 and torch 2.14.1, 2026-11-29: LoRA on all linear layers leaves a new image classifier's
# own weights and bias as they were drawn.
#
# Guess: target_modules="all-linear" adapts the backbone, and a head that begins at random learns whole, as it does for
# texts with task_type="SEQ_CLS".
# Seen: for images there is no task type. The head is one more layer with matrices of low rank beside it: its random weight
# and its bias are frozen, and with rank 2 and ten classes it can only learn a change of rank 2. Nothing warns. With
# modules_to_save=["classifier"] it learns whole, and with task_type="SEQ_CLS" a text model's does by itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

torch.manual_seed(0)
small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "num_labels": 10}


def learning_in_head(model, **settings):
    """The parameters of the head that learn."""
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", **settings))
    named = adapted.named_parameters()
    return sorted(name.partition("classifier.")[2] for name, own in named if "classifier" in name and own.requires_grad)


image = learning_in_head(ViTForImageClassification(ViTConfig(image_size=32, patch_size=16, **small)))
text = learning_in_head(BertForSequenceClassification(BertConfig(vocab_size=50, **small)), task_type="SEQ_CLS")
print("of the image classifier's head learn:", *image)
print("of the text classifier's head learn:", *text)
assert image == ["lora_A.default.weight", "lora_B.default.weight"], "this has changed"
assert text == ["modules_to_save.default.bias", "modules_to_save.default.weight"], "this has changed"

model = ViTForImageClassification(ViTConfig(image_size=32, patch_size=16, **small))
adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
drawn = adapted.base_model.model.classifier.base_layer.weight.clone()
optimizer = torch.optim.AdamW([own for own in adapted.parameters() if own.requires_grad], lr=1e-2)
pixels, labels = torch.randn(64, 3, 32, 32), torch.zeros(64, dtype=torch.long)
for _ in range(20):
    optimizer.zero_grad()
    adapted(pixel_values=pixels, labels=labels).loss.backward()
    optimizer.step()
merged = adapted.merge_and_unload().classifier
rank = int(torch.linalg.matrix_rank(merged.weight - drawn, atol=1e-5))
print(f"after training: the bias is {float(merged.bias.abs().max())}, the weight has changed by a matrix of rank {rank}")
assert float(merged.bias.detach().abs().max()) == 0 and rank == 2, "this has changed: the head learns whole"
PY
echo "still so"
