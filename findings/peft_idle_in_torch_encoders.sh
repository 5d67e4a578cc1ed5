#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1, 2026-11-30: LoRA on torch's own TransformerEncoderLayer learns, and is left out in prediction.
#
# Guess: what LoRA learned beside linear1 and linear2 counts in eval() as it did in train().
# Seen: in eval() the layer takes torch's fast path, which reads the weights of linear1 and linear2 without calling them. peft's
# layers hand out those of the base. Training goes well, validation and prediction are the base model's to the bit,
# with and without gradients; merge_and_unload() brings back what was learned, and so does
# torch.backends.mha.set_fastpath_enabled(False).
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
from torch import nn


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(32, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(values).mean(1))


torch.manual_seed(0)
values, labels = torch.randn(64, 5, 32), torch.randint(0, 2, (64,))
base = Classifier().eval()
with torch.no_grad():
    before = base(values)
model = get_peft_model(base, LoraConfig(target_modules=["linear1", "linear2"], r=8, lora_alpha=16)).train()
optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=3e-3)
for _ in range(150):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(values), labels).backward()
    optimizer.step()


def accuracy(scores: torch.Tensor) -> float:
    return float((scores.argmax(-1) == labels).double().mean())


with torch.no_grad():
    learning = accuracy(model.train()(values))
    predicted = model.eval()(values)
with_gradients = model(values).detach()
torch.backends.mha.set_fastpath_enabled(False)
with torch.no_grad():
    slow = accuracy(model(values))
torch.backends.mha.set_fastpath_enabled(True)
print(f"right of what it learned: in train() {learning:.2f}, in eval() {accuracy(predicted):.2f}, before {accuracy(before):.2f}")
print(f"off the base model in eval(): {float((predicted - before).abs().max())}; without the fast path right: {slow:.2f}")
assert learning > 0.95 and slow > 0.95, "this has changed: LoRA does not learn"
assert (predicted - before).abs().max() < 1e-5, "this has changed: LoRA counts in eval()"
assert (with_gradients - before).abs().max() < 1e-5, "this has changed: LoRA counts in eval() with gradients"
with torch.no_grad():
    merged = accuracy(model.merge_and_unload().eval()(values))
print(f"after merging: {merged:.2f}")
assert merged > 0.95, "this has changed: merging does not bring it back"
PY
echo "still so"
