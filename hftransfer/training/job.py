"""One transfer as a value: what is trained on what, and whether its settings go together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hftransfer.adapters.base import Adapter
from hftransfer.base.errors import ModelError, RecipeError, must_be, some
from hftransfer.base.plain import changed
from hftransfer.base.progress import Progress
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Splits
from hftransfer.strategies import FineTune, LinearProbe, LoRA
from hftransfer.tasks.head_task import ClassWeights, HeadTask
from hftransfer.tasks.items import Augment
from hftransfer.training.devices import Compute
from hftransfer.training.loop import Keeping, OnEpoch
from hftransfer.training.own import Own
from hftransfer.training.settings import TrainSettings
from hftransfer.training.solver import KnownHead
from hftransfer.training.tracking import Log, not_tracked

Stage = Callable[[str], AbstractContextManager[object]]


class NamedHeads(Protocol):
    """Heads on a dual encoder's embedding that are made of the names of classes (zeroshot.ClassTexts)."""

    @property
    def head(self) -> KnownHead:
        """The one that training begins with."""

    @property
    def held_out(self) -> KnownHead:
        """One of other templates."""

    @property
    def held_out_templates(self) -> tuple[str, ...]:
        """Those."""


@dataclass
class Choices:
    """The choices of validation in a training, or what a training without a validation split takes over from others."""

    l2: float | None = None
    """The L2 strength of a solved head."""
    l2_measure: str = ""
    """What chose it."""
    epochs: int = 0
    """So many epochs make the model that is kept; 0 for none."""
    mean: bool = False
    """Whether the mean of the weights of those epochs is kept."""
    temperature: float = 1.0
    extras: dict[str, object] = field(default_factory=dict)
    """The fields of `ModelFacts` that the task tunes."""


_LEAST_STEPS, _MOST_TIMES = 40, 4
"""Steps that a training from a solved head makes where nobody says how many epochs, in at most so many times the usual
epochs (docs/strategies.md)."""
_VIEWS_OF_SOLVED = 4
"""Augmented views of each image that a head is solved on, where nobody says how many."""


@dataclass
class Job:
    """One transfer: everything it needs, as values."""

    adapter: Adapter
    boundary: int
    task: HeadTask[Any]
    strategy: LinearProbe | FineTune | LoRA
    splits: Splits
    data: DataSettings
    train: TrainSettings
    weights_sha256: str
    compute: Compute
    progress: Progress
    stage: Stage
    keeping: Keeping | None = None
    log: Log = not_tracked
    on_epoch: OnEpoch | None = None
    own: Own = field(default_factory=Own)
    names: NamedHeads | None = None
    """Of a head that begins with the names of the classes."""
    made: Choices = field(default_factory=Choices)
    """What validation chose so far."""
    taken: Choices | None = None
    """What takes the place of those choices where all examples are trained on, and none are left for validation."""
    tested: list[Any] | None = None
    """Takes the outcome of each test item, where several trainings are judged together."""
    scratch: Path | None = None
    """The folder for activations that are not kept after the run, where several trainings share them."""

    @property
    def at_head(self) -> bool:
        """Return whether the boundary is the one at the head."""
        return self.boundary == len(self.adapter.stages)

    @property
    def solves(self) -> bool:
        """Return whether what learns is one linear layer on features, which is solved; where images are mixed, their
        features are others at every step, and it is stepped."""
        is_linear = self.adapter.head_is_linear or (self.task.head.of_tokens and self.adapter.head_is_direct)
        is_solvable = is_linear and self.task.solver is not None and not self.train.mixes
        return isinstance(self.strategy, LinearProbe) and is_solvable

    @property
    def solves_rows(self) -> bool:
        """Return whether such a layer has one row of features an example."""
        return self.solves and not (self.task.head.of_tokens or self.task.head.of_maps)

    @property
    def begins_solved(self) -> bool:
        """Return whether the loop begins with the head that a linear probe would end with."""
        has_own_start = self.solves or self.strategy.contrasts or self.names is not None
        if has_own_start or not self.strategy.begins_solved or self.task.solver is None:
            return False
        if self.adapter.head_port.decoder is not None:
            return False  # what a new decoder gives says nothing yet
        if self.task.head.of_maps and self.strategy.head_init == "auto":
            return False  # over as many epochs as masks take, a random one ended better (docs/segmentation.md)
        return self.adapter.last_layer_is_solvable

    @property
    def class_weights(self) -> ClassWeights:
        """Return how classes are weighed: by their frequency, each by its own weight, or not at all."""
        wish = self.train.class_weights
        if not isinstance(wish, dict):
            return wish == "auto"
        return np.array([wish.get(name, 1.0) for name in self.task.output_names(self.splits)])

    @property
    def epochs(self) -> int:
        """Return how often the loop passes over the training split: more often where that is a few batches, since a
        handful of steps changes little."""
        usual = self.strategy.usual_epochs
        if self.train.epochs is not None or not self.begins_solved:
            return self.train.epochs or usual
        steps = -(-len(self.splits.train) // self.train.batch_size)
        return min(_MOST_TIMES * usual, max(usual, -(-_LEAST_STEPS // steps)))

    @property
    def changes_images(self) -> bool:
        """Return whether training sees other images in each epoch, so that nothing below the boundary can be kept."""
        return (self.augments and not self.views) or self.train.mixes

    @property
    def views(self) -> int:
        """Return how many augmented views of an image are kept; 0 for a new one in each epoch or none at all. A head
        that is solved has no epochs."""
        if not self.augments:
            return 0
        return self.train.views or (_VIEWS_OF_SOLVED if self.solves else 0)

    @property
    def augments(self) -> bool:
        """Return whether training images are changed at random."""
        return self.train.augment != "none" or self.own.transform is not None

    def augment(self, view: int) -> Augment:
        """Return how the training images of a view or an epoch are changed."""
        if self.own.transform is None:
            return Augment(self.train.augment, self.train.seed, view)
        return Augment(self.own.token, self.train.seed, view, self.own.transform)


def require_sense(job: Job) -> None:
    """Return if the settings go together, and the model can do what they ask.

    Raises:
        RecipeError: settings that don't go together.
        ModelError: a head that can't be solved, or whose features can't learn alone.
    """
    if job.strategy.contrasts:
        _require_pairs(job)
    if job.train.mixes and set(job.adapter.sample_inputs(1)) != {"pixel_values"}:
        allowed = f"left out for '{job.adapter.name}', whose images keep their proportions and have no common places"
        raise RecipeError(must_be("train.mixup and train.cutmix", allowed, "given"))
    if not job.solves:
        if job.strategy.head_init == "solved" and job.adapter.head_port.decoder is not None:
            allowed = f"auto or random where '{job.adapter.name}' gets a new decoder"
            remedy = "Leave it out, or use strategy linear-probe, which puts a solved layer on the maps."
            raise RecipeError(must_be("strategy.head_init", allowed, "solved", remedy))
        if job.strategy.head_init == "solved" and not job.begins_solved:
            allowed = "one whose last layer is linear with a bias, with strategy.head_init: solved"
            remedy = "strategy.pooling: mean or last has one." if job.task.pools_tokens else ""
            raise ModelError(must_be(f"model '{job.adapter.name}'", allowed, "another", remedy))
        if getattr(job.strategy, "l2", "auto") != "auto" and not job.begins_solved:
            job.progress.line("strategy.l2 has no effect on a head that is trained in steps from a random start")
        return
    if job.taken is not None:
        return  # it was told before
    if job.on_epoch is not None:
        job.progress.line("on_epoch is not called: a solved head has no epochs")
    # Not refused: compare gives the same settings to a probe and to what is stepped.
    if idle := _idle_settings(job):
        have = "has" if len(idle) == 1 else "have"
        job.progress.line(f"{' and '.join(idle)} {have} no effect on a solved head")
    if job.augments and not job.train.views:
        line = f"the head is solved on {job.views} augmented views of each training image; train.views sets how many"
        job.progress.line(line)


def _idle_settings(job: Job) -> list[str]:
    """Return the settings that a recipe gives and a solved head does not heed, as they are written."""
    told = {f"train.{name}": value for name, value in job.train.of_steps.items()}
    if job.strategy.head_init == "random":
        told["strategy.head_init"] = "random"
    told |= {f"strategy.{name}": value for name, value in changed(job.strategy, ["learning_rate"]).items()}
    return [f"{name}: {'null' if value is None else str(value).lower()}" for name, value in told.items()]


def _require_pairs(job: Job) -> None:
    """Return if features can learn by pairs of examples here."""
    if job.compute.processes.count > 1:
        remedy = "The loss compares all examples of a batch, so they can't be split across processes."
        allowed = "one with strategy.objective: contrastive"
        raise RecipeError(must_be("the processes", allowed, job.compute.processes.count, remedy))
    if job.strategy.head_init == "random":
        job.progress.line("strategy.head_init: random has no effect: the head is solved on the learned features")
    alone = [n for n, count in zip(job.splits.class_names, job.splits.counts()["train"], strict=True) if count < 2]
    if alone:
        job.progress.line(f"no pairs can be made for a class with a single training example: {some(alone)}")
    if not job.adapter.head_is_linear:
        remedy = "strategy.pooling: mean has one." if job.task.pools_tokens else ""
        allowed = "one whose head is a single linear layer, with strategy.objective: contrastive"
        raise ModelError(must_be(f"model '{job.adapter.name}'", allowed, "another", remedy))
