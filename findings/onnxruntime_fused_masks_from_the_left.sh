#!/usr/bin/env bash
# onnxruntime 1.32.0 with torch 2.14.1 and transformers 5.23.0, 2026-11-30: an optimised BERT miscounts masks.
#
# Guess: onnxruntime.transformers.optimizer keeps the model's results to rounding, for all attention masks. Seen: where it
# fuses embeddings and attention, the mask becomes a number: how many tokens from the first one on are read. Texts padded
# on the left, or with a token masked in between, are read at the wrong places. Padding on the right, the one that is
# mostly tried, gives the same. The model was exported by TorchScript with eager attention.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  onnxruntime==1.32.0 onnx==1.23.2 torch==2.14.1 transformers==5.23.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.transformers import optimizer
from transformers import BertConfig, BertForSequenceClassification

torch.manual_seed(0)
size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 1000}
config = BertConfig(**size, num_labels=3, initializer_range=0.3, attn_implementation="eager")


class Logits(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = BertForSequenceClassification(config)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        return self.network(input_ids=tokens, attention_mask=mask, token_type_ids=kinds).logits


model = Logits().eval()
tokens, kinds = torch.randint(1, 1000, (3, 12)), torch.zeros(3, 12, dtype=torch.long)
masks = {name: torch.ones(3, 12, dtype=torch.long) for name in ("none", "right", "left", "in between")}
masks["right"][0, 7:], masks["left"][0, :5], masks["in between"][0, 4:6] = 0, 0, 0
names = ["tokens", "mask", "kinds"]
axes = {name: {0: "batch", 1: "length"} for name in names}
example = (tokens, masks["right"], kinds)
torch.onnx.export(model, example, "plain.onnx", input_names=names, dynamic_axes=axes, opset_version=17, dynamo=False)
fused = optimizer.optimize_model("plain.onnx", model_type="bert", num_heads=4, hidden_size=64, opt_level=0)
fused.save_model_to_file("fused.onnx")
for file in ("plain.onnx", "fused.onnx"):
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    types = {entry.name: np.int32 if "int32" in entry.type else np.int64 for entry in session.get_inputs()}
    for padding, mask in masks.items():
        fed = {name: value.numpy().astype(types[name]) for name, value in zip(names, (tokens, mask, kinds))}
        with torch.no_grad():
            gap = float(np.abs(session.run(None, fed)[0] - model(tokens, mask, kinds).numpy()).max())
        print(f"{file}, masked {padding}: logits differ from torch's by at most {gap:.1e}")
        wrong = file == "fused.onnx" and padding in ("left", "in between")
        assert (gap > 0.01) if wrong else (gap < 1e-4), "this has changed"
PY
echo "still so"
