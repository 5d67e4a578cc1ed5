#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0 and torch 2.14.1, 2026-11-29: modules_to_save takes all whose names end so.
#
# Guess: modules_to_save=["norm"] trains the norm before the head of a decoder whole, beside the LoRA matrices: a name
# means a module of that name, as in target_modules, where ["proj"] is not q_proj. Seen: names are compared by their last
# letters. Of a Qwen3 with two layers nine norms learn (q_norm, k_norm, input_layernorm, post_attention_layernorm) and are
# saved, not one; of a DistilBERT, "classifier" is pre_classifier, too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
from peft import LoraConfig, get_peft_model
from transformers import DistilBertConfig, DistilBertForSequenceClassification
from transformers import Qwen3Config, Qwen3ForSequenceClassification

size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
config = Qwen3Config(**size, num_key_value_heads=2, head_dim=16, vocab_size=50, pad_token_id=0)
wanted = LoraConfig(target_modules=["q_proj"], modules_to_save=["score", "norm"])
model = get_peft_model(Qwen3ForSequenceClassification(config), wanted)
learning = [name for name, weight in model.named_parameters() if weight.requires_grad and "modules_to_save" in name]
norms = sorted({name.split(".modules_to_save")[0].rsplit(".", 1)[-1] for name in learning if "norm" in name})
print(f"{len(learning) - 1} norms learn: {', '.join(norms)}")
assert len(learning) - 1 == 9, "this has changed: names are compared whole"

bert = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=50, dim=32, hidden_dim=64, n_layers=1, n_heads=2))
whole = get_peft_model(bert, LoraConfig(target_modules=["q_lin"], modules_to_save=["classifier"]))
heads = sorted({name.split(".")[2] for name, _ in whole.named_parameters() if "modules_to_save" in name})
print(f"DistilBERT: {', '.join(heads)}")
assert heads == ["classifier", "pre_classifier"], "this has changed: names are compared whole"
try:
    get_peft_model(Qwen3ForSequenceClassification(config), LoraConfig(target_modules=["proj"]))
except ValueError as error:
    print(f"target_modules=['proj']: {str(error)[:60]}")
else:
    raise AssertionError("this has changed: target_modules are compared by their last letters, too")
PY
echo "still so"
