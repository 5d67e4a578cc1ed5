#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, 2026-11-30: Adafactor on bfloat16 weights does not go on as it was.
#
# Guess: load_state_dict gives an optimizer back as it was saved, so that a resumed training takes the same steps (AdamW
# does, and torch's own Adafactor). Seen: transformers' Adafactor keeps second moments in float32 beside bfloat16 weights,
# and torch's load_state_dict casts what it loads to the dtype of the weights: the moments come back rounded to bfloat16,
# and the weights after resuming are others. With float32 weights they are equal to the bit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import io

import torch
from transformers import Adafactor


def trained(make, dtype: torch.dtype, resumed_at: int | None):
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 4).to(dtype)
    optimizer = make(layer.parameters())
    for step in range(60):
        if step == resumed_at:
            held = io.BytesIO()
            torch.save((layer.state_dict(), optimizer.state_dict()), held)
            held.seek(0)
            weights, state = torch.load(held)
            layer = torch.nn.Linear(16, 4).to(dtype)
            layer.load_state_dict(weights)
            optimizer = make(layer.parameters())
            optimizer.load_state_dict(state)
        drawn = torch.Generator().manual_seed(step)
        inputs, labels = torch.randn(32, 16, generator=drawn).to(dtype), torch.randint(0, 4, (32,), generator=drawn)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(inputs).float(), labels).backward()
        optimizer.step()
    kinds = {str(kept.dtype) for kept in optimizer.state[layer.weight].values() if isinstance(kept, torch.Tensor)}
    return layer.weight.detach().float(), kinds


makers = {"transformers' Adafactor": Adafactor, "torch's Adafactor": torch.optim.Adafactor, "AdamW": torch.optim.AdamW}
for name, make in makers.items():
    for dtype in (torch.float32, torch.bfloat16):
        (through, kept), (resumed, later) = trained(make, dtype, None), trained(make, dtype, 3)
        equal = torch.equal(through, resumed)
        print(f"{name}, weights {dtype}: equal {equal}; state {sorted(kept)}, after resuming {sorted(later)}")
        assert equal == (name != "transformers' Adafactor" or dtype == torch.float32), "this has changed"
PY
echo "still so"
