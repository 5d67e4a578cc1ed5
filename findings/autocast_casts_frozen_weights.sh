#!/usr/bin/env bash
# torch 2.14.1, 2026-11-28: torch.autocast casts the weights of frozen layers anew at each call.
#
# Guess: within a block of autocast every float32 weight is cast once, as its cache of casts promises. Seen: a linear
# layer that is called 10 times is cast once where it learns, and 10 times where it is frozen (requires_grad_(False)),
# with gradients on or off: the cache takes leaves that require a gradient alone. So freezing a network, as LoRA does,
# makes autocast do more, and the graph of each call holds a cast of its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Casts(TorchDispatchMode):
    """Counts the casts of weights (64, 64)."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._to_copy.default and args[0].shape == (64, 64)
        return function(*args, **(kwargs or {}))


found = {}
for learns in (True, False):
    for gradients in (True, False):
        layer, inputs = torch.nn.Linear(64, 64).requires_grad_(learns), torch.randn(3, 64)
        with Casts() as casts, torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(gradients):
            for _ in range(10):
                layer(inputs)
        found[learns, gradients] = casts.count
        print("learns" if learns else "frozen", "with gradients" if gradients else "without", casts.count, "casts")
assert found == {(True, True): 1, (True, False): 1, (False, True): 10, (False, False): 10}, "this has changed"
PY
echo "still so"
