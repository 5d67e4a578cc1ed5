"""A second training on all but the test split, with what validation chose in the first.

A validation split of a few dozen examples chooses once; then its examples can teach as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from hftransfer.data.folds import joined
from hftransfer.data.splits import Splits
from hftransfer.jobs.folds import sharing_activations
from hftransfer.jobs.learned import Learned
from hftransfer.jobs.session import Session
from hftransfer.recipe import Recipe
from hftransfer.training.interrupts import Interrupted

if TYPE_CHECKING:
    from hftransfer.training.job import Choices

Train = Callable[[Splits, "Choices | None", Session], Learned]
"""Trains on splits. With choices it takes those over, and validation has no say."""


def refitted(recipe: Recipe, splits: Splits, session: Session, train: Train) -> Learned:
    """Return the model of the training and validation splits together, tested on the test split; what is told of
    validation, and of the epochs, is of the model before, which had not seen those examples."""
    test = splits.test
    with sharing_activations(recipe, session) as sharing:
        # A probe's page shows the features that its head was solved on; else the first model need not be tested.
        first_splits = splits if recipe.strategy.head_alone else replace(splits, test=test.only([]))
        first = train(first_splits, None, _tells(replace(session, scratch=sharing.scratch), "validation"))
        assert first.made is not None
        read = first.splits if recipe.strategy.head_alone else replace(first.splits, test=test)
        together = replace(read, train=joined([read.train, read.validation]))
        session.progress.line(f"training once more, on all {len(together.train):,} training and validation examples")
        taken = replace(first.made, extras=first.judged["validation"].extras)
        try:
            last = train(together, taken, replace(_tells(sharing, "test"), on_epoch=None))
        except Interrupted:
            if first.save_checkpoint is not None:
                first.save_checkpoint()
            raise
    tested = {name: own for name, own in last.judged.items() if name == "test"}
    return replace(
        first,
        splits=replace(read, test=last.splits.test, skipped=last.splits.skipped),
        judged={**first.judged, **tested},
        tables=last.tables,
        more={**last.more, "refit": {"examples": len(together.train)}},
        adapter=last.adapter,
        model_facts=last.model_facts,
        save_model=last.save_model,
    )


def _tells(session: Session, split: str) -> Session:
    """Return the same session; who asked to be told of scores is told of those of one split alone."""
    own = session.own
    if own is None or (on_evaluate := own.on_evaluate) is None:
        return session

    def told(name: str, scores: Mapping[str, object]) -> object:
        return on_evaluate(name, scores) if name == split else None

    return replace(session, own=replace(own, on_evaluate=told))
