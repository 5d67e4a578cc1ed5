"""What learns, divided over the processes: weights, gradients and the optimiser's state (FSDP)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from hftransfer.adapters.base import Adapter


def shard(upper: nn.Module, adapter: Adapter, boundary: int, device: torch.device) -> None:
    """Let every process hold its share of what is above the boundary of the adapter's model, and of what
    learns besides. A stage's weights are put together while it computes, the rest when `upper` is called.

    Source: Zhao et al., PyTorch FSDP, arXiv 2304.11277; this is torch's `fully_shard`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    stages = adapter.stages[boundary:]
    in_stages = {parameter for stage in stages for parameter in stage.parameters()}
    # What is frozen outside these stages stays whole in every process.
    still = {p for p in adapter.model.parameters() if not p.requires_grad and p not in in_stages}
    for stage in stages:
        fully_shard(stage, mesh=mesh)
    fully_shard(upper, mesh=mesh, ignored_params=still)


def whole(tensor: Tensor) -> Tensor:
    """Return a copy of all of a tensor, shared or not; every process must ask for it."""
    found = tensor.detach()
    return found.full_tensor() if isinstance(found, DTensor) else found.clone()


@torch.no_grad()
def set_whole(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Set these parameters, shared or not, to these whole tensors."""
    for name, value in values.items():
        parameters[name].copy_(shared_like(value, parameters[name]))


def shared_like(value: Tensor, other: Tensor) -> Tensor:
    """Return a whole tensor, divided over the processes as another of its shape is."""
    if isinstance(other, DTensor) and value.shape == other.shape:
        return distribute_tensor(value, other.device_mesh, other.placements)
    return value
