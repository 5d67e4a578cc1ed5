"""What a task shows of its results beside its metrics: drawings and examples, as plain values that the page renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Line:
    """A curve with its name: `x` and `y` of shape (N,)."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Plot:
    """A drawing of results. `name` is that of its file."""

    name: str
    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line] = ()
    points: tuple[np.ndarray, np.ndarray] | None = None
    """The x and y (N,) of single examples."""
    reference: Literal["", "diagonal", "zero"] = ""
    """The line on which points would lie that are all right."""
    matrix: np.ndarray | None = None
    """Counts (R, C), drawn as shades instead of lines and points."""
    names: Sequence[str] = ()
    """Those of the matrix' rows and columns, or of bars."""
    bars: bool = False
    """Whether the one line is drawn as bars."""


@dataclass(frozen=True)
class Chance:
    """The score that no model is needed for, and by what it is reached."""

    score: float
    words: str


@dataclass(frozen=True)
class Mark:
    """The characters [start, end) of an example's text, and what is said of them."""

    start: int
    end: int
    label: str
    is_right: bool = True


@dataclass(frozen=True)
class Layers:
    """The layers drawn over an example's image: the true and the predicted class ids (h, w); below 0 nothing."""

    truth: np.ndarray
    predicted: np.ndarray
    names: Sequence[str]


@dataclass(frozen=True)
class Example:
    """An example of a split by its place, what is said of it, and the marks in its first text."""

    place: int
    caption: str
    marks: Sequence[Mark] = ()
    output: int | None = None
    """The logit that is explained beside it; None for none."""
    layers: Layers | None = None


@dataclass(frozen=True)
class ExampleGroup:
    """Examples of one kind, such as the worst mistakes."""

    title: str
    kind: Literal["", "right", "wrong"] = ""
    note: str = ""
    examples: Sequence[Example] = ()
    explained: str = "the wrong class"
    """What the explained output is: an explanation shows what spoke for it."""


def both_ends(order: Sequence[int], first: int, last: int) -> tuple[list[int], list[int]]:
    """Return at most so many places from the beginning of an order, and from its end, that one first; of few places
    each is in one of them alone."""
    half = (len(order) + 1) // 2
    return list(order[:half][:first]), list(order[half:][::-1][:last])
