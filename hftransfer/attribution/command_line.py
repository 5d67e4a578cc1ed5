"""Explanations of what a person names on the command line: pictures, a page, and what they come to in a line each."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hftransfer.attribution.explaining import explain_each
from hftransfer.attribution.explanation import Explanation, ImageExplanation, in_one_line, page_of
from hftransfer.base.errors import DataError, RecipeError, WriteError, must_be, printable
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import new_folder
from hftransfer.data.inputs import InputRequest
from hftransfer.predictors.predictor import Predictor

if TYPE_CHECKING:
    from hftransfer.predictors.dual import DualPredictor

_ON_SHEET = 24


@dataclass(frozen=True)
class ExplainRequest(InputRequest):
    """The inputs and options of `hftransfer explain`."""

    label: str | None = None
    labels: tuple[str, ...] = ()
    method: str = "auto"
    truth: bool = True
    region: str | None = None
    """Of a segmenter: left, top, right, bottom as shares of the image's sides."""
    out: Path | None = None


def region_of(text: str | None) -> tuple[float, float, float, float] | None:
    """Return the part of an image that a text such as `0.2,0.4,0.5,0.9` names.

    Raises:
        RecipeError: it names none.
    """
    if text is None:
        return None
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        allowed = "left,top,right,bottom as shares of the image's sides, such as 0.2,0.4,0.5,0.9"
        raise RecipeError(must_be("--region", allowed, f"'{text}'")) from None
    return left, top, right, bottom


@dataclass(frozen=True)
class Shown:
    """One explanation, and the name of its input."""

    name: str
    explained: Explanation


def explain_inputs(
    model: Predictor | DualPredictor, request: ExplainRequest, progress: Progress, lines: Iterable[str]
) -> Path:
    """Return the folder with a picture of each image, `sheet.png` of several, `explanations.html` and
    `explanations.json`; tells a line of each.

    Raises:
        RecipeError: what is asked for does not go with the model.
        DataError: inputs can't be read; all others are explained and written first.
        OutputError: the folder holds other files, or can't be written.
    """
    faults: list[str] = []
    shown: list[Shown] = []
    with new_folder(request.out, "explanations") as folder:
        for name, outcome in _outcomes(model, request, progress, lines):
            if isinstance(outcome, DataError):
                faults += outcome.faults
                continue
            shown.append(Shown(name, outcome))
            print(printable(line_of(shown[-1])), flush=True)
        if shown:
            write_explanations(folder.draft, shown)
    if faults:
        raise DataError(*faults)
    return folder.path


def _outcomes(
    model: Predictor | DualPredictor, request: ExplainRequest, progress: Progress, lines: Iterable[str]
) -> Iterator[tuple[str, Explanation | DataError]]:
    pairs = isinstance(model, Predictor) and bool(model.facts.pairs)
    named = request.named(model.reader, lines, pairs=pairs)
    values = [one.value for one in named]
    explained = explain_each(
        model,
        values,
        label=request.label,
        labels=request.labels,
        method=request.method,
        truth=request.truth,
        region=region_of(request.region),
    )
    with progress.stage("explaining", len(named)) as advance:
        for one, outcome in zip(named, explained, strict=True):
            advance(1)
            yield one.name, outcome


def line_of(shown: Shown) -> str:
    """Return an explanation in a line."""
    return shown.explained.line(in_one_line(shown.name))


# --- files -----------------------------------------------------------------------------------------------------------


def write_explanations(folder: Path, shown: Sequence[Shown]) -> None:
    """Write a picture of each image and a sheet of several, the page and the numbers.

    Raises:
        WriteError: they can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pictures = {}
        for number, one in enumerate(shown):
            if one.explained.has_picture:
                # Numbered, as files in several folders may have the same name.
                place = folder / f"{number:03d}-{_safe(Path(one.name).stem)}.png"
                place.write_bytes(cast("ImageExplanation", one.explained).picture())
                pictures[number] = place.read_bytes()
        if len(pictures) > 1:
            _draw_sheet(folder / "sheet.png", [one for place, one in enumerate(shown) if place in pictures])
        entries = [one.explained.entry(one.name, pictures.get(number)) for number, one in enumerate(shown)]
        (folder / "explanations.html").write_text(page_of(entries), encoding="utf-8")
        numbers = [{"input": one.name, **one.explained.as_dict()} for one in shown]
        (folder / "explanations.json").write_text(json.dumps(numbers, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise WriteError(must_be(f"the folder {folder}", "writable", str(error))) from error


def _draw_sheet(path: Path, shown: Sequence[Shown]) -> None:
    """Draw the first images with their maps over them, beside each other."""
    from hftransfer.report.figures import draw_sheet, short_label

    images, captions = [], []
    for one in shown[:_ON_SHEET]:
        explained = cast("ImageExplanation", one.explained)
        images.append(explained.overlaid)
        told = f"{short_label(explained.label, 18)}, {explained.score:.2f}{'; blank map' if explained.is_blank else ''}"
        captions.append(f"{short_label(Path(one.name).name, 26)}\n{told}")
    left = len(shown) - len(images)
    told = f"{len(images)} of {len(shown)} images; {left} are left out" if left else f"{len(shown)} images"
    draw_sheet(path, images, captions, told)


def _safe(name: str) -> str:
    """Return a file's name out of any text."""
    return re.sub(r"[^\w.-]+", "-", html.unescape(name)).strip("-.")[:60] or "input"
