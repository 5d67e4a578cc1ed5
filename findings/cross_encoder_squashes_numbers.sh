#!/usr/bin/env bash
# sentence-transformers 6.2.0 with transformers 5.23.0 and torch 2.14.1, 2026-11-29: CrossEncoder passes a number through a
# sigmoid.
#
# Guess: a model of transformers with problem_type "regression", trained on pairs with a number from 0 to 5, gives the same
# number in CrossEncoder as in transformers' pipeline. Seen: the pipeline gives 3.2, CrossEncoder 0.96: one output is taken
# for a probability, whatever problem_type says. An entry in config.json, sentence_transformers.activation_fn, ends that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  sentence-transformers==6.2.0 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import json
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast, pipeline

Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]))
torch.manual_seed(0)
size = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
model = BertForSequenceClassification(BertConfig(**size, num_labels=1, problem_type="regression"))
model.classifier.bias.data.fill_(3.2)
model.save_pretrained("model")
BertTokenizerFast("vocab.txt").save_pretrained("model")
by_pipeline = pipeline("text-classification", model="model")({"text": "good film", "text_pair": "bad film"})["score"]
by_encoder = float(CrossEncoder("model", device="cpu").predict([("good film", "bad film")])[0])
print(f"pipeline {by_pipeline:.3f}, CrossEncoder {by_encoder:.3f}")
squashed = float(torch.sigmoid(torch.tensor(by_pipeline)))
assert by_pipeline > 3 and abs(by_encoder - squashed) < 1e-5, "this has changed: the number stays what it is"
config = Path("model/config.json")
told = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
config.write_text(json.dumps(json.loads(config.read_text()) | told))
plain = float(CrossEncoder("model", device="cpu").predict([("good film", "bad film")])[0])
assert abs(plain - by_pipeline) < 1e-5
PY
echo "still so"
