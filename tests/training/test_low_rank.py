"""LoRA's matrices in one step, and frozen weights that are cast once: the numbers of peft and of autocast."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from hftransfer.training.devices import Compute
from hftransfer.training.dropout import Streams, cheap_dropout
from hftransfer.training.low_rank import frozen_cast, lora_layers, quick_lora

CPU = torch.device("cpu")


class _Network(nn.Module):
    """Two layers that are given the same values, and one above them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 20), nn.Linear(12, 20, bias=False), nn.Linear(20, 5)

    def forward(self, values: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.tanh(self.first(values)) * self.second(values))
        return logits


def _with_lora(**settings: Any) -> Any:
    torch.manual_seed(0)
    settings = {"target_modules": ["first", "second", "last"], **settings}
    config = peft.LoraConfig(r=3, lora_alpha=7, **settings)
    model: Any = peft.get_peft_model(_Network(), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5)
    return model.train()


def _learned(model: Any, values: Tensor, *, quick: bool, bf16: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """The outputs, and the gradients of the matrices and of what the network is given."""
    streams, given = Streams(1, 2, range(len(values))), values.clone().requires_grad_()
    layers = lora_layers(model) if quick else []
    precision = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
    with precision, cheap_dropout(CPU, streams), quick_lora(layers, streams):
        out = model(given)
    learned = {name: own for name, own in model.named_parameters() if own.requires_grad} | {"given": given}
    gradients = torch.autograd.grad((out.float() if bf16 else out).square().sum(), list(learned.values()))
    return out.detach(), dict(zip(learned, gradients, strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("rows", [(6, 12), (6, 4, 12)])
def test_outputs_and_gradients_are_those_of_peft(dropout: float, rows: tuple[int, ...]) -> None:
    model = _with_lora(lora_dropout=dropout).double()
    values = torch.randn(rows, dtype=torch.float64)
    (plain, slow), (out, quick) = (_learned(model, values, quick=quick) for quick in (False, True))
    torch.testing.assert_close(out, plain)
    torch.testing.assert_close(quick, slow)
    assert all("forward" not in vars(layer) for layer in lora_layers(model))


def test_in_bfloat16_they_are_as_near_to_exact_ones_as_those_of_peft() -> None:
    model, values = _with_lora(), torch.randn(64, 12)
    exact, exact_gradients = _learned(model, values, quick=False)
    (_, slow), (out, quick) = (_learned(model, values, quick=quick, bf16=True) for quick in (False, True))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), exact, rtol=0.03, atol=0.03)
    for name, own in exact_gradients.items():
        errors = [float((of[name].float() - own).norm() / own.norm()) for of in (slow, quick)]
        assert errors[1] < max(1.5 * errors[0], 0.01), name


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True, "target_modules": ["first"]}])
def test_other_kinds_of_matrices_stay_with_peft(settings: dict[str, Any]) -> None:
    assert lora_layers(_with_lora(**settings)) == []
    merged = _with_lora()
    merged.merge_adapter()
    assert lora_layers(merged) == []
    assert lora_layers(_Network()) == []


def test_frozen_weights_that_are_held_in_bfloat16_change_no_number() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.conv, self.learns = nn.Embedding(9, 8), nn.Conv1d(8, 8, 3), nn.Linear(8, 8)
            self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 9, bias=False)
            self.out.weight = self.words.weight

        def forward(self, tokens: Tensor) -> Tensor:
            hidden = self.conv(self.words(tokens).transpose(1, 2)).transpose(1, 2)
            logits: Tensor = self.out(self.norm(self.learns(hidden)))
            return logits

    torch.manual_seed(0)
    model, tokens = Network().requires_grad_(False), torch.arange(9)[None]
    model.learns.requires_grad_(True)
    before = {name: (own, own.clone()) for name, own in model.named_parameters()}

    def learned() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            out = model(tokens)
        return [out, *torch.autograd.grad(out.float().square().sum(), list(model.learns.parameters()))]

    plain = learned()
    compute = Compute(CPU, "bf16", 4)
    with frozen_cast(model, compute):
        kinds = {name: own.dtype for name, own in model.named_parameters(remove_duplicate=False)}
        assert all(torch.equal(own, other) for own, other in zip(learned(), plain, strict=True))
    assert {name for name, kind in kinds.items() if kind == torch.bfloat16} == {
        "conv.weight",
        "conv.bias",
        "out.weight",
    }
    assert all(own is before[name][0] and torch.equal(own, before[name][1]) for name, own in model.named_parameters())
    assert model.out.weight is model.words.weight
    with frozen_cast(model, Compute(CPU, "fp32", 4)):
        assert model.conv.weight.dtype == torch.float32
