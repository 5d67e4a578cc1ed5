"""Explanations of what a person names on the command line: pictures, a page, and what they come to in a line each."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from hftransfer.attribution.beside import short_names, side_by_side
from hftransfer.attribution.explaining import explain_each
from hftransfer.attribution.explanation import Entry, Explanation, ImageExplanation, heading, in_one_line, page_of
from hftransfer.base.errors import DataError, RecipeError, WriteError, must_be, printable
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import new_folder
from hftransfer.data.inputs import InputRequest, names_model
from hftransfer.data.reading import NamedInput, Reader
from hftransfer.predictors.command_line import warn_of_drawings
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
    """One explanation, the name of its input and, of several models, that of the one that is explained."""

    name: str
    explained: Explanation
    model: str | None = None


Models: TypeAlias = "Mapping[str, Predictor | DualPredictor]"
"""The models that are explained, by the names that a person gave them."""


def parted(inputs: Sequence[str], reader: Reader) -> tuple[list[str], list[str]]:
    """Return the runs and folders of models among inputs, and all that is left."""
    models = [one for one in inputs if names_model(one, reader)]
    return models, [one for one in inputs if one not in models]


def explain_inputs(models: Models, request: ExplainRequest, progress: Progress, lines: Iterable[str]) -> Path:
    """Return the folder with a picture of each image, `sheet.png` of several, `explanations.html` and
    `explanations.json`; tells a line of each. Several models are explained on the same inputs, side by side.

    Raises:
        RecipeError: what is asked for does not go with the models.
        DataError: inputs can't be read; all others are explained and written first.
        OutputError: the folder holds other files, or can't be written.
    """
    faults: dict[str, None] = {}  # each once, however many models meet it
    shown: list[Shown] = []
    with new_folder(request.out, "explanations") as folder:
        for name, outcomes in _outcomes(models, request, progress, lines):
            broken = [fault for one in outcomes.values() if isinstance(one, DataError) for fault in one.faults]
            faults |= dict.fromkeys(broken)
            for model, outcome in outcomes.items():
                if broken or isinstance(outcome, DataError):
                    continue  # what one model can't read is compared with nothing
                shown.append(Shown(name, outcome, model if len(models) > 1 else None))
                print(printable(line_of(shown[-1])), flush=True)
        if shown:
            write_explanations(folder.draft, shown)
    if faults:
        raise DataError(*faults)
    return folder.path


def _outcomes(
    models: Models, request: ExplainRequest, progress: Progress, lines: Iterable[str]
) -> Iterator[tuple[str, dict[str, Explanation | DataError]]]:
    """Yield the name of each input, and what each model's explanation of it is."""
    ways = {name: model.explains for name, model in models.items()}
    if len(set(ways.values())) > 1:
        takes = "; ".join(f"{name} takes {model.takes}" for name, model in models.items())
        raise RecipeError(must_be("the models to compare", "ones that take the same inputs", takes))
    read = list(lines) if "-" in request.inputs else []  # standard input can be read once
    named = {name: _named(model, request, read) for name, model in models.items()}
    for name, model in models.items():
        warn_of_drawings(model, named[name])
    each = [
        explain_each(
            model,
            [one.value for one in named[name]],
            label=request.label,
            labels=request.labels,
            method=request.method,
            truth=request.truth,
            region=region_of(request.region),
        )
        for name, model in models.items()
    ]
    inputs = next(iter(named.values()))
    with progress.stage("explaining", len(inputs)) as advance:
        for one, *outcomes in zip(inputs, *each, strict=True):
            advance(1)
            yield one.name, dict(zip(models, outcomes, strict=True))


def _named(model: Predictor | DualPredictor, request: ExplainRequest, lines: Sequence[str]) -> list[NamedInput]:
    return request.named(model.reader, model.columns, lines)


def line_of(shown: Shown) -> str:
    """Return an explanation in a line."""
    name = in_one_line(shown.name)
    return shown.explained.line(name if shown.model is None else f"{name}, {shown.model}")


# --- files -----------------------------------------------------------------------------------------------------------


def write_explanations(folder: Path, shown: Sequence[Shown]) -> None:
    """Write a picture of each image and a sheet of several, the page and the numbers.

    Raises:
        WriteError: they can't be written.
    """
    models = list(dict.fromkeys(one.model for one in shown))
    inputs = [shown[place : place + len(models)] for place in range(0, len(shown), len(models))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = [entry for number, group in enumerate(inputs) for entry in _entries(folder, number, group)]
        if len(inputs) > 1 and all(one.explained.has_picture for one in shown):
            if len(models) > 1:
                _draw_beside(folder / "sheet.png", inputs[: _ON_SHEET // len(models)])
            else:
                _draw_sheet(folder / "sheet.png", shown)
        (folder / "explanations.html").write_text(page_of(entries), encoding="utf-8")
        numbers = [_numbers(one) for one in shown]
        (folder / "explanations.json").write_text(json.dumps(numbers, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise WriteError(must_be(f"the folder {folder}", "writable", str(error))) from error


def _numbers(one: Shown) -> dict[str, object]:
    model = {} if one.model is None else {"model": one.model}
    return {"input": one.name, **model, **one.explained.as_dict()}


def _entries(folder: Path, number: int, group: Sequence[Shown]) -> list[Entry]:
    """Return what the page shows of one input, by one model or by several; its picture is written, too."""
    first = group[0]
    picture = None
    if first.explained.has_picture:
        # Numbered, as files in several folders may have the same name.
        place = folder / f"{number:03d}-{_safe(Path(first.name).stem)}.png"
        if first.model is None:
            place.write_bytes(cast("ImageExplanation", first.explained).picture())
        else:
            _draw_beside(place, [group])
        picture = place.read_bytes()
    if first.model is None:
        return [first.explained.entry(first.name, picture)]
    names = short_names([str(one.model) for one in group])
    below = [one.explained.entry(name) | {"is_part": True} for name, one in zip(names, group, strict=True)]
    return [heading(first.name, picture), *below]


def _draw_beside(path: Path, inputs: Sequence[Sequence[Shown]]) -> None:
    """Draw each image in a row, with the maps of all models beside each other."""
    rows = [(group[0].name, [cast("ImageExplanation", one.explained) for one in group]) for group in inputs]
    path.write_bytes(side_by_side(rows, short_names([str(one.model) for one in inputs[0]])))


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
