#!/usr/bin/env bash
# lycoris-lora 4.1.3 with torch 2.14.1, 2026-11-30: LoHa is merged with alpha / dim counted twice.
#
# Guess: after restore() and merge_to(1.0) the model gives what it gave with the adapter applied (as with its LoRA, LoKr,
# GLoRA, OFT, BOFT and full). Seen: LoHa's merged change is alpha / dim times the applied one: a quarter of it at dim 4 and
# alpha 1, double at alpha 8. Only where alpha equals dim do the two agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  lycoris-lora==4.1.3 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import torch
from lycoris import LycorisNetwork, create_lycoris

LycorisNetwork.apply_preset({"target_module": ["Sequential"]})
inputs = torch.randn(5, 8)


def merged_by_applied(algorithm: str, alpha: float) -> float:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(8, 6)))
    bare = model(inputs)
    adapter = create_lycoris(model, 1.0, linear_dim=4, linear_alpha=alpha, algo=algorithm)
    adapter.apply_to()
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.normal_()
    adapter.eval()
    applied = model(inputs) - bare
    adapter.restore()
    adapter.merge_to(1.0)
    return float((model(inputs) - bare).norm() / applied.norm())


for alpha in (1.0, 4.0, 8.0):
    lora, loha = merged_by_applied("lora", alpha), merged_by_applied("loha", alpha)
    print(f"dim 4, alpha {alpha:g}: merged change / applied change: LoRA {lora:.3f}, LoHa {loha:.3f}")
    assert abs(lora - 1) < 1e-4 and abs(loha - alpha / 4) < 1e-4, "this has changed"
PY
echo "still so"
