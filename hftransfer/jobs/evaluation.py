"""A trained model judged again: on the data of its own run, or on others."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hftransfer.base.errors import DataError, RecipeError, must_be, some
from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.base.runs import at_newest
from hftransfer.data.captions import captioned_split
from hftransfer.data.depth import PixelRange
from hftransfer.data.pictures import CAPTIONED_IMAGES
from hftransfer.data.reading import Reader
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings, settings_from_words
from hftransfer.data.sources import find_rows
from hftransfer.data.splits import Skipped, Split, Splits, build_test_only, check_skipped
from hftransfer.jobs.session import load_rows, load_splits
from hftransfer.predictors.load import load
from hftransfer.predictors.predictor import Predictor, part_of, require_several, rows_of_split
from hftransfer.recipe import Recipe, load_recipe
from hftransfer.tasks.label_map import LabelMap
from hftransfer.tasks.prompts import templates_of, words_for

if TYPE_CHECKING:
    from hftransfer.predictors.dual import DualPredictor


@dataclass(frozen=True)
class JudgedBy:
    """The measure of a model: a split of the data, what its labels mean, and the prompts of a dual encoder."""

    split: str | None = None
    prompts: str | Sequence[str] = "simple"
    label_map: LabelMap | None = None
    """Which class each label of the data means."""
    threshold: float | None = None
    """Of several labels: the probability from which on each is given."""


def evaluate_model(
    model: str,
    data: str | None,
    settings: Sequence[str] = (),
    *,
    by: JudgedBy | None = None,
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    base: str | None = None,
    progress: Progress,
) -> JsonObject:
    """Return the metrics of a model on a split of some data, or without `data` on the test split of the run it came
    from.

    `settings` are keys of a recipe's `data:` section, as in `text_column=review`. A dual encoder is judged by the names
    of the classes, put into the templates `prompts`, or where images have captions by how well they find each other:
    recall at 1, 5 and 10. `label_map` says which class each label of the data means. Without
    `precision` a run's model computes as in its run, so that its figures are those of its page; others in fp32.

    Raises:
        HftransferError: the model, the data or a setting is not as it must be.
    """
    by = by or JudgedBy()
    split, label_map = by.split, by.label_map
    chosen = settings_from_words(data or "memory", settings)
    if data is None and settings:
        raise RecipeError(must_be("data settings", "given together with --data", " ".join(settings)))
    model = at_newest(model)
    then, as_then = _precision_of_run(Path(model))
    predictor: Predictor | DualPredictor = load(model, precision=precision or as_then, base=base)
    now = predictor.compute.precision
    if precision is None and then != "fp32":
        told = f"the precision of its run, {now}" if now == then else f"{now}; its run computed in {then}"
        remedy = "; use --precision fp32 to match plain transformers" if now != "fp32" else ""
        progress.line(f"evaluated in {told}{remedy}")
    if by.threshold is not None:
        require_several(predictor).use_threshold(by.threshold)
    chosen = chosen.after(predictor.columns.learned)
    if not isinstance(predictor, Predictor):
        if label_map is not None:
            raise RecipeError(must_be("--label-map", "left out for a dual encoder, which is given the labels", "given"))
        if data is None:
            return _retrieved_of_own(predictor, Path(model), split or "test", progress)
        found, has_captions = _labels_or_captions(chosen, progress)
        if has_captions:
            from hftransfer.predictors.dual import retrieval

            part, skipped = captioned_split(rows_of_split(found, split), found, chosen, progress, _range_of(predictor))
            _tell_left([(one.id, one.reason) for one in skipped], progress)
            return retrieval(predictor, part, chosen, progress)
        return _judged_by_names(predictor, _of_split(found, split), chosen, by.prompts, progress)
    if data is None:
        return _judged_on_own(predictor, Path(model), split or "test", label_map, progress)
    reader, chosen = predictor.task.reader, predictor.task.read_settings(chosen)
    found = find_rows(chosen, progress, reader, to_test=split in (None, "test"))
    name, rows = part_of(found, split)
    left = [(one.id, one.reason) for one in found.left_out if one.split == ("train" if name == "all" else name)]
    if chosen.on_error == "skip":
        rows, left = _readable(rows, left, reader, chosen, progress)
    for note in found.notes:
        progress.line(note)
    _tell_left(left, progress)
    for note in predictor.notes_on_judging(rows):
        progress.line(note)
    metrics = predictor.evaluate_rows(rows, chosen.decode, label_map, told=found.labels_told)
    if not_judged := metrics.get("labels_not_judged"):
        progress.line(f"not judged, as the data have no columns of them: {some(not_judged)}")
    return metrics


def _readable(
    rows: list[Row], left: list[tuple[str, str]], reader: Reader, settings: DataSettings, progress: Progress
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows that can be read, images decoded, and those that are left out with the reasons.

    Raises:
        DataError: they are too many.
    """
    sound, faults = _parted(rows, reader, settings, progress) if reader.decodes else (rows, [])
    left = [*left, *faults]
    check_skipped([Skipped("", id, reason) for id, reason in left], len(sound) + len(left), settings)
    return sound, left


def _parted(
    rows: list[Row], reader: Reader, settings: DataSettings, progress: Progress
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows whose images can be read, and of the others the names with the reasons."""
    with progress.stage(reader.inspects(decode=True), len(rows)) as advance:
        faults = reader.inspect(rows, advance, settings, decode=True).faults
    sound = [row for place, row in enumerate(rows) if place not in faults]
    return sound, [(rows[place].id, reason) for place, reason in faults.items()]


def _tell_left(left: Sequence[tuple[str, str]], progress: Progress) -> None:
    for _, reason in left[:10]:
        progress.line(f"left out: {reason}")
    if len(left) > 10:
        progress.line(f"… and {len(left) - 10} more rows")


def _precision_of_run(run: Path) -> tuple[str, Literal["auto", "fp32", "bf16"]]:
    """Return the precision that a run computed in, and the one to ask for: auto where it was one of a GPU, which not
    every machine computes."""
    try:
        found = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    match found:
        case {"precision": "bf16", "device": str(device)} if device.startswith("cpu"):
            return "bf16", "bf16"
        case {"precision": "bf16" | "fp16" as then}:
            return then, "auto"
    return "fp32", "fp32"


def _range_of(predictor: DualPredictor) -> PixelRange | None:
    """Return the range of values of the deep greyscale images that a dual encoder learned from."""
    return PixelRange(*predictor.pixels) if predictor.pixels is not None else None


def _of_split(found: Found, split: str | None) -> Found:
    """Return the rows of the split that is asked for as those to be judged; all there are where none is."""
    return found if split is None else Found({"test": rows_of_split(found, split)})


def _judged_on_own(
    predictor: Predictor, run: Path, split: str, label_map: LabelMap | None, progress: Progress
) -> JsonObject:
    """Return the metrics on a split of the data that the model's run was made of, split as then."""
    recipe, part = _split_of_own(run, split, progress)
    rows, reader = list(part.rows), predictor.task.reader
    if reader.decodes and recipe.data.on_error == "skip":  # as the run left them out
        rows, left = _parted(rows, reader, recipe.data, progress)
        _tell_left(left, progress)
    return predictor.evaluate_rows(rows, recipe.data.decode, label_map, recipe.data.written)


def _split_of_own(run: Path, split: str, progress: Progress) -> tuple[Recipe, Split]:
    """Return the recipe of a run, and a split of its data, split as then.

    Raises:
        DataError: there is no run, it learned from all of its data, or these are no longer there.
    """
    file = run / "recipe.yaml"
    if not file.is_file():
        raise DataError(must_be("--data", "given for a model that is not in a run folder", "none"))
    recipe = load_recipe(file).recipe
    if recipe.data.folds is not None:
        remedy = "The scores of the folds are in metrics.json and predictions.parquet of the run."
        got = "none, and the model was trained on all examples of its run (data.folds)"
        raise DataError(must_be("--data", "given, with examples that the model has not seen", got, remedy))
    if recipe.data.source == "memory":
        raise DataError(must_be("--data", "given for a model whose data were not files", "none"))
    splits = load_splits(recipe, load_rows(recipe, None, progress), progress)
    found = dict(splits.items())
    if split not in found or not len(found[split]):
        names = [name for name, part in splits.items() if len(part)]
        raise DataError(must_be("the split to evaluate", f"one with examples ({', '.join(names)})", f"'{split}'"))
    if recipe.resolved is not None and recipe.resolved.data_fingerprint != splits.fingerprint():
        told = f"the data have changed since the run: the {split} split may hold rows that the model learned from"
        progress.line(f"warning: {told}. Judge it on others: --data")
    return recipe, found[split]


def _retrieved_of_own(predictor: DualPredictor, run: Path, split: str, progress: Progress) -> JsonObject:
    """Return how well images and captions of a run's own split find each other."""
    from hftransfer.predictors.dual import retrieval

    if not (run / "recipe.yaml").is_file():
        remedy = "Name images with labels or captions: --data ~/pets."
        raise DataError(must_be("--data", "given for a dual encoder that is not in a run folder", "none", remedy))
    recipe, part = _split_of_own(run, split, progress)
    return retrieval(predictor, part, recipe.data, progress)


def _labels_or_captions(settings: DataSettings, progress: Progress) -> tuple[Found, bool]:
    """Return the rows of a source of images, and whether they have captions: where a column of them is named, or there
    is one and no label."""
    if settings.caption_column is not None:
        return find_rows(settings, progress, CAPTIONED_IMAGES, to_test=True), True
    try:
        return find_rows(settings, progress), False
    except DataError as error:
        if settings.label_column is not None or not any("data.label_column" in fault for fault in error.faults):
            raise
        try:
            return find_rows(settings, progress, CAPTIONED_IMAGES, to_test=True), True
        except DataError as of_captions:
            if any("data.caption_column" in fault for fault in of_captions.faults):
                raise error from None  # there is neither
            raise


def _judged_by_names(
    predictor: DualPredictor, found: Found, settings: DataSettings, prompts: str | Sequence[str], progress: Progress
) -> JsonObject:
    from hftransfer.predictors.dual import NamesJob, evaluate

    splits: Splits = build_test_only(found, settings, progress, known=_range_of(predictor))
    words, templates = words_for(splits.class_names, None), templates_of(prompts)
    job = NamesJob(
        dual=predictor.dual,
        weights_sha256=predictor.checkpoint.weights_sha256,
        splits=splits,
        words=words,
        templates=templates,
        settings=settings,
        compute=predictor.compute,
        progress=progress,
        stage=lambda _: contextlib.nullcontext(),
    )
    return evaluate(job).metrics
