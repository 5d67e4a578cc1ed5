"""Explanations of single predictions, and how each is told: in a line, as plain values, on a page."""

from __future__ import annotations

import io
import itertools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from typing_extensions import TypedDict, override

from hftransfer.attribution.faithfulness import Faithfulness, cells_of
from hftransfer.attribution.maps import is_blank
from hftransfer.attribution.words import Attributed, Word
from hftransfer.base.errors import OutputError, must_be, user_path
from hftransfer.base.html import Fragment, Thumbnail, data_uri, render_page, small_uri
from hftransfer.report.rendering import Marked, marked_words
from hftransfer.tasks.outcomes import Answer, Entity
from hftransfer.tasks.spans import Span

BLANK = "blank map: no place speaks for it"
_SHOWN = 12
# Characters of a context shown on both sides of a span, and of a text that is a heading.
_AROUND, _LONGEST_HEADING = 40, 90


class Entry(TypedDict):
    """The words, spans or picture that a page shows of one explanation."""

    name: str
    line: str
    picture: str
    texts: list[list[dict[str, str]]]
    spans: list[dict[str, str]]
    is_part: bool
    """Whether it is what one of several models says, below the heading of their input."""


def heading(name: str, picture: bytes | None) -> Entry:
    """Return the heading of an input that several models are explained on, and their maps in one picture."""
    shown = data_uri(picture, "png") if picture is not None else ""
    return {"name": heading_of(name), "line": "", "picture": shown, "texts": [], "spans": [], "is_part": False}


def in_one_line(name: str) -> str:
    """Return the name of an input without line breaks; an empty text is a pair of quotes."""
    return " ".join(name.split()) or "''"


def heading_of(name: str) -> str:
    """Return the name of an input, which may be a long text, as a heading."""
    told = in_one_line(name)
    return told if len(told) <= _LONGEST_HEADING else told[: _LONGEST_HEADING - 1].rstrip() + "…"


def page_of(entries: Sequence[Entry]) -> str:
    """Return one page that needs nothing beside it: pictures, coloured words, spans with their scores."""
    return render_page("hftransfer.attribution", "explanations.html.jinja", entries=entries)


class Explanation(ABC):
    """The explanation of the prediction for one input."""

    has_picture: ClassVar[bool] = False

    def save(self, file: str | os.PathLike[str], name: str = "input") -> Path:
        """Return the file: a picture of an image's map (.png), a page (.html) or the numbers (.json); `name` is what
        the page calls the input.

        Raises:
            OutputError: the file ends otherwise, or can't be written.
        """
        path = user_path(os.fspath(file), "the file", OutputError)
        forms: dict[str, Callable[[str], bytes]] = {".html": self._page_bytes, ".json": self._json_bytes}
        if self.has_picture:
            forms[".png"] = lambda _: self._repr_png_() or b""
        if path.suffix not in forms:
            raise OutputError(must_be("the file", f"one that ends in {' or '.join(forms)}", f"'{path.name}'"))
        try:
            path.write_bytes(forms[path.suffix](name))
        except OSError as error:
            raise OutputError(must_be(f"the file {path}", "writable", error.strerror or str(error))) from error
        return path

    def entry(self, name: str, picture: bytes | None = None) -> Entry:
        """Return what a page tells of it; `picture` is its picture, where it has one."""
        return {
            "name": heading_of(name),
            # The heading has the name, and the words below it are its text.
            "line": self.line("").removeprefix(": "),
            "picture": data_uri(picture, "png") if picture is not None else "",
            "texts": self.weighed_words(),
            "spans": self.spans_in_context(),
            "is_part": False,
        }

    def _page_bytes(self, name: str) -> bytes:
        return page_of([self.entry(name, self._repr_png_())]).encode("utf-8", "backslashreplace")

    def _json_bytes(self, name: str) -> bytes:
        told = json.dumps({"input": name, **self.as_dict()}, indent=1, ensure_ascii=False)
        return told.encode("utf-8", "backslashreplace")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title})"

    @property
    def title(self) -> str:
        """The explanation in a line, without the name of its input."""
        return self.line("").removeprefix(": ")

    def _repr_html_(self) -> str:
        picture = self._repr_png_()
        tiles = [Thumbnail(small_uri(picture), wide=True)] if picture is not None else []
        spans = [[one["score"], f"… {one['before']}[{one['text']}]{one['after']} …"] for one in self.spans_in_context()]
        table = [["score", "span"], *spans] if spans else []
        return Fragment(self.title, words=self.weighed_words(), tiles=tiles, table=table).html()

    def _repr_png_(self) -> bytes | None:
        """Return its picture; None where it has none."""
        return None

    @abstractmethod
    def line(self, name: str) -> str:
        """Return the explanation of an input of this name in a line."""

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)  # type: ignore[call-overload, no-any-return] # every explanation is a dataclass

    def weighed_words(self) -> list[list[dict[str, str]]]:
        """Return the words of each text with their colours, all weighed on one scale; none where there are no texts."""
        return []

    def spans_in_context(self) -> list[dict[str, str]]:
        """Return an answer and its neighbours, each within a few words of its context; none where there are none."""
        return []


@dataclass(frozen=True, repr=False, eq=False)
class ImageExplanation(Explanation):
    """A map of the places in an image that speak for a label."""

    has_picture = True

    label: str
    score: float
    """The label's score, as `Prediction` has it; of one prompt alone, its cosine."""
    map: np.ndarray
    """(H, W) in [0, 1] over what the model saw."""
    seen: np.ndarray
    """What the model saw: the image resized and cropped by its preprocessing, (H, W, 3) in [0, 1]."""
    method: str
    truth: Faithfulness | None = None
    """None where it was not asked for, and of a blank map."""
    box: tuple[int, int, int, int] | None = None
    """Of a segmenter that cuts larger images into tiles: the one that is explained, left, top, right and bottom in
    pixels; None of a whole image."""

    @property
    def is_blank(self) -> bool:
        """Return whether the map says nothing: no place speaks for the label, or all do alike."""
        return is_blank(self.map)

    @property
    def overlaid(self) -> np.ndarray:
        """Return what the model saw (H, W, 3), with the map over it where that says something."""
        from hftransfer.report.figures import overlaid

        return self.seen if self.is_blank else overlaid(self.seen, self.map)

    @override
    def line(self, name: str) -> str:
        told = f"{name}: {self.label} {self.score:.4f}{self._in_tile}"
        if self.is_blank:
            return f"{told} ({self.method}; {BLANK})"
        if self.truth is None:
            return f"{told} ({self.method})"
        truth = self.truth
        return (
            f"{told} ({self.method}; deletion {truth.deletion:.2f}, at random {truth.random_deletion:.2f}; "
            f"insertion {truth.insertion:.2f}, at random {truth.random_insertion:.2f})"
        )

    @property
    def _in_tile(self) -> str:
        if self.box is None:
            return ""
        left, top, right, bottom = self.box
        return f" in the tile {left}, {top} to {right}, {bottom}"

    def picture(self) -> bytes:
        """Return a PNG: what the model saw, and the map over it."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        from hftransfer.report.figures import INK, MAP_COLORS, figure_of, save_figure, short_label

        figure = figure_of(6.6, 3.9)
        left, right = figure.subplots(1, 2)
        left.imshow(self.seen)
        right.imshow(self.overlaid)
        for axes in (left, right):
            axes.axis("off")
        told = f"{short_label(self.label, 28)}, {self.score:.2f} ({self.method})"
        seen = "what the model saw" + self._in_tile.replace(" ", "\n", 1)
        left.set_title(seen, loc="left", color=INK, fontsize=9)
        right.set_title(f"{told}\n{BLANK}" if self.is_blank else told, loc="left", color=INK, fontsize=9)
        if not self.is_blank:
            figure.colorbar(ScalarMappable(Normalize(0, 1), MAP_COLORS), ax=right, fraction=0.046, pad=0.02)
        buffer = io.BytesIO()
        save_figure(figure, buffer)
        return buffer.getvalue()

    @override
    def _repr_png_(self) -> bytes | None:
        return self.picture()

    @override
    def as_dict(self) -> dict[str, object]:
        truth = asdict(self.truth) if self.truth is not None else None
        told = {"label": self.label, "score": self.score, "method": self.method, "blank": self.is_blank, "truth": truth}
        told |= {"box": self.box} if self.box is not None else {}
        # Of the whole map JSON would take megabytes: the picture shows it.
        coarse = [[round(float(value), 3) for value in row] for row in cells_of(self.map)]
        return {**told, "map_14x14": coarse}


class _OfWords(Explanation):
    """An explanation by the words of one or several texts."""

    attributed: Attributed

    @property
    def words(self) -> list[Word]:
        """The words of all texts."""
        return [word for part in self.attributed.words for word in part]

    @override
    def weighed_words(self) -> list[list[dict[str, str]]]:
        # Of all texts at once: colours of all are on one scale.
        marked = iter(marked_words(_as_marked(self.words)))
        return [list(itertools.islice(marked, len(part))) for part in self.attributed.words]


@dataclass(frozen=True, repr=False)
class TextExplanation(_OfWords):
    """The words of a text that speak for a label, and those against it."""

    label: str
    score: float
    attributed: Attributed

    @override
    def line(self, name: str) -> str:
        count = sum(word.weight is None for word in self.words)
        unread = f"; {count} word{'s were' if count > 1 else ' was'} not read" if count else ""
        return f"{name}: {self.label} {self.score:.4f}; {_strongest(self.words)}{unread}"


@dataclass(frozen=True)
class EntityExplanation:
    """One entity, and the words of its text that speak for the tag of its first word."""

    entity: Entity
    attributed: Attributed | None
    """None where the entity lies behind what the model reads at once."""

    @property
    def words(self) -> list[Word]:
        """The words of the text."""
        return [] if self.attributed is None else list(self.attributed.words[0])


@dataclass(frozen=True, repr=False)
class EntitiesExplanation(Explanation):
    """The entities of a text, each with the words that speak for it, and those against it."""

    entities: tuple[EntityExplanation, ...]

    @override
    def line(self, name: str) -> str:
        told = "; ".join(
            f"'{one.entity.text}' {one.entity.label} {one.entity.score:.4f} ({_strongest(one.words)})"
            for one in self.entities
        )
        return f"{name}: {told or 'no entity'}"

    @override
    def weighed_words(self) -> list[list[dict[str, str]]]:
        shown = []
        for one in self.entities:
            entity = [{"text": f"{one.entity.text} · {one.entity.label}:", "title": "", "style": "font-weight: 600"}]
            shown.append(entity + marked_words(_as_marked(one.words)))
        return shown


@dataclass(frozen=True, repr=False)
class GenerationExplanation(_OfWords):
    """The words of a prompt that speak for what was written after it, and those against it."""

    text: str
    """The text that was written, or the part of it that is explained."""
    log_probability: float
    """The log probability of that, in nats."""
    attributed: Attributed

    @override
    def line(self, name: str) -> str:
        told = " ".join(self.text.split())
        return f"{name}: '{told}' (log probability {self.log_probability:.2f}); {_strongest(self.words)}"

    @override
    def weighed_words(self) -> list[list[dict[str, str]]]:
        return [*super().weighed_words(), [{"text": f"→ {self.text}", "title": "", "style": "font-weight: 600"}]]


def _strongest(words: Sequence[Word]) -> str:
    """Return the five words that weigh most."""
    weights = [(word.text, word.weight) for word in words if word.weight is not None]
    most = sorted(weights, key=lambda weighed: -abs(weighed[1]))[:5]
    return ", ".join(f"{text} {weight:+.2f}" for text, weight in most) or "no word was read"


def _as_marked(words: Sequence[Word]) -> list[Marked]:
    return [Marked(word.text, word.weight, word.weight is not None) for word in words]


@dataclass(frozen=True, repr=False)
class AnswerExplanation(Explanation):
    """The answer to a question beside the spans that came next."""

    question: str
    context: str
    answer: Answer
    spans: tuple[Span, ...]
    """The best first: text, start, end, and the probability that it is the answer."""

    @override
    def line(self, name: str) -> str:
        spans = "; ".join(f"'{span.text}' {span.score:.3f}" for span in self.spans[:3])
        told = f"'{self.answer.answer}'" if self.answer.answer else "(no answer)"
        return f"{name}: {told} {self.answer.score:.4f}; next: {spans or 'none'}"

    @override
    def spans_in_context(self) -> list[dict[str, str]]:
        found = [(self.answer.answer, self.answer.start, self.answer.end, self.answer.score)]
        found += [(span.text, span.start, span.end, span.score) for span in self.spans]
        return [
            {
                "text": text or "(no answer)",
                "before": self.context[max(0, start - _AROUND) : start],
                "after": self.context[end : end + _AROUND],
                "score": f"{score:.4f}",
            }
            for text, start, end, score in found
        ]


OneKind = TypeVar("OneKind", bound=Explanation)


class Explanations(list[OneKind]):
    """A list of explanations, which a notebook shows one below the other; slices and pickles of it are plain lists."""

    def __reduce__(self) -> tuple[type[list[OneKind]], tuple[list[OneKind]]]:
        return list, (list(self),)

    def _repr_html_(self) -> str:
        left = len(self) - _SHOWN
        more = f"<div>{left:,} more are not shown</div>" if left > 0 else ""
        return "".join(one._repr_html_() for one in self[:_SHOWN]) + more
