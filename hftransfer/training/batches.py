"""The batches of an epoch, and which part of each a process takes: all of it follows from seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hftransfer.training.mixing import Mixing, draw_mixing
from hftransfer.training.processes import Processes
from hftransfer.training.settings import TrainSettings

if TYPE_CHECKING:
    from hftransfer.training.devices import Compute

_OF_ONE_CLASS = 4
_POOL_BATCHES = 50
"""So many batches of texts at a time are sorted by length."""


@dataclass(frozen=True)
class Share:
    """The part of one batch that a process computes."""

    batch: list[int]
    """The items of the whole batch."""
    places: Sequence[int]
    """Where in the batch this process's items are; none where a batch has fewer items than there are processes."""
    tokens: int
    """The length of the batch's longest item, of texts: every process pads to it."""
    mixing: Mixing | None
    counts: bool = True
    """Whether its losses count: a process with nothing to do may go along with another's item."""

    @property
    def items(self) -> list[int]:
        """This process's items."""
        return [self.batch[place] for place in self.places]

    @property
    def others(self) -> list[int]:
        """Return what each of them is mixed with."""
        return [self.batch[self.mixing.order[place]] for place in self.places] if self.mixing else []

    @property
    def wanted(self) -> list[int]:
        """The items to read: each once."""
        return list(dict.fromkeys([*self.items, *self.others]))


def shares_of_epoch(
    count: int,
    lengths: np.ndarray | None,
    classes: np.ndarray | None,
    settings: TrainSettings,
    epoch: int,
    processes: Processes,
) -> list[Share]:
    """Return one process's share of every batch of an epoch over `count` items, of which a batch holds several of a
    class if classes are given.

    With FSDP a process has to compute along with the others, even where a batch has nothing for it.
    """
    found = []
    if classes is not None:
        batches = grouped_batches(classes, settings.batch_size, settings.seed, epoch)
    elif settings.tokens_per_batch is not None and lengths is not None:
        batches = filled_batches(lengths, settings.tokens_per_batch, settings.seed, epoch)
    else:
        batches = shuffled_batches(count, lengths, settings.batch_size, settings.seed, epoch)
    for index, batch in enumerate(batches):
        mixing = None
        if settings.mixes:
            # By the batch's number: all processes draw the same, and so does an epoch that goes on.
            random = np.random.default_rng([settings.seed, epoch, index])
            mixing = draw_mixing(len(batch), settings.mixup, settings.cutmix, random)
        tokens = int(lengths[batch].max()) if lengths is not None else 0
        places = processes.share(range(len(batch)))
        idle = settings.distributed == "fsdp" and not places
        found.append(Share(batch, range(1) if idle else places, tokens, mixing, counts=not idle))
    return found


def passes_of(items: Sequence[int], lengths: np.ndarray | None, compute: Compute) -> list[list[int]]:
    """Items, in this order, divided into forward passes that learn nothing: by their number, or of texts, the longest
    of each first, by the tokens that they are padded to."""
    size = compute.batch_size
    if lengths is None or compute.most_tokens is None:
        return [list(items[start : start + size]) for start in range(0, len(items), size)]
    passes, start = [], 0
    while start < len(items):
        # The first is the longest: all of the pass are padded to it.
        size = max(1, compute.most_tokens // max(1, int(lengths[items[start]])))
        passes.append(list(items[start : start + size]))
        start += size
    return passes


def shuffled_batches(count: int, lengths: np.ndarray | None, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return all items in batches, shuffled by seed and epoch; texts of like length share a batch.

    Of texts, 50 batches at a time are sorted by length, so that padding is small and the order still random.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(count)
    if lengths is not None:
        pool = _POOL_BATCHES * batch_size
        parts = [order[start : start + pool] for start in range(0, count, pool)]
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    # Sorted, every pool would go from short texts to long ones: whole batches are shuffled again.
    batches = [order[start : start + batch_size].tolist() for start in range(0, count, batch_size)]
    return [batches[index] for index in random.permutation(len(batches))] if lengths is not None else batches


def filled_batches(lengths: np.ndarray, tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Return all texts in batches that fill so many tokens, padding counted, shuffled by seed and epoch; texts of like
    length share a batch, and one that is longer than that is a batch by itself."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    pool = max(1, round(_POOL_BATCHES * tokens / max(1.0, float(lengths.mean()))))
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        batch: list[int] = []
        # From short to long: the next one is what all of its batch are padded to.
        for item in part[np.argsort(lengths[part], kind="stable")].tolist():
            if batch and (len(batch) + 1) * int(lengths[item]) > tokens:
                batches.append(batch)
                batch = []
            batch.append(item)
        batches.append(batch)
    return [batches[index] for index in random.permutation(len(batches))]


def count_of_steps(
    count: int, lengths: np.ndarray | None, settings: TrainSettings, epochs: int, *, grouped: bool = False
) -> int:
    """Return how many steps so many epochs over `count` items have; `grouped` where batches hold several of a class."""
    if grouped:
        return epochs * _count_of_groups(count, settings.batch_size)
    if settings.tokens_per_batch is None or lengths is None:
        return epochs * -(-count // settings.batch_size)
    tokens, seed = settings.tokens_per_batch, settings.seed
    return sum(len(filled_batches(lengths, tokens, seed, epoch)) for epoch in range(epochs))


def grouped_batches(classes: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return all items in batches, shuffled by seed and epoch, in groups of four of one class: so that each finds
    others of its own (as the batches of P classes with K items each of Hermans et al., arXiv 1703.07737). The groups of
    a class are spread over the epoch: so that each finds others of another class, too."""
    random = np.random.default_rng([seed, epoch])
    groups, places = [], []
    for own in np.unique(classes):
        items = random.permutation(np.flatnonzero(classes == own))
        of_class = [items[start : start + _OF_ONE_CLASS] for start in range(0, len(items), _OF_ONE_CLASS)]
        groups += of_class
        # At even distances over the epoch, each moved at random within its own.
        places += ((np.arange(len(of_class)) + random.random(len(of_class))) / len(of_class)).tolist()
    order = np.concatenate([groups[index] for index in np.argsort(places)])
    return [part.tolist() for part in np.array_split(order, _count_of_groups(len(order), batch_size))]


def _count_of_groups(count: int, batch_size: int) -> int:
    """Return into how many batches so many items are divided, each of `batch_size` or more: all pairs in a batch count,
    so that larger batches learn as much in fewer steps."""
    return max(1, count // batch_size)
