"""What a task is: the only thing of tasks that the other rooms know.

A task holds choices, never engines: how its rows are read and held out, which head it needs, by which loss that learns,
how its outcomes are judged, and which words tell of them. The rooms ask; none asks *which* task it is.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from hftransfer.adapters.families import require_modality
from hftransfer.data.reading import Reader
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Split, Splits, build_splits
from hftransfer.data.targets import CLASSES, TargetKind
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.shown import Chance, ExampleGroup, Plot

if TYPE_CHECKING:
    from torch import Tensor

    from hftransfer.adapters.checkpoint import Checkpoint
    from hftransfer.base.progress import Progress
    from hftransfer.strategies import Strategy
    from hftransfer.tasks.items import Items
    from hftransfer.tasks.windows import Window

Outcome = TypeVar("Outcome")
"""What a task keeps of the logits of one item."""
Learns = Literal["head", "towers", "nothing"]
"""What a run trains: a head (and stages below it) on one network, two towers by captions, or nothing at all."""
Explains = Literal["maps", "words", "tags", "spans", "prompts"]
"""What an explanation is: maps over an image, weights of words, those for each entity, the spans that came next, or
weights of a prompt's words for what is written after it."""

OPTIONAL_KEYS = frozenset(
    {"strategy", "prompts", "class_names", "compare_prompts", "zero_shot_data"}
    | {"train.loss", "model.image", "model.text", "model.width"}
)
"""Keys of a recipe that not every task has."""


@dataclass
class Examples:
    """The rows of one split as the network takes them; `notes` tell a person what was noticed on the way."""

    split: Split
    items: Items
    notes: list[str] = field(default_factory=list)
    windows: Sequence[Window] | None = None
    """The windows, one an item, where a row may become several."""
    cut: Sequence[int] = ()
    """The texts that are longer than what the network takes."""

    def name_of(self, item: int) -> str:
        """Return what a person knows an item by."""
        row = self.windows[item].question if self.windows is not None else item
        return str(self.split.rows[row].id)


Columns: TypeAlias = dict[str, Any]
"""A table of predictions by its columns: each a sequence or an array, with a value for every row."""


@dataclass(frozen=True)
class Judged:
    """Metrics of a split, what chooses the best model (the higher the better), and a table of predictions."""

    metrics: Scores
    score: tuple[float, ...]
    columns: Columns
    probabilities: np.ndarray | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    """What a loaded model must know to judge in the same way: fields of `ModelFacts` that the task names as `tuned`."""
    plots: Sequence[Plot] = ()
    groups: Sequence[ExampleGroup] = ()
    """Examples that show how good the model is, where the page can't find them by the probabilities."""


@dataclass(frozen=True)
class Loss:
    """The loss of the training items. Its mean over a batch is `total` of all of them over the sum of their weights:
    so a batch that is computed in parts, or by several processes, has the mean that it would have as a whole."""

    total: Callable[[Tensor, Sequence[int]], Tensor]
    """The weighted sum of the losses, from logits (B, …) and the positions (B,) of their items."""
    weights: np.ndarray
    """The weight (N,) of each item."""
    whole_batches: bool = False
    """Whether the items of a batch are compared with each other, so that it can't be computed in parts."""
    classes: np.ndarray | None = None
    """The class (N,) of each item, where a batch should hold several items of a class."""

    of_view: Callable[[Tensor, Sequence[int], Items], Tensor] | None = None
    """The same where targets go along when images are changed: given the items as training sees them."""

    def of(self, logits: Tensor, chosen: Sequence[int], items: Items | None) -> Tensor:
        """Return the weighted sum of the losses of these positions, as the items of an epoch are, if it has some."""
        if self.of_view is None or items is None:
            return self.total(logits, chosen)
        return self.of_view(logits, chosen, items)

    def weight(self, chosen: Sequence[int]) -> float:
        """Return the sum of the weights of these items."""
        return float(self.weights[list(chosen)].sum())


@dataclass(frozen=True)
class Proofs:
    """The findings on rows and a model before training: sentences, and one example in parts, learned or not."""

    lines: Sequence[str]
    example: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True)
class Words:
    """How a task is told of: on pages and cards, in tables and drafts."""

    title: str
    """As the Hub titles it."""
    unit: str
    """What its examples are, in the plural."""
    done: str
    """What a run did with them."""
    goal: str = ""
    """What a model is adapted to, where that is not a number of classes."""
    example: str = ""
    """How hftransfer predicts with a model in `path/to/this/folder`."""
    example_of_pairs: str = ""
    """The same where it takes pairs."""
    native: str = ""
    """How plain transformers does, in Markdown."""
    native_of_pairs: str = ""
    auto_class: str = ""
    """The class of transformers that loads its models."""
    labels: str = "classes"
    """What its outputs are, in the plural."""
    limit: str = "It knows these classes alone: whatever it is given, it names one of them."
    """What its outputs can't say."""
    elsewhere: str = ""
    """How a native folder becomes what other programs run, where these are the usual way."""
    scores: str = "probabilities = ({}).softmax(-1)"
    """How scores are made of logits, in Python."""


@dataclass(frozen=True)
class Starter:
    """A model to begin with: the bundled one, the package that brings it, and one of the Hub."""

    bundled: str
    package: str
    hub: str


class ModelWish(Protocol):
    """Which model a recipe names."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def image(self) -> str | None:
        """The image backbone of a pair of towers."""

    @property
    def text(self) -> str | None:
        """The text backbone of a pair of towers."""

    @property
    def is_pair(self) -> bool:
        """Return whether two towers are given."""


class Wishes(Protocol):
    """The part of a recipe that a task reads."""

    @property
    def model(self) -> ModelWish: ...  # noqa: D102
    @property
    def data(self) -> DataSettings: ...  # noqa: D102
    @property
    def strategy(self) -> Strategy: ...  # noqa: D102
    @property
    def train(self) -> Any: ...  # noqa: D102
    @property
    def prompts(self) -> str | list[str] | None: ...  # noqa: D102
    @property
    def class_names(self) -> dict[str, str] | list[str] | None: ...  # noqa: D102
    @property
    def compare_prompts(self) -> bool: ...  # noqa: D102
    @property
    def zero_shot_data(self) -> str | None: ...  # noqa: D102


class Task(ABC):
    """One task, under its pipeline tag of the Hub."""

    name: ClassVar[str]
    """The tag that a recipe names it by."""
    reader: ClassVar[Reader]
    targets: ClassVar[TargetKind] = CLASSES
    metrics: ClassVar[tuple[Metric, ...]]
    """Those that may choose the best epoch; the first is the headline."""
    words: ClassVar[Words]
    learns: ClassVar[Learns] = "head"
    explains: ClassVar[Explains | None] = None
    keys: ClassVar[frozenset[str]] = frozenset({"strategy"})
    """Those of `OPTIONAL_KEYS` that its recipes have."""
    starter: ClassVar[Starter | None] = None
    drafted: ClassVar[int | None] = None
    """When a draft of a recipe tries it: what holds questions holds texts too, so those are tried first."""
    pools_tokens: ClassVar[bool] = False
    """Whether its head may lie on pooled tokens."""
    pairs_by_features: ClassVar[bool] = False
    """Whether a linear probe of pairs of texts lies on the features of each, where nobody says."""
    has_maps: ClassVar[bool] = False
    """Whether its head lies on maps of features, and gives logits of each place."""
    takes_own_head: ClassVar[bool] = True
    """Whether a module of a person's own may stand in the place of its head."""
    has_named_head: ClassVar[bool] = False
    """Whether its head may begin with the names of the classes."""
    losses: ClassVar[tuple[str, ...]] = ()
    """The losses that `train.loss` may name; the first is the usual one."""
    packs: ClassVar[bool] = False
    """Whether several of its texts may lie in one row of a pass."""
    cross_validates: ClassVar[bool] = False
    """Whether `data.folds` may test every example once, and `train.refit` train on those of validation, too."""
    estimates: ClassVar[bool] = False
    """Whether the target of a row is one number."""
    judges_labels: ClassVar[bool] = True
    """Whether an audit can judge labels by probes."""

    @property
    def headline(self) -> Metric:
        """The metric that says in one number how good a model is."""
        return self.metrics[0]

    @property
    def compared(self) -> Metric:
        """The metric by which models are compared: the mean of one score for each example (`of_each`)."""
        return self.headline

    @property
    def has_classes(self) -> bool:
        """Return whether a target is one class of several."""
        return self.targets is CLASSES

    @property
    def has_labels(self) -> bool:
        """Return whether targets are labels with names, one or several."""
        return self.targets.has_names

    @property
    def weighs_classes(self) -> bool:
        """Return whether `train.class_weights` may let rare classes count as much as frequent ones."""
        return self.has_labels

    @property
    def weighs_by_name(self) -> bool:
        """Return whether `train.class_weights` may say how much each class counts."""
        return self.weighs_classes

    def for_targets(self, kind: TargetKind) -> Task:
        """Return the task as it is for rows with such targets: another one where a row may have several labels."""
        del kind
        return self

    def for_settings(self, settings: DataSettings) -> Task:
        """Return the task as it is for data that are so described."""
        del settings
        return self

    def read_settings(self, settings: DataSettings) -> DataSettings:
        """Return the settings by which a trained model reads rows to be judged by."""
        return settings

    def targets_of(self, found: Found) -> TargetKind:
        """Return what the targets of these rows are."""
        del found
        return self.targets

    @property
    def tags(self) -> tuple[str, str]:
        """The pipeline tag of what it makes, and another tag of the Hub's, empty where there is none."""
        return self.name, ""

    # --- recipes -----------------------------------------------------------------------------------------------------

    def usual_train(self, strategy: str) -> Mapping[str, object]:
        """Return the settings of `train:` that hold for a kind of strategy where they aren't given."""
        del strategy
        return {}

    def faults(self, wishes: Wishes) -> list[str]:
        """Return which settings do not go together, as far as that shows without the model."""
        del wishes
        return []

    def require_model(self, name: str, family: str) -> None:
        """Return if a model can serve the task, as far as its family tells.

        Raises:
            ModelError: it can't.
        """
        require_modality(name, family, self.name, self.reader.modality)

    # --- data --------------------------------------------------------------------------------------------------------

    def split(
        self, found: Found, settings: DataSettings, seed: int, progress: Progress, *, decode: bool = False
    ) -> Splits:
        """Return the splits that a run makes of rows.

        Raises:
            DataError: they can't be made.
        """
        return build_splits(found, settings, seed, progress, self.reader, self.targets_of(found), decode=decode)

    def sizes(self, found: Found, settings: DataSettings, progress: Progress) -> tuple[dict[str, int], Sequence[str]]:
        """Return how many examples each split has, and what was noticed, for a draft of a recipe."""
        del settings, progress
        return {name: len(rows) for name, rows in found.items()}, found.notes

    def made_up(self, count: int) -> list[Any]:
        """Return so many examples, as Python takes them, to warm up, to try an export or an installation with."""
        raise NotImplementedError

    def of_each(self, columns: Columns) -> list[float]:
        """Return what each row in a table of predictions adds to the metric by which models are compared."""
        return [float(p == label) for p, label in zip(columns["prediction"], columns["label"], strict=True)]

    def chance(self, metric: Metric, judged: Scores, split: Split, class_names: Sequence[str]) -> Chance | None:
        """Return what the best constant answer to the examples of a split reaches by a metric, which no model is needed
        for; `judged` are the model's own scores. Of shares of examples it is the most frequent class; None where the
        task can't tell."""
        del judged
        if not (self.has_classes and metric.is_share and len(split)):
            return None
        counts = np.bincount(split.class_ids, minlength=len(class_names))  # (C,)
        most = int(counts.argmax())
        return Chance(float(counts[most] / counts.sum()), f"always answering '{class_names[most]}'")

    def proofs(self, splits: Splits, settings: DataSettings, checkpoint: Checkpoint) -> Proofs | None:
        """Return what a model's own files tell of the rows before training; None where the task asks them nothing.

        Raises:
            HftransferError: rows can't be learned by this model.
        """
        del splits, settings, checkpoint
        return None

    # --- cards -------------------------------------------------------------------------------------------------------

    def native_use(self, template: str | None) -> str:
        """Return how plain transformers uses a model, in Markdown; `template` is what a prompt is put into, if any."""
        del template
        return self.words.native

    def prompts_in_words(self, template: str | None) -> str:
        """Return how a prompt becomes what the model reads, as a sentence for cards; empty where there are none."""
        del template
        return ""

    def lora_use(self, template: str | None) -> str:
        """Return how plain peft uses LoRA's matrices, in Markdown with BASE and MORE for the base model and what is
        imported for it; empty for the usual way of a head with classes."""
        del template
        return ""

    # --- drafts ------------------------------------------------------------------------------------------------------

    def drafted_model(self, *, is_installed: Callable[[str], bool]) -> str:
        """Return the model of a draft: a bundled one where its weights are installed, one of the Hub elsewhere."""
        assert self.starter is not None
        return self.starter.bundled if is_installed(self.starter.package) else self.starter.hub

    def drafted_strategy(self, examples: int) -> list[str]:
        """Return the `strategy:` section of a draft, in lines."""
        del examples
        return ["strategy:", "  kind: linear-probe"]
