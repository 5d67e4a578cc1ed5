"""What a run came to, whatever it trained: its folder, its page and its card are made of this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.base.plain import JsonObject
from hftransfer.data.splits import Splits, shown_split
from hftransfer.jobs.identity import environment, peak_memory_bytes
from hftransfer.recipe import Recipe, ResolvedFacts
from hftransfer.tasks.contract import Judged, Task

if TYPE_CHECKING:
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.checkpoint import Checkpoint
    from hftransfer.tasks.contract import Columns
    from hftransfer.tasks.facts import ModelFacts
    from hftransfer.training.activations import StoredActivations
    from hftransfer.training.devices import Compute
    from hftransfer.training.job import Choices
    from hftransfer.training.learning_curve import CurvePoint
    from hftransfer.training.loop import History


@dataclass(frozen=True)
class Learned:
    """The outcome of a run."""

    recipe: Recipe
    splits: Splits
    judged: Mapping[str, Judged]
    """By split: validation and test, as far as there are."""
    compute: Compute
    facts: ResolvedFacts
    parameters: Mapping[str, int]
    """How many there are: `total` and `trainable`."""
    history: History
    method: str
    """How it learned, in the words of `metrics.json`."""
    bases: tuple[Checkpoint, ...] = ()
    """The pretrained model, or the two towers."""
    more: Mapping[str, object] = field(default_factory=dict)
    """Further entries of `metrics.json`."""
    tables: Mapping[str, Columns] = field(default_factory=dict)
    """Tables of columns by the name of their Parquet file."""
    sheets: Mapping[str, Sequence[JsonObject]] = field(default_factory=dict)
    """Tables of rows by the name of their CSV file."""
    save_model: Callable[[Path, Path], None] | None = None
    """Writes the trained model in its native layout into a folder, given where that will lie in the end."""
    save_checkpoint: Callable[[], None] | None = None
    """Writes a checkpoint of the finished training, where there was one."""
    adapter: Adapter | None = None
    model_facts: ModelFacts | None = None
    pads_always: bool = False
    """Whether the texts of a dual encoder are all padded to one length."""
    l2_path: tuple[tuple[float, float], ...] = ()
    """The L2 strengths that were tried for a solved head, and what each came to by `l2_measure`."""
    features: Mapping[str, StoredActivations] = field(default_factory=dict)
    """What a head was solved on and judged by, by split; mapped files, not memory."""
    curve: Callable[[], list[CurvePoint]] | None = None
    """Solves a head on such features again, on parts of the training examples."""

    made: Choices | None = None
    """What validation chose."""

    started: str = ""
    """When the run began (ISO 8601, with its zone)."""

    @property
    def l2_measure(self) -> str:
        """Return what chose the L2 strength of a solved head."""
        return self.made.l2_measure if self.made is not None else ""

    @property
    def task(self) -> Task:
        """The task of its recipe."""
        return self.recipe.chosen_task.for_targets(self.splits.kind)

    @cached_property
    def environment(self) -> JsonObject:
        """Versions and hardware: on the card, on the page, and in a file."""
        return environment(self.compute) | ({"started": self.started} if self.started else {})

    def _chance(self) -> JsonObject:
        """Return what the best constant answer reaches on the split that is shown, by the metrics that a model is told
        and compared by."""
        shown = shown_split(self.judged)
        if shown not in self.judged:
            return {}
        split, task, judged = getattr(self.splits, shown), self.task, self.judged[shown].metrics
        found = {
            metric.name: asdict(chance)
            for metric in dict.fromkeys((task.headline, task.compared))
            if (chance := task.chance(metric, judged, split, self.splits.class_names)) is not None
        }
        return {"chance": found} if found else {}

    def metrics(self, seconds: Mapping[str, float]) -> JsonObject:
        """Return what a run measured, as it stands in `metrics.json`."""
        by_split = {name: self.judged[name].metrics if name in self.judged else {} for name in ("test", "validation")}
        rows = self.history.rows
        return {
            "task": self.recipe.task,
            "model": self.recipe.model.name,
            "strategy": self.method,
            **({"problem_type": kind} if (kind := getattr(self.task, "problem_type", None)) else {}),
            **by_split,
            **self._chance(),
            **self.more,
            **({"best_epoch": self.history.best_epoch, "epochs": len(rows)} if rows else {}),
            **({"averaged_epochs": True} if self.history.mean else {}),
            "parameters": dict(self.parameters),
            "seconds": dict(seconds),
            "examples": self.splits.sizes(),
            **({"skipped": len(self.splits.skipped)} if self.splits.skipped else {}),
            "peak_memory_bytes": peak_memory_bytes(),
        }
