#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0 and torch 2.14.1, 2026-11-28: a classifier with LoRA predicts otherwise once it is reloaded.
#
# Guess: what save_pretrained of a LoRA model with task_type SEQ_CLS writes is all that it takes, beside the base, to get
# the same logits again. Seen: where the base checkpoint has no pooler (as masked language models and sentence encoders
# have none), BERT's classifier begins with a random one; it is frozen, is not among modules_to_save, and is not
# written. The reloaded model has another random pooler. Only a log line on the base's missing weights tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

torch.manual_seed(0)
size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 99}
BertForMaskedLM(BertConfig(**size)).save_pretrained("base")  # has no pooler
inputs = {"input_ids": torch.arange(1, 11)[None]}

base = BertForSequenceClassification.from_pretrained("base", num_labels=2)
adapted = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"])).eval()
with torch.no_grad():
    before = adapted(**inputs).logits
adapted.save_pretrained("adapter")
written = [name for name in load_file("adapter/adapter_model.safetensors") if "pooler" in name]

torch.manual_seed(1)  # another process has another seed
again = BertForSequenceClassification.from_pretrained("base", num_labels=2)
loaded = PeftModel.from_pretrained(again, "adapter").eval()
with torch.no_grad():
    after = loaded(**inputs).logits
print("before", before.tolist(), "after", after.tolist(), "pooler written:", written)
assert not written, "this has changed: the pooler is saved"
assert (before - after).abs().max() > 1e-3, "this has changed: the logits are the same again"
PY
echo "still so"
