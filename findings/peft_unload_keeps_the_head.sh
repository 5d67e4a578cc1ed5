#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1 and transformers 5.23.0, 2026-11-30: unload() does not give the base model back.
#
# Guess: after unload(), which removes adapters without merging them, the model predicts as it did before peft, as it does
# within disable_adapter(). Seen: a head named in modules_to_save (as it must be for a classifier, and as the task types
# of sequence and token classification add it by themselves) stays the trained one, on features of the base model.
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
from transformers import BertConfig, BertForSequenceClassification

torch.manual_seed(0)
sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=64)
base = BertForSequenceClassification(BertConfig(**sizes, num_labels=3)).eval()
ids, labels = torch.randint(1, 64, (8, 6)), torch.randint(0, 3, (8,))
with torch.no_grad():
    before = base(ids).logits
head = base.classifier.weight.clone()
model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=4))
optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
for _ in range(20):
    optimizer.zero_grad()
    model(input_ids=ids, labels=labels).loss.backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    with model.disable_adapter():
        disabled = model(input_ids=ids).logits
    bare = model.unload()
    after = bare(ids).logits
far = {name: float((other - before).abs().max()) for name, other in (("disabled", disabled), ("unloaded", after))}
print(f"off the model before: within disable_adapter() {far['disabled']:.4f}, after unload() {far['unloaded']:.4f}")
assert far["disabled"] < 1e-5, "this has changed: disable_adapter leaves the trained head"
assert far["unloaded"] > 0.1 and not torch.equal(bare.classifier.weight, head), "this has changed: the base model is back"
PY
echo "still so"
