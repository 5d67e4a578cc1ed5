"""Test examples of which strategies say different things, and what each of them looks at, or draws as its mask."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hftransfer.base.errors import HftransferError
from hftransfer.base.plain import shown_value
from hftransfer.base.progress import Progress
from hftransfer.data.images import enough_for
from hftransfer.data.inspection import decode_row
from hftransfer.data.mask_files import Mask
from hftransfer.jobs.examples import in_turns
from hftransfer.jobs.session import load_rows, load_splits
from hftransfer.recipe import load_recipe
from hftransfer.study.paired import GIVEN, TABLE

if TYPE_CHECKING:
    from hftransfer.data.rows import Row
    from hftransfer.study.results import Arm, CellResult, Study

_MOST, _MOST_ARMS = 6, 3
_PATIENCE_SECONDS = 10.0
"""No third model is asked for its maps after so long."""
_PX, _LONGEST = 320, 400
_OPACITY = 0.65


@dataclass(frozen=True)
class Verdict:
    """The word of an arm on an example, and a picture of what it looked at, where it has one."""

    arm: str
    said: str
    score: float
    """As the metric by which arms are compared has it of one example."""
    map: Image.Image | None = None


@dataclass(frozen=True)
class Disagreement:
    """A test example, by its name, and what each arm says of it: mostly one that they do not agree on."""

    name: str
    truth: str
    verdicts: Sequence[Verdict]
    texts: Sequence[str] = ()
    image: Image.Image | None = field(default=None, repr=False)
    mask: Image.Image | None = field(default=None, repr=False)
    """The true mask over the image, of segmentation; the maps of the verdicts are then the predicted ones."""
    classes: Sequence[str] = ()
    """The names of the classes in the masks, each of which has its `class_color`."""


def disagreements(study: Study, data: object = None) -> list[Disagreement]:
    """Return some test examples of one seed on which the best arms differ most, every pattern of who is right in turn;
    none where there is one arm, or the examples can't be read any more. `data` holds the rows, where no recipe names
    them."""
    results = _of_one_seed(study.arms[:_MOST_ARMS])
    if len(results) < 2:
        return []
    try:
        rows = _test_rows(results[0][1], data)
    except (HftransferError, OSError):
        return []  # the comparison is whole without them
    scores = [result.scores or {} for _, result in results]
    shared = [name for name in scores[0] if name in rows and all(name in own for own in scores)]
    spread = {name: max(own[name] for own in scores) - min(own[name] for own in scores) for name in shared}
    order = sorted((name for name in shared if spread[name] > 0), key=lambda name: -spread[name])
    middle = {name: np.mean([own[name] for own in scores]) for name in order}
    patterns = ["".join("+" if own[name] > middle[name] else "-" for own in scores) for name in order]
    chosen = [order[place] for place in in_turns(range(len(order)), patterns, _MOST)]
    told = [_told_in(result) for _, result in results]
    found = [_of_row(rows[name], name, results, told) for name in chosen]
    pictured = _with_masks if any(isinstance(rows[name].target, Mask) for name in chosen) else _with_maps
    return pictured(found, results, [rows[name] for name in chosen])


def agreed_on(study: Study, data: object = None) -> Disagreement | None:
    """Return the test example that the best arms do best on together, for where they disagree on none; None where no
    run finished, or the examples can't be read any more."""
    results = _of_one_seed(study.arms[:_MOST_ARMS])
    try:
        rows = _test_rows(results[0][1], data) if results else {}
    except (HftransferError, OSError):
        return None  # the comparison is whole without it
    scores = [result.scores or {} for _, result in results]
    shared = [name for name in rows if all(name in own for own in scores)]
    if not shared:
        return None
    best = max(shared, key=lambda name: sum(own[name] for own in scores))
    return _of_row(rows[best], best, results, [_told_in(result) for _, result in results])


def _of_row(
    row: Row,
    name: str,
    results: Sequence[tuple[Arm, CellResult]],
    told: Sequence[Mapping[str, tuple[str, str]]],
) -> Disagreement:
    """Return a test example with what each arm said of it, and its picture where it has one."""
    verdicts = [
        Verdict(arm.name, own.get(name, ("", ""))[1], (result.scores or {})[name])
        for (arm, result), own in zip(results, told, strict=True)
    ]
    texts = [text[:_LONGEST] for text in row.content.texts]
    return Disagreement(name, told[0].get(name, ("", ""))[0], verdicts, texts, None if texts else _image_of(row))


def _of_one_seed(arms: Sequence[Arm]) -> list[tuple[Arm, CellResult]]:
    """Return each arm with its run of the first seed that all of them have."""
    seeds = [{result.cell.seed: result for result in arm.results} for arm in arms]
    shared = [seed for seed in (seeds[0] if seeds else ()) if all(seed in own for own in seeds)]
    return [(arm, own[shared[0]]) for arm, own in zip(arms, seeds, strict=True)] if shared else []


def _test_rows(result: CellResult, data: object) -> dict[str, Row]:
    recipe, silent = load_recipe(result.cell.document).recipe, Progress(None)
    splits = load_splits(recipe, load_rows(recipe, data, silent), silent)
    # The class ids of a mask are in the model's order in what is learned from it, and not in the row itself.
    targets = zip(splits.test.rows, splits.test.targets, strict=True)
    return {str(row.id): replace(row, target=own) if isinstance(own, Mask) else row for row, own in targets}


def _told_in(result: CellResult) -> dict[str, tuple[str, str]]:
    """Return the truth and the prediction of each test example, as the table of the run has them."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(result.folder / TABLE).to_pydict()
    names = [str(name) for name in table["id"]]
    given = next((table[column] for column in GIVEN if column in table), [""] * len(names))
    # Of masks there is no word in the table: how well each fits says as much.
    said = table.get("prediction") or [f"mean IoU {(result.scores or {}).get(name, 0.0):.2f}" for name in names]
    return {name: (_words(truth), _words(own)) for name, truth, own in zip(names, given, said, strict=True)}


def _words(value: object) -> str:
    if isinstance(value, float):
        return shown_value(value)
    parts = [str(part) for part in value] if isinstance(value, list | tuple) else [str(value)]
    return ", ".join(dict.fromkeys(parts))[:_LONGEST]


def _image_of(row: Row) -> Image.Image | None:
    try:
        image = decode_row(row, enough_for(_PX))
    except HftransferError:
        return None
    image.thumbnail((_PX, _PX))
    return image


def _with_maps(
    found: list[Disagreement], results: Sequence[tuple[Arm, CellResult]], rows: Sequence[Row]
) -> list[Disagreement]:
    """Return the same with what each arm looked at, where its task has maps and its model is there."""
    if not found or any(one.image is None for one in found):
        return found
    began = time.perf_counter()
    maps: list[list[Image.Image | None]] = []
    for number, (_, result) in enumerate(results):
        # Two are worth waiting for: one alone says nothing of a difference.
        if number >= 2 and time.perf_counter() - began > _PATIENCE_SECONDS:
            maps.append([None] * len(rows))
            continue
        try:
            maps.append(_maps_of(result, rows))
        except (HftransferError, OSError):
            return found
    return [
        replace(one, verdicts=[replace(v, map=maps[arm][place]) for arm, v in enumerate(one.verdicts)])
        for place, one in enumerate(found)
    ]


def _with_masks(
    found: list[Disagreement], results: Sequence[tuple[Arm, CellResult]], rows: Sequence[Row]
) -> list[Disagreement]:
    """Return the same with the true mask of each image, and the mask that each arm draws."""
    from hftransfer.predictors.load import load

    try:
        images = [decode_row(row) for row in rows]
        drawn: list[list[Any]] = [list(load(result.folder).predict(images)) for _, result in results]
        truths = [row.target.ids() for row in rows]
    except (HftransferError, OSError):
        return found
    shown = []
    for place, (one, image) in enumerate(zip(found, images, strict=True)):
        pairs = zip(one.verdicts, drawn, strict=True)
        verdicts = [replace(verdict, map=_masked(image, own[place].ids)) for verdict, own in pairs]
        names = drawn[0][place].names
        shown.append(replace(one, verdicts=verdicts, mask=_masked(image, truths[place]), classes=names))
    return shown


def _masked(image: Image.Image, ids: np.ndarray) -> Image.Image:
    """Return an image under the colours of its class ids (H, W), small."""
    from hftransfer.tasks.outcomes import colored_over

    picture = colored_over(image, ids, _OPACITY)
    picture.thumbnail((_PX, _PX))
    return picture


def _maps_of(result: CellResult, rows: Sequence[Row]) -> list[Image.Image | None]:
    from hftransfer.attribution.explaining import explain_each
    from hftransfer.attribution.explanation import ImageExplanation
    from hftransfer.predictors.load import load

    model = load(result.folder)
    if model.explains != "maps":
        return [None] * len(rows)
    shown: list[Image.Image | None] = []
    for one in explain_each(model, [decode_row(row) for row in rows]):
        if not isinstance(one, ImageExplanation):
            shown.append(None)
            continue
        picture = Image.fromarray((255 * one.overlaid).round().astype(np.uint8))
        picture.thumbnail((_PX, _PX))
        shown.append(picture)
    return shown
