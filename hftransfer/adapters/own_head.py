"""A head of a person's own: a module of torch in the place of a model's last layer."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hftransfer.adapters.libraries import FAULTS_OF_MODELS
from hftransfer.base.errors import ModelError, first_line, must_be, some


class OwnHead(nn.Module):
    """A module from features (B, D) to logits (B, C), of tokens (B, T, D) to (B, T, C).

    It counts as one layer, without a bias that others could set. `weight` scales the logits, so that what was learned
    in units of the deviation can be told in those of the data; it never learns.
    """

    bias: None = None
    weight: Tensor

    def __init__(self, module: nn.Module, outputs: int) -> None:
        super().__init__()
        # A copy: what a person holds stays as it is.
        self.module, self.outputs = copy.deepcopy(module).float().cpu().requires_grad_(True).eval(), outputs
        self.register_buffer("weight", torch.ones(1))

    @property
    def kind(self) -> str:
        """Return what a person knows the module by."""
        return f"{type(self.module).__module__}.{type(self.module).__qualname__}"

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of features."""
        logits: Tensor = self.module(features)
        return logits * self.weight

    def require_fit(self, features: Tensor) -> None:
        """Return if the module takes such features and gives logits, tried on two examples of zeros.

        Raises:
            ModelError: it does not.
        """
        zeros = features.new_zeros(2, *features.shape[1:])  # (2, D), or (2, T, D)
        shape, wanted = ("B, T, {}" if zeros.ndim == 3 else "B, {}"), (*zeros.shape[:-1], self.outputs)
        allowed = f"a module from features ({shape.format(zeros.shape[-1])}) to logits ({shape.format(self.outputs)})"
        try:
            with torch.no_grad():
                found = self.module(zeros)
        except FAULTS_OF_MODELS as error:
            raise ModelError(must_be("head", allowed, f"one that fails ({first_line(error)})")) from error
        if not isinstance(found, Tensor) or found.shape != wanted:
            given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ModelError(must_be("head", allowed, f"one that gives {given} of {tuple(zeros.shape)}"))
        if not any(True for _ in self.module.parameters()):
            raise ModelError(must_be("head", allowed, "one without parameters, which learns nothing"))

    def require_same(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """Return if the tensors of a file, by the shape of each, are those of this module.

        Raises:
            ModelError: they are of another one.
        """
        own = {name: tuple(tensor.shape) for name, tensor in self.state_dict().items()}
        odd = [name for name in sorted({*own, *shapes}) if own.get(name) != shapes.get(name)]
        if odd:
            told = [f"{name} {own.get(name, 'missing')} for {shapes.get(name, 'none')}" for name in odd]
            allowed = f"the module that '{where}' was trained with"
            raise ModelError(must_be("head", allowed, f"one with {some(told, 3)}"))
