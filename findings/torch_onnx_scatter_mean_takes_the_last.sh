#!/usr/bin/env bash
# torch 2.14.1 with onnxruntime 1.32.0 and transformers 5.23.0, 2026-11-30: a mean over groups is exported as the last
# value.
#
# Guess: scatter_reduce with "mean", with which word vectors are made of those of word pieces and TAPAS averages over
# the cells of a table, is exported to ONNX as what it is, or refused, as median is; "sum", "amax", "amin" and "prod"
# are right. Seen: "mean" becomes a ScatterElements without a reduction, so that each group gets the value that is
# written last, and all others are dropped. The words of a text have the vector of their last piece, and an exported
# TAPAS has other scores for the cells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 transformers==5.23.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime
import torch
import transformers


class Groups(torch.nn.Module):
    """One number for each of three words, of those of its pieces."""

    def __init__(self, reduction):
        super().__init__()
        self.reduction = reduction

    def forward(self, pieces, words):
        return pieces.new_zeros(3).scatter_reduce(0, words, pieces, self.reduction, include_self=False)


def both(model, *inputs):
    torch.onnx.export(model.eval(), inputs, "model.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs, strict=True)})[0]
    with torch.no_grad():
        return found, model(*inputs).numpy()


pieces, words = torch.tensor([1.0, 2, 4, 8, -3, 7]), torch.tensor([0, 0, 1, 1, 0, 2])
for reduction in ("sum", "amax", "amin", "prod", "mean"):
    own, true = both(Groups(reduction), pieces, words)
    print(f"{reduction}: exported: {own.tolist()}, torch: {true.tolist()}")
    if reduction == "mean":
        assert true.tolist() == [0, 6, 7] and own.tolist() == [-3, 8, 7], "this has changed"
    else:
        assert np.allclose(own, true), "this has changed"


class Tapas(torch.nn.Module):
    def __init__(self):
        super().__init__()
        sizes = {name: 16 for name in ("hidden_size", "intermediate_size")}
        config = transformers.TapasConfig(vocab_size=50, num_hidden_layers=1, num_attention_heads=2, **sizes)
        self.model = transformers.TapasForQuestionAnswering(config)
        torch.nn.init.normal_(self.model.output_weights)

    def forward(self, ids, types):
        return self.model(input_ids=ids, token_type_ids=types).logits


torch.manual_seed(0)
ids = torch.randint(1, 50, (1, 12))
types = torch.zeros(1, 12, 7, dtype=torch.long)
types[0, 4:, 0] = 1
types[0, 4:, 1] = torch.tensor([1, 1, 1, 1, 2, 2, 2, 2])  # columns
types[0, 4:, 2] = torch.tensor([1, 1, 2, 2, 1, 1, 2, 2])  # rows: each cell has two tokens
own, true = both(Tapas(), ids, types)
own, true = own[0, 8:].astype(float).round(3).tolist(), true[0, 8:].astype(float).round(3).tolist()
print("TAPAS, tokens of the column that is selected: exported:", own, "torch:", true)
assert np.abs(np.subtract(own, true)).max() > 0.1, "this has changed"
assert np.argmax(own) // 2 != np.argmax(true) // 2, "this has changed: the same cell comes first"
PY
echo "still so"
