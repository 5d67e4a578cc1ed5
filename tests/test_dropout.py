"""Dropout with cheap random numbers: as often, as strong and as reproducible as torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from hftransfer.training.dropout import attention, cheap_dropout, dropout

CPU = torch.device("cpu")


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_elements_are_dropped_with_their_probability_and_the_others_scaled(p: float) -> None:
    torch.manual_seed(0)
    values = torch.full((1000, 1001), 2.0)
    out = dropout(values, p)
    dropped = float((out == 0).float().mean())
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / 1_001_000) ** 0.5)
    assert torch.allclose(out[out != 0], torch.tensor(2 / (1 - p)), rtol=2e-4)
    assert float(out.mean()) == pytest.approx(2.0, rel=0.01)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    gone = (dropout(torch.ones(400_000), 0.5) == 0).float()
    for distance in (1, 2, 3, 4, 8):
        both = float((gone[distance:] * gone[:-distance]).mean())
        assert both == pytest.approx(0.25, abs=0.005), distance


def test_gradients_flow_where_values_were_kept() -> None:
    values = torch.randn(50, 7, requires_grad=True)
    out = dropout(values, 0.3)
    (gradient,) = torch.autograd.grad(out.sum(), values)
    assert torch.allclose(out, values * gradient)


def test_a_seed_decides_what_is_dropped_and_calls_differ() -> None:
    def two() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(3)
        return dropout(torch.ones(999), 0.5), dropout(torch.ones(999), 0.5)

    first, second = two()
    assert torch.equal(first, two()[0])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 0, 4)])
def test_any_number_of_elements_will_do(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5).shape == shape


_BOOLS = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(1)) > 0.3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"attn_mask": _BOOLS | torch.eye(5, dtype=torch.bool)},
        {"attn_mask": torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(2))},
        {"scale": 0.3},
    ],
)
def test_attention_is_torchs_where_nothing_is_dropped(options: dict[str, Any]) -> None:
    torch.manual_seed(4)
    query, key, value = (torch.randn(2, 4, 5, 8) for _ in range(3))
    wanted = functional.scaled_dot_product_attention(query, key, value, **options)
    assert torch.allclose(attention(query, key, value, dropout_p=1e-9, **options), wanted, atol=1e-6)


def test_grouped_heads_share_keys() -> None:
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    wanted = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    assert torch.allclose(attention(query, key, value, dropout_p=1e-9, enable_gqa=True), wanted, atol=1e-6)


def test_modules_and_attention_take_it_while_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from hftransfer.training import dropout as room

    calls: list[float] = []

    def noted(values: torch.Tensor, p: float) -> torch.Tensor:
        calls.append(p)
        return values

    monkeypatch.setattr(room, "dropout", noted)
    query = torch.randn(1, 1, 2, 4)
    with cheap_dropout(CPU):
        nn.Dropout(0.25)(query)
        nn.Dropout(0.25).eval()(query)
        nn.Dropout(0.0)(query)
        functional.scaled_dot_product_attention(query, query, query, dropout_p=0.125)
    nn.Dropout(0.5)(query)
    assert calls == [0.25, 0.125]


def test_what_it_does_not_do_is_torchs() -> None:
    with cheap_dropout(CPU):
        assert torch.equal(functional.dropout(torch.ones(4), 1.0), torch.zeros(4))
        inplace = torch.ones(4)
        assert functional.dropout(inplace, 0.5, inplace=True) is inplace
