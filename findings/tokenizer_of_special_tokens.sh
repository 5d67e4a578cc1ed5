#!/usr/bin/env bash
# transformers 5.23.0, 2026-11-28: a checkpoint without tokenizer files gives a tokenizer, in which every word is unknown.
#
# Guess: AutoTokenizer.from_pretrained of a folder with config.json and weights alone (as Trainer leaves it when it was
# given no tokenizer) raises. Seen: for BERT, RoBERTa, DistilBERT, ELECTRA it makes a tokenizer of 5
# special tokens, GPT-2's has 1, T5's 104; any word becomes the unknown token, or none at all, without a warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check transformers==5.23.0
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
from transformers import AutoTokenizer, BertConfig, DistilBertConfig, ElectraConfig, GPT2Config, RobertaConfig, T5Config

SEEN = {BertConfig: 5, RobertaConfig: 5, DistilBertConfig: 5, ElectraConfig: 5, GPT2Config: 1, T5Config: 104}
for make, wanted in SEEN.items():
    make().save_pretrained(make.model_type)
    tokenizer = AutoTokenizer.from_pretrained(make.model_type)
    one, other = (tokenizer(text)["input_ids"] for text in ("a lovely film", "an awful bore"))
    print(f"{make.model_type}: {len(tokenizer)} tokens, {one} and {other}")
    assert len(tokenizer) == wanted, "this has changed"
    assert one == other, "this has changed: two texts are told apart"
PY
echo "still so"
