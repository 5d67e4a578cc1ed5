"""What a model says of one input, and how that is told in a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from hftransfer.base.errors import printable

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Prediction:
    """The label of one input that scores best, its score, and the scores of all labels.

    Of a model that chooses one of several labels, scores are probabilities that add up to 1. Of one that was trained
    for several labels at once, or that has one output alone, each is the probability of its label by itself, and
    `scores` begins with the best. Of a regression they are its numbers, without any function.
    """

    label: str
    score: float
    scores: dict[str, float]

    def line(self, name: str, scoring: str) -> str:
        """Return the prediction in one line, which neither names nor labels can break or steer."""
        label, name = in_one_line(self.label), in_one_line(name)
        if scoring == "none":
            return f"{self.score:10.4f}  {label}  {name}"
        if scoring == "sigmoid":  # several may be true at once
            others = [(other, score) for other, score in self.scores.items() if other != self.label and score >= 0.5]
            label = ", ".join([label, *(f"{in_one_line(other)} {score:.2%}" for other, score in others)])
        return f"{self.score:7.2%}  {label}  {name}"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON and tables have it."""
        return asdict(self)

    def best_first(self) -> Prediction:
        """Return the same with its scores in falling order."""
        ordered = sorted(self.scores.items(), key=lambda entry: -entry[1])
        return replace(self, scores=dict(ordered))


@dataclass(frozen=True)
class LabelsPrediction(Prediction):
    """The labels of one input, of a model that gives any number of them, the most probable first; `scores` are the
    probability of each label by itself."""

    labels: tuple[str, ...] = ()

    @override
    def line(self, name: str, scoring: str) -> str:
        del scoring
        given = ", ".join(f"{in_one_line(label)} {self.scores[label]:.2%}" for label in self.labels)
        return f"{given or '(no label)'}  {in_one_line(name)}"


@dataclass(frozen=True, repr=False)
class Number(Prediction):
    """The number of one input, `value`, and the interval from `low` to `high` that holds the true one of a new input as
    often as it was asked for (`data.coverage`): None where the model was not told by a validation split."""

    low: float | None = None
    high: float | None = None

    @property
    def value(self) -> float:
        """The number."""
        return self.score

    def __repr__(self) -> str:
        return f"Number(value={self.value!r}, low={self.low!r}, high={self.high!r})"

    @override
    def line(self, name: str, scoring: str) -> str:
        del scoring
        interval = "" if self.low is None or self.high is None else f"  ({self.low:.6g} to {self.high:.6g})"
        return f"{self.value:10.6g}{interval}  {in_one_line(name)}"

    @override
    def plain(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high}


def prediction_of(names: Sequence[str], scores: Sequence[float] | np.ndarray) -> Prediction:
    """Return the prediction with these scores (C,) of the labels `names`."""
    by_name = {name: float(value) for name, value in zip(names, scores, strict=True)}
    best = max(by_name, key=lambda name: by_name[name])
    return Prediction(best, by_name[best], by_name)


@dataclass(frozen=True)
class Answer:
    """The answer to one question: the characters start..end of its context (empty for none), and its probability."""

    answer: str
    score: float
    start: int
    end: int

    def line(self, name: str, scoring: str) -> str:
        """Return the answer in one line."""
        del name, scoring
        return f"{self.score:7.2%}  {in_one_line(self.answer) or '(no answer)'}"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON and tables have it."""
        return asdict(self)


@dataclass(frozen=True)
class Entity:
    """An entity: the characters start..end of the text, its type, and the mean probability of its words' tags."""

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Entities:
    """The entities of one text in their order; of plain tags every word with its tag."""

    entities: tuple[Entity, ...]

    def line(self, name: str, scoring: str) -> str:
        """Return the entities in one line, after the text."""
        del scoring
        told = (f"{in_one_line(one.text)} ({in_one_line(one.label)} {one.score:.2%})" for one in self.entities)
        return f"{in_one_line(name)}  {', '.join(told) or '(no entity)'}"

    def plain(self) -> dict[str, Any]:
        """Return them as JSON and tables have them."""
        return asdict(self)


def in_one_line(text: str) -> str:
    """Return a text without what would break or steer a line on a terminal."""
    return printable(text).replace("\t", "\\t").replace("\n", "\\n")
