"""Texts written token by token: many prompts at once, those that end leaving the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hftransfer.adapters.anatomy import alike

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hftransfer.adapters.causal import CausalAdapter

_BATCH = 32
"""Prompts that are gone on with at once."""


@dataclass(frozen=True)
class Writing:
    """How texts are written: each ends with one of the tokens `stops`, or after so many."""

    stops: tuple[int, ...]
    max_new_tokens: int = 128
    temperature: float = 0.0
    """0 takes the likeliest token; above it tokens are drawn, the more evenly the higher it is."""
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """The tokens of a text without the one that ended it, whether there was one, and the log of the probability of all
    of them together, in nats."""

    ids: tuple[int, ...]
    stopped: bool
    log_probability: float


@torch.no_grad()
def write(
    adapter: CausalAdapter,
    prompts: Sequence[Sequence[int]],
    how: Writing,
    *,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    tell: Callable[[int, int], None] = lambda _, __: None,
    advance: Callable[[int], None] = lambda _: None,
    numbers: Sequence[int] | None = None,
) -> list[Written]:
    """Return the text that a model writes after each prompt; `tell` gets each token as it comes, with the place of its
    prompt.

    What is drawn depends on the seed and the prompt's number (its place, if `numbers` are not given), and not on its
    neighbours in a batch.
    """
    numbers = numbers or range(len(prompts))
    found: dict[int, Written] = {}
    lengths = [len(prompt) for prompt in prompts]
    for places in _batches(lengths, padded=len(set(lengths)) > 1 and _heeds_positions(adapter)):
        with autocast():
            draws = {place: _generator(how.seed, numbers[place]) for place in places}
            batch = _Batch(adapter, [prompts[place] for place in places], draws, how, tell)
            while batch.alive:
                batch.step()
        found |= batch.written
        advance(len(places))
    return [found[place] for place in range(len(prompts))]


def _batches(lengths: Sequence[int], *, padded: bool) -> Iterator[list[int]]:
    """Yield the places of prompts of about one length that are gone on with together; of exactly one where they can't
    be `padded`."""
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    groups = [order] if padded else [list(own) for _, own in groupby(order, key=lambda place: lengths[place])]
    for group in groups:
        for start in range(0, len(group), _BATCH):
            yield group[start : start + _BATCH]


def _heeds_positions(adapter: CausalAdapter) -> bool:
    """Return whether padding before a text leaves it as it is. BART's decoder and its kin count places from the left
    end of a row, and pass over the positions that they are given."""
    model: Any = adapter.model
    if "position_ids" in inspect.signature(type(model).forward).parameters:
        return True
    ids = adapter.sample_inputs(1)["input_ids"]  # (1, T)
    mask = torch.nn.functional.pad(torch.ones_like(ids), (3, 0))
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    padded = torch.nn.functional.pad(ids, (3, 0))
    alone = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, -1]  # (1, V)
    beside = model(input_ids=padded, attention_mask=mask, position_ids=positions, use_cache=False).logits[:, -1]
    return alike(beside, alone)


class _Batch:
    """Prompts that are gone on with together, padded on the left."""

    def __init__(
        self,
        adapter: CausalAdapter,
        prompts: Sequence[Sequence[int]],
        draws: Mapping[int, torch.Generator],
        how: Writing,
        tell: Callable[[int, int], None],
    ) -> None:
        places = list(draws)
        self.model: Any = adapter.model
        self.how, self.tell, self.longest = how, tell, adapter.max_tokens
        self.device = next(self.model.parameters()).device
        widest = max(len(prompt) for prompt in prompts)
        ids = torch.full((len(prompts), widest), int(adapter.processor.pad_token_id or 0))  # (B, T)
        self.mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, widest - len(prompt) :] = torch.tensor(prompt)
            self.mask[row, widest - len(prompt) :] = 1
        self.mask = self.mask.to(self.device)
        self.alive, self.written = places, dict[int, Written]()
        self.ids: dict[int, list[int]] = {place: [] for place in places}
        self.sums = dict.fromkeys(places, 0.0)
        self.room = {place: self.longest - len(prompt) for place, prompt in zip(places, prompts, strict=True)}
        self.random = draws
        self.cache: Any = None
        # Some families know no such argument: they make the logits of a whole prompt.
        known = inspect.signature(type(self.model).forward).parameters
        self.more = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self.next = ids.to(self.device)

    def step(self) -> None:
        """Write one token more in each text that goes on."""
        positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -self.next.shape[1] :]  # (B, t)
        found = self.model(
            input_ids=self.next,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            **self.more,
        )
        # Mamba and its kin keep a state in another form: they read the whole text anew for each token.
        self.cache = getattr(found, "past_key_values", None)
        logs = found.logits[:, -1].float().log_softmax(dim=-1)  # (B, V)
        chosen = self._chosen(logs)
        kept = []
        for row, (place, token) in enumerate(zip(list(self.alive), chosen.tolist(), strict=True)):
            self.sums[place] += float(logs[row, token])
            if token in self.how.stops:
                self._end(place, stopped=True)
                continue
            self.ids[place].append(token)
            self.tell(place, token)
            if len(self.ids[place]) >= min(self.how.max_new_tokens, self.room[place]):
                self._end(place, stopped=False)
                continue
            kept.append(row)
        self._go_on(chosen, kept)

    def _chosen(self, logs: Tensor) -> Tensor:
        """Return the next token of each text, (B,)."""
        if self.how.temperature == 0:
            return logs.argmax(dim=-1)
        shares = (logs / self.how.temperature).softmax(dim=-1).cpu()  # (B, V)
        drawn = [
            torch.multinomial(share, 1, generator=self.random[place])
            for share, place in zip(shares, self.alive, strict=True)
        ]
        return torch.cat(drawn).to(self.device)

    def _end(self, place: int, *, stopped: bool) -> None:
        self.written[place] = Written(tuple(self.ids[place]), stopped, self.sums[place])

    def _go_on(self, chosen: Tensor, kept: Sequence[int]) -> None:
        """Leave out the texts that ended, and note what was written in the others."""
        self.alive, so_far = [self.alive[row] for row in kept], self.next
        if len(kept) < len(chosen) and kept:
            rows = torch.tensor(kept, device=self.device)
            if self.cache is not None:
                self.cache.batch_select_indices(rows)
            self.mask, chosen, so_far = self.mask[rows], chosen[rows], so_far[rows]
        self.next = chosen[:, None]  # (B, 1)
        if self.cache is None:
            self.next = torch.cat([so_far, self.next], dim=1)  # (B, t)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)


def _generator(seed: int, number: int) -> torch.Generator:
    drawn = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(drawn >> 1))
