#!/usr/bin/env bash
# peft 0.21.2 with torch 2.14.1, 2026-11-30: an untrained HRA adapter with apply_GS changes the network.
#
# Guess: with init_weights, a new HRA adapter changes nothing before training, with and without Gram-Schmidt. Its vectors
# are drawn in equal pairs, whose reflections cancel each other. Seen: Gram-Schmidt takes the first of a pair from the
# second, and rounding is what remains. So with apply_GS the untrained network gives other outputs, by much more than rounding.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  peft==0.21.2 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import copy

import torch
from peft import HRAConfig, get_peft_model

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 5)).eval()
inputs = torch.randn(100, 64)
with torch.no_grad():
    before = network(inputs)
    for orthogonal in (False, True):
        config = HRAConfig(target_modules=["0"], r=8, apply_GS=orthogonal, init_weights=True)
        after = get_peft_model(copy.deepcopy(network), config).eval()(inputs)
        gap = float((after - before).abs().max())
        same = float((after.argmax(1) == before.argmax(1)).float().mean())
        print(f"apply_GS {orthogonal}: outputs differ by {gap:.1e}; {same:.0%} of predictions are the same")
        assert (gap > 0.1) == orthogonal, "this has changed"
PY
echo "still so"
