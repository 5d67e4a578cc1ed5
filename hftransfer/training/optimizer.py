"""What steps: parameters in groups by depth, the optimiser, and the course of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from hftransfer.adapters.base import Adapter
from hftransfer.strategies import Rates
from hftransfer.training.settings import Schedule, TrainSettings


def make_optimizer(
    adapter: Adapter, rates: Rates, settings: TrainSettings, device: torch.device
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter, arXiv 1711.05101) or SGD with Nesterov's momentum, fused where torch can."""
    groups = parameter_groups(adapter, rates, settings.weight_decay)
    fused = device.type in ("cpu", "cuda")
    if settings.optimizer == "sgd":
        fused = fused and settings.distributed != "fsdp"  # torch's fused SGD takes no shared tensors, its AdamW does
        return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, fused=fused)


def lay_out_state(optimizer: torch.optim.Optimizer) -> None:
    """Lay out what an optimiser keeps of each weight in memory as the weight itself: fused steps on CPUs go through
    both in the order of memory (torch 2.14), so that moments of another layout would reach other weights."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            own = optimizer.state.get(weight, {})
            for name, value in own.items():
                if torch.is_tensor(value) and value.shape == weight.shape and value.stride() != weight.stride():
                    own[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def parameter_groups(adapter: Adapter, rates: Rates, weight_decay: float) -> list[dict[str, object]]:
    """Return what learns, in groups by depth below the head: each with its learning rate, norms and biases without
    decay."""
    depths = adapter.depth_of()
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in adapter.model.parameters():
        if parameter.requires_grad:
            # Vectors are norms and biases: weight decay would pull them to 0 without reason.
            groups.setdefault((depths[parameter], parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "depth": depth,
            "lr": rates.head_lr if depth == 0 else rates.learning_rate * rates.layer_decay ** (depth - 1),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda entry: entry[0], reverse=True)
    ]


def share_of_rate(schedule: Schedule, total: int, warmup: float) -> Callable[[int], float]:
    """Return the share of the peak learning rate at a step: a straight rise, then half a cosine or a line down to
    nothing, or no change."""
    rising = round(warmup * total)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, total - rising)
        return {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]

    return share
