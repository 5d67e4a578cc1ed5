"""What a model says of one input, and how that is told in a line."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from hftransfer.base.errors import RecipeError, must_be, printable
from hftransfer.base.html import Fragment, Thumbnail, small_uri
from hftransfer.base.plain import shown_value

if TYPE_CHECKING:
    import os

    import numpy as np
    from PIL import Image


_ROWS = 12
NONE_OF_THESE = "none of these"
"""The label of what is unlike all that a model learned from, where a person asked for it."""
_WHERE_KNOWN = ("unlike", "label_set")
"""Fields that are told where they say something."""


class Predicted(ABC):
    """The outcome of one input, as people are told it."""

    @abstractmethod
    def line(self, name: str, scoring: str) -> str:
        """Return it in one line, which neither names nor texts can break or steer."""

    @abstractmethod
    def plain(self) -> dict[str, object]:
        """Return it as JSON and tables have it."""

    def first(self, count: int | None) -> Self:
        """Return the same with so many labels alone, where it has labels with scores; None for all."""
        del count
        return self

    def line_of_labels(self, name: str, scoring: str, *, as_set: bool) -> str:
        """Return in one line, after the name, all labels that are told; `as_set`: those of the set alone. What has no
        labels with scores is told as ever."""
        del as_set
        return self.line(name, scoring)

    def _repr_html_(self) -> str:
        return Fragment(" ".join(self.line("", "softmax").split())).html()


def _in_short(value: object) -> str:
    """Return a value as code has it, its numbers with four digits."""
    if isinstance(value, float):
        return repr(round(value, 4) if abs(value) >= 1e-3 else float(f"{value:.4g}"))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_in_short(one)}" for key, one in value.items()) + "}"
    return repr(value)


@dataclass(frozen=True)
class Prediction(Predicted):
    """The label of one input that scores best, its score, and the scores of all labels.

    Of a model that chooses one of several labels, scores are probabilities that add up to 1. Of one that was trained
    for several labels at once, or that has one output alone, each is the probability of its label by itself, and
    `scores` begins with the best. Of a regression they are its numbers, without any function.

    `unlike` is the share of training examples that are less unusual than the input, from 0 to 1; None where the model
    does not keep what those look like. Where a person asked for it, the label of what is too unlike them is
    `none of these`, with `unlike` as its score.
    """

    label: str
    score: float
    scores: dict[str, float]
    unlike: float | None = field(default=None, kw_only=True)
    label_set: tuple[str, ...] | None = field(default=None, kw_only=True)
    """Where a coverage was asked for: the labels that hold the true one so often, the most probable first; empty where
    the label is `none of these`, as then no label is the answer."""

    def __repr__(self) -> str:
        told = (f"{one.name}={_in_short(getattr(self, one.name))}" for one in fields(self))
        return f"{type(self).__name__}({', '.join(told)})"

    @override
    def line(self, name: str, scoring: str) -> str:
        """Return the prediction in one line, which neither names nor labels can break or steer."""
        label, name = in_one_line(self.label), in_one_line(name)
        if scoring == "none":
            return f"{self.score:10.4f}  {label}  {name}"
        if scoring == "sigmoid":  # several may be true at once
            others = [(other, score) for other, score in self.scores.items() if other != self.label and score >= 0.5]
            label = ", ".join([label, *(f"{in_one_line(other)} {score:.2%}" for other, score in others)])
        return f"{self.score:7.2%}  {label}  {name}"

    @override
    def plain(self) -> dict[str, object]:
        """Return it as JSON and tables have it."""
        told = asdict(self)
        return {name: value for name, value in told.items() if name not in _WHERE_KNOWN or value is not None}

    @override
    def _repr_html_(self) -> str:
        notes = [] if self.unlike is None else [f"unlike training examples: {self.unlike:.2f} (0 to 1)"]
        rows = [[name, f"{score:.4f}"] for name, score in list(self.best_first().scores.items())[:_ROWS]]
        return Fragment(self.label, table=[["label", "score"], *rows], notes=notes).html()

    def seen_as(self, unlike: float, unknown: float | None) -> Prediction:
        """Return the same with how unlike training examples the input is; from `unknown` on, where it is given, the
        label is none of the model's."""
        if unknown is None or unlike < unknown:
            return replace(self, unlike=unlike)
        label_set = None if self.label_set is None else ()
        return replace(self, label=NONE_OF_THESE, score=unlike, unlike=unlike, label_set=label_set)

    def with_set(self, least: float) -> Prediction:
        """Return the same with the set of the likeliest label and all that have this probability at least."""
        first, *others = self.best_first().scores.items()
        return replace(self, label_set=(first[0], *(name for name, score in others if score >= least)))

    @override
    def first(self, count: int | None) -> Self:
        if count is None:
            return self
        best = self.best_first()
        return replace(best, scores=dict(list(best.scores.items())[:count]))

    @override
    def line_of_labels(self, name: str, scoring: str, *, as_set: bool) -> str:
        del scoring
        if as_set and self.label_set == ():
            return f"{in_one_line(name)}  {self.label}"
        labels = (self.label_set or ()) if as_set else tuple(self.scores)
        told = ", ".join(f"{in_one_line(label)} {self.scores[label]:.2%}" for label in labels)
        none = f"{NONE_OF_THESE}, else " if self.label == NONE_OF_THESE and self.label not in self.scores else ""
        return f"{in_one_line(name)}  {none}{told}"

    def best_first(self) -> Self:
        """Return the same with its scores in falling order."""
        ordered = sorted(self.scores.items(), key=lambda entry: -entry[1])
        return replace(self, scores=dict(ordered))


@dataclass(frozen=True, repr=False)
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
        interval = (
            "" if self.low is None or self.high is None else f"  ({shown_value(self.low)} to {shown_value(self.high)})"
        )
        return f"{shown_value(self.value):>10}{interval}  {in_one_line(name)}"

    @override
    def plain(self) -> dict[str, object]:
        return {"value": self.value, "low": self.low, "high": self.high}

    @override
    def _repr_html_(self) -> str:
        return Predicted._repr_html_(self)


def prediction_of(names: Sequence[str], scores: Sequence[float] | np.ndarray) -> Prediction:
    """Return the prediction with these scores (C,) of the labels `names`."""
    by_name = {name: float(value) for name, value in zip(names, scores, strict=True)}
    best = max(by_name, key=lambda name: by_name[name])
    return Prediction(best, by_name[best], by_name)


@dataclass(frozen=True)
class Answer(Predicted):
    """The answer to one question: the characters start..end of its context (empty for none), and its probability."""

    answer: str
    score: float
    start: int
    end: int

    @override
    def line(self, name: str, scoring: str) -> str:
        """Return the answer in one line."""
        del name, scoring
        return f"{self.score:7.2%}  {in_one_line(self.answer) or '(no answer)'}"

    @override
    def plain(self) -> dict[str, object]:
        """Return it as JSON and tables have it."""
        return asdict(self)


@dataclass(frozen=True)
class Manner:
    """How texts are written where a person says it."""

    max_new_tokens: int | None = None
    """After so many tokens a text ends; None for the model's own number."""
    temperature: float = 0.0
    """0 takes the likeliest token; above it tokens are drawn, the more evenly the higher it is."""
    seed: int = 0
    """What is drawn follows from it."""
    tell: Callable[[int, str], None] | None = None
    """Gets each text so far, by its place, as it grows."""

    def require_sound(self) -> None:
        """Return if texts can be written so.

        Raises:
            RecipeError: they can't; all that is wrong is told.
        """
        faults = []
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            faults.append(must_be("max_new_tokens", "1 or more", self.max_new_tokens))
        if not 0 <= self.temperature <= 100:
            faults.append(must_be("temperature", "a number from 0 (the likeliest token) to 100", self.temperature))
        if self.seed < 0:
            faults.append(must_be("seed", "0 or more", self.seed))
        if faults:
            raise RecipeError(*faults)


@dataclass(frozen=True)
class Generation(Predicted):
    """The text written for one prompt, whether it ended by itself, its tokens (the one that ended it left
    out), and the log of their probability together, in nats."""

    text: str
    stopped: bool
    tokens: tuple[int, ...]
    log_probability: float

    @property
    def shown(self) -> str:
        """The text for people: one without a visible character is told in words, one that did not end has … behind."""
        text = self.text
        if not text.strip():
            text = f"(only special tokens and spaces: {len(self.tokens)})" if self.tokens else "(only end-of-turn)"
        return f"{text}{'' if self.stopped else ' …'}"

    @override
    def line(self, name: str, scoring: str) -> str:
        """Return the text in one line, after the prompt."""
        del scoring
        return f"{in_one_line(name)}  {in_one_line(self.shown)}"

    @override
    def plain(self) -> dict[str, object]:
        """Return it as JSON and tables have it."""
        return {**asdict(self), "tokens": len(self.tokens)}


@dataclass(frozen=True)
class Entity:
    """An entity: the characters start..end of the text, its type, and the mean probability of its words' tags."""

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Entities(Predicted):
    """The entities of one text in their order; of plain tags every word with its tag."""

    entities: tuple[Entity, ...]

    @override
    def line(self, name: str, scoring: str) -> str:
        """Return the entities in one line, after the text."""
        del scoring
        told = (f"{in_one_line(one.text)} ({in_one_line(one.label)} {one.score:.2%})" for one in self.entities)
        return f"{in_one_line(name)}  {', '.join(told) or '(no entity)'}"

    @override
    def plain(self) -> dict[str, object]:
        """Return them as JSON and tables have them."""
        return asdict(self)


@dataclass(frozen=True, eq=False, repr=False)
class SegmentedImage(Predicted):
    """The class of each pixel of one image: `ids` (H, W) count in `names`; `values` are those that masks in training
    have for them, and `colors` (red, green and blue, 0 to 255) theirs, or where they had none those of our pictures."""

    ids: np.ndarray
    names: tuple[str, ...]
    values: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...]

    @property
    def mask(self) -> np.ndarray:
        """The mask (H, W) of uint8 with the values that masks in training have."""
        import numpy as np

        values = np.asarray(self.values, dtype=np.uint8 if max(self.values) < 256 else np.uint16)
        return np.asarray(values[self.ids])

    @property
    def shares(self) -> dict[str, float]:
        """The share of pixels of each class that there is, the largest first."""
        import numpy as np

        counts = np.bincount(self.ids.ravel(), minlength=len(self.names)) / max(1, self.ids.size)
        order = sorted(range(len(self.names)), key=lambda place: -counts[place])
        return {self.names[place]: float(counts[place]) for place in order if counts[place]}

    def image(self) -> Image.Image:
        """Return the mask as an image with a palette, whose indices are the values of `mask`."""
        from PIL import Image

        mask = self.mask
        if mask.dtype.itemsize > 1:
            return Image.fromarray(mask)
        picture = Image.fromarray(mask, "P")
        palette = [0] * 768
        for color, value in zip(self.colors, self.values, strict=True):
            palette[3 * value : 3 * value + 3] = color
        picture.putpalette(palette)
        return picture

    def overlay(self, picture: Image.Image, opacity: float = 0.5) -> Image.Image:
        """Return an image with the classes in colour over it."""
        return colored_over(picture, self.ids, opacity)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write the mask as a PNG file with a palette: usable as a label."""
        self.image().save(file, "PNG")

    @override
    def _repr_html_(self) -> str:
        rows = [[label, f"{share:.1%}"] for label, share in list(self.shares.items())[:_ROWS]]
        tiles = [Thumbnail(small_uri(self._repr_png_()), wide=True)]
        return Fragment("mask", table=[["class", "share of pixels"], *rows], tiles=tiles).html()

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.image().save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        shares = ", ".join(f"{label} {share:.1%}" for label, share in list(self.shares.items())[:4])
        return f"SegmentedImage({self.ids.shape[1]} x {self.ids.shape[0]}: {shares})"

    @override
    def line(self, name: str, scoring: str) -> str:
        """Return the largest classes in one line, after the name."""
        del scoring
        told = ", ".join(f"{in_one_line(label)} {share:.1%}" for label, share in list(self.shares.items())[:6])
        return f"{in_one_line(name)}  {told}"

    @override
    def plain(self) -> dict[str, Any]:
        """Return it as JSON and tables have it, without the pixels."""
        return {"height": self.ids.shape[0], "width": self.ids.shape[1], "shares": self.shares}

    def served(self) -> dict[str, Any]:
        """Return the same with the mask as a PNG file in base64, and the colour of each class."""
        import base64

        colors = {name: "#{:02x}{:02x}{:02x}".format(*own) for name, own in zip(self.names, self.colors, strict=True)}
        return {**self.plain(), "mask": base64.b64encode(self._repr_png_()).decode(), "colors": colors}


def class_color(place: int) -> tuple[int, int, int]:
    """Return the colour of a class by its place: dark for the first, often the background, then hues far apart."""
    import colorsys

    if place == 0:
        return 48, 48, 56
    # Steps of the golden ratio around the circle never come near an earlier hue.
    hue = (0.02 + (place - 1) * 0.61803399) % 1.0
    light, strength = (0.95, 0.7, 0.85)[place % 3], (0.75, 0.9, 0.55)[place // 3 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, strength, light)
    return round(255 * red), round(255 * green), round(255 * blue)


def colored_over(picture: Image.Image, ids: np.ndarray, opacity: float = 0.5) -> Image.Image:
    """Return a picture, at the size of class ids (H, W), with their colours over it; ids below 0 stay bare."""
    import numpy as np
    from PIL import Image

    base = np.asarray(picture.convert("RGB").resize((ids.shape[1], ids.shape[0])), dtype=np.float32)
    colors = np.array([class_color(place) for place in range(max(1, int(ids.max(initial=0)) + 1))], dtype=np.float32)
    mixed = (1 - opacity) * base + opacity * colors[np.maximum(ids, 0)]
    return Image.fromarray(np.where((ids >= 0)[..., None], mixed, base).round().astype(np.uint8))


def in_one_line(text: str) -> str:
    """Return a text without what would break or steer a line on a terminal."""
    return printable(text).replace("\t", "\\t").replace("\n", "\\n")
