"""Predictions of what a person names on the command line, told as they come: as lines, JSON or a table."""

from __future__ import annotations

import csv as csv_format
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hftransfer.base.errors import (
    DataError,
    OutputError,
    RecipeError,
    must_be,
    printable,
    printable_json,
    some,
    user_path,
)
from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.base.tabular import cell
from hftransfer.data.inputs import InputRequest, passed_over
from hftransfer.data.reading import NamedInput, Reader
from hftransfer.data.rows import StoredImage
from hftransfer.demo.drawings import DRAWINGS, Drawings
from hftransfer.predictors.predictor import Predictor, require_several
from hftransfer.tasks.facts import OF_DRAWINGS
from hftransfer.tasks.outcomes import Generation, Manner, Predicted

if TYPE_CHECKING:
    from hftransfer.predictors.dual import DualPredictor

# Inputs from which on a person is shown how far it is.
_BAR_FROM = 64


@dataclass(frozen=True)
class PredictRequest(InputRequest):
    """The inputs and options of `hftransfer predict`."""

    labels: str | None = None
    prompts: tuple[str, ...] = ()
    threshold: float | None = None
    top: int | None = None
    """How many labels are told, the most probable first."""
    coverage: float | None = None
    """How often the labels that are told hold the true one."""
    unknown: float | None = None
    """From which share of less unusual training examples on an input is none of the classes."""
    csv: Path | None = None
    out: Path | None = None
    """Of segmentation: the folder for masks."""
    overlay: bool = False
    tile: int | None = None
    as_json: bool = False
    max_new_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None

    @property
    def manner(self) -> Manner:
        """How texts are written, where a person says it."""
        return Manner(self.max_new_tokens, self.temperature or 0.0, self.seed or 0)


Outcome = Predicted | DataError


def predict_inputs(
    predictor: Predictor | DualPredictor, request: PredictRequest, progress: Progress, lines: Iterable[str]
) -> None:
    """Tell a prediction for every input, and afterwards which could not be read.

    Raises:
        RecipeError: what is asked for does not go with the model.
        DataError: inputs can't be read; all others are predicted and told first.
        OutputError: the table can't be written.
    """
    if request.threshold is not None:
        require_several(predictor).use_threshold(request.threshold)
    _be_sure(predictor, request)
    _require_labels(predictor, request)
    if request.as_json and str(request.csv) == "-":
        raise RecipeError(must_be("--csv", "a file with --json", "'-'"))
    masks = _masks_of(predictor, request)
    named, outcomes = _outcomes(predictor, request, lines)
    _tell_passed_over(request, predictor.reader)
    warn_of_drawings(predictor, named)
    names = predictor.class_names if isinstance(predictor, Predictor) and request.top is None else ()
    faults: list[str] = []
    told: list[JsonObject] = []
    total = len(named) if len(named) >= _BAR_FROM else 0
    with _table(request.csv, names) as write, progress.stage("predicting", total) as on:
        for one, outcome in zip(named, outcomes, strict=True):
            if total:
                on(1)
            if isinstance(outcome, DataError):
                faults += outcome.faults
                write({"input": one.name, "error": " ".join(outcome.faults)})
                continue
            shown = outcome.first(request.top)
            shown_input = list(one.value) if isinstance(one.value, tuple) else one.name
            entry = {"input": shown_input, **shown.plain()}
            if masks is not None:
                entry["mask"] = str(masks.write(one, outcome))
            write(entry if request.top is None else _ranked(entry))
            if request.as_json:
                told.append(entry)
            elif isinstance(outcome, Generation) and _is_alone(named, predictor, request):
                on_terminal = "" if outcome.text.strip() else outcome.shown  # the rest has appeared as it was written
                print(on_terminal if sys.stdout.isatty() else printable(outcome.text), flush=True)
            elif request.csv is None:
                print(_line(shown, one.name, predictor, request), flush=True)
    if request.as_json:
        _print_json(told, alone=isinstance(predictor, Predictor) and request.question is not None)
    if faults:
        raise DataError(*faults)


def _line(outcome: Predicted, name: str, predictor: object, request: PredictRequest) -> str:
    """Return what is said of one input in a line."""
    scoring = predictor.scoring if isinstance(predictor, Predictor) else "softmax"
    if request.coverage is None and request.top is None:
        return outcome.line(name, scoring)
    return outcome.line_of_labels(name, scoring, as_set=request.coverage is not None)


def _print_json(told: Sequence[JsonObject], *, alone: bool) -> None:
    """Print what was said of all inputs; one question on the command line gets its answer alone, not a list."""
    only = alone and told
    shown = {key: value for key, value in told[0].items() if key != "input"} if only else {"predictions": told}
    print(printable_json(json.dumps(shown, indent=2, ensure_ascii=False, allow_nan=False)))


def _be_sure(predictor: Predictor | DualPredictor, request: PredictRequest) -> None:
    """Let the model say what it does not know, as far as it is asked to.

    Raises:
        RecipeError: it can't, or what is asked for goes together with something else only.
    """
    given = {"--unknown": request.unknown, "--coverage": request.coverage}
    faults = [
        must_be(name, "left out for a dual encoder", value)
        for name, value in given.items()
        if value is not None and not isinstance(predictor, Predictor)
    ]
    if request.coverage is not None and request.top is not None:
        faults.append(must_be("--top", "left out with --coverage, which says how many labels are told", request.top))
    if faults:
        raise RecipeError(*faults)
    if isinstance(predictor, Predictor):
        if request.unknown is not None:
            predictor.use_unknown(request.unknown)
        if request.coverage is not None:
            predictor.use_coverage(request.coverage)


def _require_labels(predictor: Predictor | DualPredictor, request: PredictRequest) -> None:
    """Return if the model says what the options are about.

    Raises:
        RecipeError: it gives no scores of labels.
    """
    if request.top is None or not isinstance(predictor, Predictor) or predictor.scores_labels:
        return
    raise RecipeError(must_be("--top", "left out for a model that gives no scores of labels", request.top))


def _ranked(entry: JsonObject) -> JsonObject:
    """Return a row of a table with the labels in their order: `label`, `score`, `label_2`, `score_2`, …"""
    ranked = {key: value for key, value in entry.items() if key != "scores"}
    for place, (label, score) in enumerate(entry["scores"].items(), 1):
        end = "" if place == 1 else f"_{place}"
        ranked |= {f"label{end}": label, f"score{end}": score}
    return ranked


def _masks_of(predictor: Predictor | DualPredictor, request: PredictRequest) -> MaskWriter | None:
    """Return what writes masks, where they are wanted.

    Raises:
        RecipeError: the model makes none, or an option goes with another.
        OutputError: the folder can't be written.
    """
    makes_masks = isinstance(predictor, Predictor) and predictor.task.has_maps
    given = {"--out": request.out, "--overlay": request.overlay or None, "--tile": request.tile}
    if not makes_masks:
        faults = [
            must_be(name, "left out for a model that makes no masks", v) for name, v in given.items() if v is not None
        ]
        if faults:
            raise RecipeError(*faults)
        return None
    if request.tile is not None and isinstance(predictor, Predictor):
        predictor.use_tiles(request.tile)
    if request.out is None:
        if request.overlay:
            raise RecipeError(must_be("--overlay", "given together with --out, the folder for the masks", "alone"))
        return None
    folder = user_path(request.out, "--out", OutputError)
    return MaskWriter(folder, overlay=request.overlay, pixels=predictor.pixels)


class MaskWriter:
    """Writes masks into a folder, each under the name of its image."""

    def __init__(self, folder: Path, *, overlay: bool, pixels: tuple[float, float] | None = None) -> None:
        self.folder, self.overlay, self.pixels = folder, overlay, pixels
        self._names: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(must_be(f"the folder {folder}", "writable", error.strerror or str(error))) from error

    def write(self, one: NamedInput, outcome: Any) -> Path:
        """Return the file with the mask of an input.

        Raises:
            OutputError: it can't be written.
        """
        from hftransfer.predictors.inputs import decoded

        stem = base = Path(one.name).stem or "image"
        number = 1
        while stem in self._names:  # images of several folders may have one name
            number += 1
            stem = f"{base}-{number}"
        self._names.add(stem)
        file = self.folder / f"{stem}.png"
        try:
            outcome.save(file)
            if self.overlay:
                picture = decoded(one.value, 0, self.pixels)
                if not isinstance(picture, DataError):
                    outcome.overlay(picture).save(self.folder / f"{stem}-overlay.jpg", quality=90)
        except OSError as error:
            raise OutputError(must_be(f"the mask {file}", "writable", error.strerror or str(error))) from error
        return file


def _tell_passed_over(request: PredictRequest, reader: Reader) -> None:
    """Say, on standard error, which files of folders are not read."""
    names = passed_over(request.inputs, reader)
    if names:
        told = printable(some(names, 3))
        print(f"skipped, as their names are not those of {reader.inputs}: {told}", file=sys.stderr)


def warn_of_drawings(predictor: Predictor | DualPredictor, named: Sequence[NamedInput]) -> None:
    """Say, on standard error, that a model which learned from drawings is given something else."""
    if not isinstance(predictor, Predictor) or predictor.facts.data != DRAWINGS:
        return
    drawings = Drawings()
    sound = (one.value for one in named if not isinstance(one.value, DataError))
    if not all(drawings.holds(value.read() if isinstance(value, StoredImage) else value) for value in sound):
        remedy = "hftransfer zero-shot bundled/dual-encoder IMAGE --labels cat,dog, or train on photos of your own"
        print(f"warning: this model is not for photos: {OF_DRAWINGS}. Try {remedy}.", file=sys.stderr)


def _outcomes(
    predictor: Predictor | DualPredictor, request: PredictRequest, lines: Iterable[str]
) -> tuple[list[NamedInput], Iterator[Outcome]]:
    if not isinstance(predictor, Predictor):
        return _chosen(predictor, request, lines)
    _require_no(request, ("labels", "prompts"), "left out for a model with classes of its own")
    if not predictor.task.head.writes:
        _require_no(request, ("max_new_tokens", "temperature", "seed"), "left out for a model that writes no texts")
    given = request.named(predictor.reader, predictor.columns, lines)
    manner = request.manner
    if _is_alone(given, predictor, request) and sys.stdout.isatty():
        manner = replace(manner, tell=_Stream().tell)
    return given, predictor.predict_each([one.value for one in given], manner)


def _is_alone(given: Sequence[NamedInput], predictor: Predictor | DualPredictor, request: PredictRequest) -> bool:
    """Return whether one text alone is written, and shown as it is."""
    writes = isinstance(predictor, Predictor) and predictor.task.head.writes
    return writes and len(given) == 1 and not request.as_json and request.csv is None


class _Stream:
    """Shows a text as it grows."""

    def __init__(self) -> None:
        self._shown = ""

    def tell(self, place: int, text: str) -> None:
        """Print what is new of a text; half a character waits for its other half."""
        del place
        if text.startswith(self._shown) and not text.endswith("\ufffd"):
            print(printable(text[len(self._shown) :]), end="", flush=True)
            self._shown = text


def _chosen(
    predictor: DualPredictor, request: PredictRequest, lines: Iterable[str]
) -> tuple[list[NamedInput], Iterator[Outcome]]:
    _require_no(request, ("question", "context", "pair", "pair_column"), "left out for images")
    if request.labels is None:
        remedy = "A dual encoder has no classes of its own."
        raise RecipeError(must_be("--labels", 'what to choose between, as in "cat,dog"', "none", remedy))
    names = [label.strip() for label in request.labels.split(",")]
    prompts = request.prompts[0] if len(request.prompts) == 1 else list(request.prompts) or "simple"
    given = request.named(predictor.reader, predictor.columns, lines)
    return given, predictor.predict_each([one.value for one in given], names, prompts=prompts)


def _require_no(request: PredictRequest, names: Sequence[str], allowed: str) -> None:
    given = {name: getattr(request, name) for name in names if getattr(request, name)}
    options = {name: "--prompt" if name == "prompts" else f"--{name.replace('_', '-')}" for name in given}
    faults = [must_be(options[name], allowed, f"'{value}'") for name, value in given.items()]
    if faults:
        raise RecipeError(*faults)


def _in_cell(several: Sequence[object] | Mapping[str, object]) -> str:
    """Return several labels joined, and other lists and mappings as JSON."""
    if not isinstance(several, Mapping) and all(isinstance(one, str) for one in several):
        return "|".join(map(str, several))
    return json.dumps(several, ensure_ascii=False)


@contextmanager
def _stdout() -> Iterator[TextIO]:
    yield sys.stdout
    sys.stdout.flush()


@contextmanager
def _table(path: Path | None, names: Sequence[str]) -> Iterator[Callable[[JsonObject], None]]:
    """Give a function that writes one row of a table; the scores of labels come in columns of their own, in the order
    of the model's names where it has some.

    Raises:
        OutputError: the file can't be written.
    """
    if path is None:
        yield lambda _: None
        return
    file = user_path(path, "--csv", OutputError)
    try:
        with _stdout() if str(path) == "-" else file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv_format.writer(stream, lineterminator="\n")
            waiting: list[JsonObject] = []
            columns: list[str] = []

            def write(row: JsonObject) -> None:
                scores = row.get("scores", {})
                flat = {**row, **{f"score_{name}": scores[name] for name in (names or scores) if name in scores}}
                flat.pop("scores", None)
                flat |= {name: _in_cell(value) for name, value in flat.items() if isinstance(value, tuple | dict)}
                flat["input"] = " | ".join(row["input"]) if isinstance(row["input"], list) else row["input"]
                # Errors that come first wait until the columns are known.
                waiting.append(flat)
                if not columns and "error" not in row:  # the first that was read tells what columns there are
                    columns.extend([*flat, "error"])
                    writer.writerow([cell(name) for name in columns])
                while columns and waiting:
                    own = waiting.pop(0)
                    writer.writerow([cell(own.get(name, "")) for name in columns])

            yield write
            if waiting:
                writer.writerow(["input", "error"])
                writer.writerows([cell(row["input"]), cell(row["error"])] for row in waiting)
    except BrokenPipeError:
        raise  # whoever read standard output has enough
    except OSError as error:
        raise OutputError(must_be(f"the table {file}", "writable", error.strerror or str(error))) from error
