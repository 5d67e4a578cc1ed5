#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1, 2026-11-30: an adapter of weight 0 takes a large part of the other one away in TIES.
#
# Guess: add_weighted_adapter(["one", "two"], [1.0, 0.0]) is "one" alone, as it is with "linear", "cat", "svd",
# "dare_linear" and "magnitude_prune" at density 1; with TIES too, if the sign of each number is elected by what is
# weighted. Seen: with "ties" signs are elected before weights are applied. Where "two" has the larger number of the
# other sign, the number of "one" is dropped. Of two adapters alike in size "one" loses a quarter of its numbers and
# half of what it changes; beside one that is five times as large it keeps a quarter of its change. So a small weight
# doesn't make "two" count less in the election. Nothing is said.
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
from torch import nn

SIZE, RANK = 64, 8
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(SIZE, SIZE))
model = get_peft_model(model, LoraConfig(r=RANK, target_modules=["0"]), adapter_name="one")
model.add_adapter("two", LoraConfig(r=RANK, target_modules=["0"]))
layer = model.base_model.model[0]


def learn(size):
    # As if both had learned, "two" with numbers that are so many times as large.
    torch.manual_seed(1)
    for name, scale in (("one", 1.0), ("two", size)):
        for part in (layer.lora_A, layer.lora_B):
            nn.init.normal_(part[name].weight, std=0.1 * scale)


def joined(weights, kind, **settings):
    model.add_weighted_adapter(["one", "two"], weights, "both", combination_type=kind, **settings)
    parts = layer.lora_A["both"].weight.detach().clone(), layer.get_delta_weight("both").detach().clone()
    model.delete_adapter("both")
    return parts


def elected_by_weight(weights):
    # TIES with density 1 by hand, for A: each adapter times the root of its weight, as PEFT has it; then signs.
    parts = torch.stack([layer.lora_A[n].weight.detach() * (w * 1.0) ** 0.5 for n, w in zip(("one", "two"), weights)])
    sign = parts.sum(0).sign()
    agree = (parts.sign() == sign) & (parts != 0)
    return (parts * agree).sum(0) / agree.sum(0).clamp(min=1)


for size, least in ((1.0, 0.2), (5.0, 0.4)):
    learn(size)
    alone = layer.lora_A["one"].weight.detach(), layer.get_delta_weight("one").detach()
    for kind in ("linear", "cat", "svd", "dare_linear", "magnitude_prune"):
        settings = {"density": 1.0} if kind in ("dare_linear", "magnitude_prune") else {}
        assert torch.allclose(joined([1.0, 0.0], kind, **settings)[1], alone[1], atol=1e-4), kind
    first, change = joined([1.0, 0.0], "ties", density=1.0)
    lost = float((first == 0).float().mean())
    length = float(change.norm() / alone[1].norm())
    assert torch.allclose(elected_by_weight([1.0, 0.0]), alone[0], atol=1e-6), "by hand"
    print(f"two {size:.0f} times as large: of one's numbers {lost:.2f} are dropped, its change has {length:.2f} of its"
          " length; by the other five ways, and with a weighted election, it is one's")
    assert lost > least and length < 0.8, "this has changed"
PY
echo "still so"
