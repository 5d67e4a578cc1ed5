"""A tower of a dual encoder and the linear projection on top of it, told apart whatever library the two come from."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import override

if TYPE_CHECKING:
    from open_clip import CLIP
    from transformers import PreTrainedConfig, PreTrainedModel

M = TypeVar("M", bound=nn.Module)
Side = Literal["image", "text"]
SIDES: tuple[Side, Side] = ("image", "text")


class Unprojected(nn.Linear):
    """The identity, where a tower's output is its embedding as it is: it never learns, and is not written."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, bias=False)
        with torch.no_grad():
            self.weight.copy_(torch.eye(width))
        self.requires_grad_(False)


class TowerModel(nn.Module):
    """A tower and its projection; what it calls logits is the embedding (B, D), not normalised."""

    base_model_prefix: ClassVar[str] = "network"  # transformers asks for it where peft loads matrices

    projection: nn.Linear
    """The `nn.Linear` (F, D), or what hands on where there is none."""

    def __init__(self, network: PreTrainedModel, projection: nn.Linear, config: PreTrainedConfig) -> None:
        super().__init__()
        self.network, self.projection = network, projection
        self.config = config

    @property
    def base_model(self) -> nn.Module:
        """The tower."""
        network: nn.Module = self.network
        return network

    def pooled(self, **inputs: Tensor) -> Tensor:
        """Return the features (B, F) that enter the projection."""
        pooled: Tensor = self.network(**inputs).pooler_output
        return pooled

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return `logits` (B, D)."""
        return SimpleNamespace(logits=self.projection(self.pooled(**inputs)))


class FirstTokenTower(TowerModel):
    """A tower whose first token, as its last layer gives it, is what enters the projection."""

    @override
    def pooled(self, **inputs: Tensor) -> Tensor:
        """Return the features (B, F) that enter the projection."""
        tokens: Tensor = self.network(**inputs).last_hidden_state  # (B, T, F)
        return tokens[:, 0]


class OpenClipTower(TowerModel):
    """A tower of open_clip, which takes its one input by place and gives one tensor."""

    def pooled(self, **inputs: Tensor) -> Tensor:
        """Return the features (B, F) that enter the projection."""
        (tensor,) = inputs.values()
        return pooled_of(self.network(tensor))


class OpenClipTexts(nn.Module):
    """The part of an open_clip model that embeds texts."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        """Return features (B, F) of tokens (B, T)."""
        embedded: Tensor = self.clip.encode_text(tokens, normalize=False)  # CoCa's would be
        return embedded


def pooled_of(output: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return what a tower of open_clip pools (B, F); those of CoCa give their tokens as well."""
    return output[0] if isinstance(output, tuple) else output


def replaced(module: M, path: str, value: nn.Module | nn.Parameter | None) -> M:
    """Return the same module, sharing all with this one but what lies at a dotted path."""
    first, _, rest = path.partition(".")
    other = copy.copy(module)
    for name in ("_modules", "_parameters", "_buffers"):
        # Tables of its own with the same entries: what is set in one is not set in the other.
        setattr(other, name, dict(getattr(module, name)))
    setattr(other, first, replaced(getattr(module, first), rest, value) if rest else value)
    return other


def part_at(module: nn.Module, path: str) -> object:
    """Return what lies at a dotted path; None where there is nothing."""
    part: object = module
    for name in path.split("."):
        part = getattr(part, name, None)
    return part


def linear_at(module: nn.Module, path: str) -> nn.Linear | None:
    """Return the linear layer at a dotted path, or one around the matrix (F, D) there; None where there is neither."""
    part = part_at(module, path)
    if isinstance(part, nn.Parameter) and part.ndim == 2:
        width_in, width_out = part.shape  # F, D
        # Without memory, as its weight is put in at once.
        layer = nn.Linear(width_in, width_out, bias=False, device="meta")
        layer.weight = nn.Parameter(part.detach().T, requires_grad=False)  # the same numbers: both change together
        return layer
    return part if isinstance(part, nn.Linear) else None


def without_linear(module: M, path: str) -> M:
    """Return the same module, which hands on what the layer (or matrix) at a dotted path was given."""
    # The code there multiplies only where a matrix is; a layer it calls in any case.
    leaves_out = isinstance(part_at(module, path), nn.Parameter) or path.endswith("text_projection")
    return replaced(module, path, None if leaves_out else nn.Identity())


def with_linear(module: M, path: str, layer: nn.Linear, *, as_matrix: bool) -> M:
    """Return the same module with a layer at a dotted path; or with its matrix (F, D), which the code there expects."""
    return replaced(module, path, nn.Parameter(layer.weight.detach().T, requires_grad=False) if as_matrix else layer)
