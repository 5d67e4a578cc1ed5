"""Dropout with cheap random numbers: as often, as strong and as reproducible as torch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hftransfer.training import attention
from hftransfer.training.attention import AttentionCall, quick_attention
from hftransfer.training.dropout import Streams, cheap_dropout, dropout

CPU = torch.device("cpu")


def _streams(step: int = 0, places: Sequence[int] = (0,)) -> Streams:
    return Streams(7, step, places)


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_elements_are_dropped_with_their_probability_and_the_others_scaled(p: float) -> None:
    values = torch.full((1000, 1001), 2.0)
    out = dropout(values, p, _streams(places=range(10)))
    dropped = float((out == 0).float().mean())
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / 1_001_000) ** 0.5)
    assert torch.allclose(out[out != 0], torch.tensor(2 / (1 - p)), rtol=2e-4)
    assert float(out.mean()) == pytest.approx(2.0, rel=0.01)


def test_neighbours_are_dropped_independently() -> None:
    gone = (dropout(torch.ones(4, 100_000), 0.5, _streams(places=range(4))) == 0).float().flatten()
    for distance in (1, 2, 3, 4, 8):
        both = float((gone[distance:] * gone[:-distance]).mean())
        assert both == pytest.approx(0.25, abs=0.005), distance


def test_gradients_flow_where_values_were_kept() -> None:
    values = torch.randn(50, 7, requires_grad=True)
    out = dropout(values, 0.3, _streams())
    (gradient,) = torch.autograd.grad(out.sum(), values)
    assert torch.allclose(out, values * gradient)


def test_seed_step_and_place_decide_what_is_dropped_and_calls_differ() -> None:
    def two(step: int = 0, places: Sequence[int] = (0,)) -> tuple[torch.Tensor, torch.Tensor]:
        streams = _streams(step, places)
        return dropout(torch.ones(1, 999), 0.5, streams), dropout(torch.ones(1, 999), 0.5, streams)

    first, second = two()
    assert torch.equal(first, two()[0])
    for other in (second, two(step=1)[0], two(places=[1])[0]):
        assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rows: nn.Dropout(0.3)(torch.ones(len(rows), 5, 6)),
        lambda rows: nn.Dropout(0.3)(torch.ones(4 * len(rows), 5)),  # windows, as Swin's
        lambda rows: functional.scaled_dot_product_attention(rows, rows, rows, dropout_p=0.3),
        lambda rows: torch.rand((len(rows), 1, 1)),
        lambda rows: rows.new_empty((len(rows), 1, 1)).bernoulli_(0.5),
    ],
)
def test_an_example_draws_the_same_in_whatever_part_of_its_batch(draw: Callable[[torch.Tensor], torch.Tensor]) -> None:
    rows = torch.randn(6, 2, 5, 8)

    def twice(places: list[int]) -> list[torch.Tensor]:
        with cheap_dropout(CPU, _streams(3, places)):
            return [draw(rows[places]).reshape(len(places), -1) for _ in range(2)]

    whole, parts = twice([0, 1, 2, 3, 4, 5]), [twice([0, 2, 4]), twice([1, 3, 5])]
    for call in range(2):
        assert torch.allclose(whole[call][0::2], parts[0][call])
        assert torch.allclose(whole[call][1::2], parts[1][call])
    assert not torch.equal(whole[0], whole[1])


def test_stochastic_depth_drops_as_often_as_asked() -> None:
    with cheap_dropout(CPU, _streams(places=range(4000))):
        assert float((torch.rand((4000, 1)) < 0.3).float().mean()) == pytest.approx(0.3, abs=0.03)
        assert float(torch.empty(4000, 1).bernoulli_(0.7).mean()) == pytest.approx(0.7, abs=0.03)
        assert float(torch.rand((4000, 1)).min()) >= 0


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 0, 4)])
def test_any_number_of_elements_will_do(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5, _streams()).shape == shape


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
    assert torch.allclose(AttentionCall(query, key, value, **options).attend(), wanted, atol=1e-6)


def test_grouped_heads_share_keys() -> None:
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    wanted = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    assert torch.allclose(AttentionCall(query, key, value, enable_gqa=True).attend(), wanted, atol=1e-6)


def test_modules_and_attention_take_it_while_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from hftransfer.training import dropout as room

    calls: list[float] = []

    def noted(values: torch.Tensor, p: float, streams: Streams) -> torch.Tensor:
        del streams
        calls.append(p)
        return values

    monkeypatch.setattr(room, "dropout", noted)
    query = torch.randn(1, 1, 2, 4)
    with cheap_dropout(CPU, _streams()):
        nn.Dropout(0.25)(query)
        nn.Dropout(0.25).eval()(query)
        nn.Dropout(0.0)(query)
        functional.scaled_dot_product_attention(query, query, query, dropout_p=0.125)
    nn.Dropout(0.5)(query)
    assert calls == [0.25, 0.125]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_is_dropped_of_attention_is_known_by_its_place_too(precision: torch.dtype) -> None:
    query = torch.ones(1, 1, 64, 64, dtype=precision)
    mask = torch.ones(64, 64, dtype=torch.bool)
    with cheap_dropout(CPU, _streams()):
        by_name = functional.scaled_dot_product_attention(query, query, query, attn_mask=mask, dropout_p=0.5)
    with cheap_dropout(CPU, _streams()):
        by_place = functional.scaled_dot_product_attention(query, query, query, mask, 0.5)
    assert torch.equal(by_name, by_place)
    assert not torch.allclose(by_name, query)  # of equal values nothing but what is dropped makes a difference
    with torch.inference_mode(), quick_attention(nn.Identity(), CPU, precision):
        by_keyword = functional.scaled_dot_product_attention(query=query, key=query, value=query)
    assert torch.allclose(by_keyword, query)


def test_what_it_does_not_do_is_torchs() -> None:
    with cheap_dropout(CPU, _streams()):
        assert torch.equal(functional.dropout(torch.ones(4), 1.0), torch.zeros(4))
        inplace = torch.ones(4)
        assert functional.dropout(inplace, 0.5, inplace=True) is inplace


@pytest.mark.parametrize("mask", ["none", "bool", "float", "causal"])
def test_attention_that_learns_in_bfloat16_is_torchs(mask: str) -> None:
    parts = [torch.randn(2, 3, 9, 8, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    seen = torch.rand(2, 1, 9, 9) > 0.3
    seen[..., 0] = True
    masks: dict[str, Any] = {
        "none": {},
        "bool": {"attn_mask": seen},
        "float": {"attn_mask": torch.zeros(2, 1, 9, 9).masked_fill(~seen, torch.finfo(torch.float32).min)},
        "causal": {"is_causal": True},
    }
    query, key, value = (part.detach().float() for part in parts)
    wanted = functional.scaled_dot_product_attention(query, key, value, **masks[mask])
    calls: list[str] = []

    class Spy(Streams):
        def bits(self, shape: Sequence[int]) -> np.ndarray:
            calls.append("drawn")
            return super().bits(shape)

    with torch.autocast("cpu", torch.bfloat16), cheap_dropout(CPU, Spy(0, 0, [0, 1])):
        query, key, value = parts
        found = functional.scaled_dot_product_attention(query, key, value, **masks[mask])
    assert found.dtype is torch.bfloat16
    assert "Flash" not in type(found.grad_fn).__name__
    assert torch.allclose(found.float(), wanted, atol=0.05)
    assert calls == []  # without dropout no random numbers are drawn
    gradients = torch.autograd.grad(found.float().sum(), parts)
    assert all(bool(one.isfinite().all()) for one in gradients)


def test_attention_over_many_tokens_or_in_float32_is_torchs_own() -> None:
    for tokens, precision in ((300, torch.bfloat16), (9, torch.float32)):
        query = torch.randn(1, 1, tokens, 8, requires_grad=True)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16),
            cheap_dropout(CPU, _streams()),
        ):
            found = functional.scaled_dot_product_attention(query, query, query)
        assert "Flash" in type(found.grad_fn).__name__


@pytest.mark.parametrize(
    ("tokens", "precision", "amx", "quick"),
    [
        *((197, "bf16", False, True), (25, "bf16", False, True), (300, "bf16", False, False)),
        *((197, "fp32", False, False), (197, "bf16", True, False)),
    ],
)
def test_a_frozen_network_attends_quickly_where_that_pays(
    tokens: int, precision: str, amx: bool, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "has_amx", lambda: amx)
    calls: list[int] = []

    attend = AttentionCall.attend

    def spied(call: AttentionCall) -> torch.Tensor:
        calls.append(1)
        return attend(call)

    monkeypatch.setattr(AttentionCall, "attend", spied)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    query, key, value = (torch.randn(2, 3, tokens, 8, dtype=dtype) for _ in range(3))
    wanted = functional.scaled_dot_product_attention(query.float(), key.float(), value.float())
    with torch.inference_mode(), quick_attention(nn.Identity(), CPU, dtype):
        found = functional.scaled_dot_product_attention(query, key, value)
    assert torch.allclose(found.float(), wanted, atol=0.02)
    assert len(calls) == quick


def test_torchs_own_attention_modules_keep_their_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "has_amx", lambda: False)
    layer = nn.MultiheadAttention(16, 2, batch_first=True).eval().to(torch.bfloat16).requires_grad_(False)
    rows = torch.randn(2, 150, 16, dtype=torch.bfloat16)
    with (
        torch.inference_mode(),
        quick_attention(nn.Sequential(layer), CPU, torch.bfloat16),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen,
    ):
        layer(rows, rows, rows, need_weights=False)
    assert "aten::_native_multi_head_attention" in {event.key for event in seen.key_averages()}
