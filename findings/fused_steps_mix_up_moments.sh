#!/usr/bin/env bash
# torch 2.14.1, on a CPU, 2026-11-30: fused optimisers mix up what they keep of weights that lie otherwise in memory.
#
# Guess: a training that goes on with `channels_last`, from the state dicts of one without, makes the same step with
# `fused=True` as without. Seen: so it is with contiguous weights. Channels-last, AdamW, Adam, SGD with momentum and
# Adagrad step elsewhere: each number that was kept of one weight moves another. Nothing is said. The same happens where
# a file format has made the state contiguous.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import torch
from torch import nn

OPTIMIZERS = {
    "AdamW": lambda weights, fused: torch.optim.AdamW(weights, fused=fused),
    "Adam": lambda weights, fused: torch.optim.Adam(weights, fused=fused),
    "SGD": lambda weights, fused: torch.optim.SGD(weights, lr=0.01, momentum=0.9, fused=fused),
    "Adagrad": lambda weights, fused: torch.optim.Adagrad(weights, lr=0.01, fused=fused),
}
torch.manual_seed(0)
images, wanted = torch.randn(8, 3, 16, 16), torch.randn(8, 6)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    ((model(images) - wanted) ** 2).mean().backward()
    optimizer.step()


def weights_after(name: str, layout: torch.memory_format, fused: bool) -> torch.Tensor:
    """Three steps with contiguous weights, then one from the state dicts with weights in a layout."""
    first = network()
    optimizer = OPTIMIZERS[name](first.parameters(), fused)
    for _ in range(3):
        step(first, optimizer)
    second = network().to(memory_format=layout)
    second.load_state_dict(first.state_dict())
    again = OPTIMIZERS[name](second.parameters(), fused)
    again.load_state_dict(optimizer.state_dict())
    step(second, again)
    return torch.cat([weight.detach().reshape(-1) for weight in second.parameters()])


for name in OPTIMIZERS:
    apart = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        apart[layout] = float((weights_after(name, layout, True) - weights_after(name, layout, False)).abs().max())
    print(f"{name}: contiguous {apart[torch.contiguous_format]:.1e} apart, channels-last {apart[torch.channels_last]:.1e}")
    assert apart[torch.contiguous_format] < 1e-6, "this has changed"
    assert apart[torch.channels_last] > 1e-4, "this has changed: fused steps heed the layout"
PY
echo "still so"
