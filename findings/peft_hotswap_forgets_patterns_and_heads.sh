#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1 and numpy 2.4.6, 2026-11-30: an adapter that is hot-swapped for itself gives other
# outputs where its config has an alpha_pattern or a rank_pattern.
#
# Guess: after hotswap_adapter the model is what from_pretrained makes of the new adapter, or, as is documented, there
# is an error ("If the adapters are incompatible, e.g. targeting different layers or having different alpha values").
# Seen: the patterns are looked up with the whole name of the weight, ".lora_A.default.weight" and all, and never match,
# so that those layers get the scaling of lora_alpha and r: 2 for 8 here. Two adapters with the same patterns pass all
# checks. And a head in modules_to_save of the adapter before stays: the new adapter speaks through the old one's head.
# Adapters with other r and lora_alpha, and fewer layers, are swapped right. (hotswap_adapter_from_state_dict)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 accelerate==1.15.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.hotswap import hotswap_adapter


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = (torch.nn.Linear(*sizes) for sizes in ((12, 16), (16, 16), (16, 3)))

    def forward(self, values):
        return self.head(torch.relu(self.second(torch.relu(self.first(values)))))


def train(name, seed, **settings):
    model = get_peft_model(Network(), LoraConfig(r=8, lora_alpha=16, **settings))
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(0.2 * torch.randn_like(weights))
    model.save_pretrained(name)


@torch.no_grad()
def compare(old, new):
    swapped = PeftModel.from_pretrained(Network(), old).eval()
    hotswap_adapter(swapped, new, adapter_name="default", torch_device="cpu")
    loaded = PeftModel.from_pretrained(Network(), new).eval()
    difference = float((swapped(values) - loaded(values)).abs().max())
    scales = [model.base_model.model.second.scaling["default"] for model in (swapped, loaded)]
    print(f"{new} in place of {old}: second scaling {scales[0]}, loaded {scales[1]}; difference {difference:.4f}")
    return difference, *scales


values, both = torch.randn(64, 12, generator=torch.Generator().manual_seed(1)), ["first", "second"]
for seed, number in enumerate(("", "2")):
    train("plain" + number, seed, target_modules=both)
    train("alphas" + number, seed, target_modules=both, alpha_pattern={"second": 64})
train("fewer", 3, target_modules=["second"])
train("ranks", 4, target_modules=both, rank_pattern={"second": 2})
train("head", 5, target_modules=both, modules_to_save=["head"])

assert compare("plain", "plain2")[0] < 1e-5 and compare("plain", "fewer")[0] < 1e-5, "this has changed"
for old, new in (("alphas", "alphas"), ("alphas", "alphas2"), ("ranks", "ranks"), ("plain", "ranks")):
    difference, swapped, loaded = compare(old, new)
    assert difference > 0.05 and (swapped, loaded) == (2, 8), "this has changed: patterns"
difference, swapped, loaded = compare("head", "plain")
assert difference > 0.3 and swapped == loaded == 2, "this has changed: heads"
PY
echo "still so"
