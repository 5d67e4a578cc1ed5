"""A run from recipe to results, top to bottom."""

from __future__ import annotations

import csv
import io
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hftransfer.adapters.checkpoint import Checkpoint, fetch_config, find_checkpoint
from hftransfer.adapters.families import require_image_model
from hftransfer.artifact import RunFolder, write_predictions
from hftransfer.cache import cache_folder
from hftransfer.data.images import decode_image
from hftransfer.data.rows import Row, read_row
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import BUNDLED, find_rows, look_at_source, rows_from_python
from hftransfer.data.splits import Skipped, Splits, build_splits, check_skipped, require_examples
from hftransfer.errors import DataError, HftransferError, RecipeError, user_path
from hftransfer.progress import Progress
from hftransfer.recipe import LoadedRecipe, Recipe, ResolvedFacts, load_recipe, recipe_yaml
from hftransfer.report.tables import data_table

if TYPE_CHECKING:
    from hftransfer.adapters.base import Adapter
    from hftransfer.training.activations import ActivationStore, StoredFeatures
    from hftransfer.training.devices import Compute
    from hftransfer.training.solver import Head

LIBRARIES = (
    *("hftransfer", "torch", "torchvision", "transformers", "datasets", "accelerate", "evaluate", "timm"),
    *("huggingface_hub", "safetensors", "numpy", "scipy", "pillow"),
)


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and its metrics (as in `metrics.json`)."""

    folder: Path
    metrics: dict[str, Any]


@dataclass
class _Clock:
    """Seconds by stage."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def all_seconds(self) -> dict[str, float]:
        """The stages in their order, and the total since the start."""
        total = time.perf_counter() - self.started
        return {name: round(value, 3) for name, value in (self.seconds | {"total": total}).items()}


def run(
    recipe: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    data: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Result:
    """The run of a recipe: a trained, tested and saved model in a folder.

    `data` may hold Python objects instead of `data.source`: rows of (image, label), a pandas frame, a
    `datasets.Dataset`, or a mapping of split names to these.

    Raises:
        HftransferError: the recipe, the data, the model or the output folder is not as it must be.
    """
    clock = _Clock()
    progress = progress or Progress()
    loaded = load_recipe(recipe, _with_memory(overrides, data))
    checkpoint = _early_look(loaded.recipe, data, peek=True)
    folder = _output_folder(loaded, out, overwrite=overwrite)
    with folder.kept_on_success():
        trained = _train(loaded.recipe, checkpoint, data, clock, progress)
        metrics = _write(folder, loaded, trained, clock, progress)
    return Result(folder.path, metrics)


@dataclass(frozen=True)
class _Trained:
    """A trained model and what was measured on the way."""

    adapter: Adapter
    checkpoint: Checkpoint
    compute: Compute
    splits: Splits
    scores: dict[str, dict[str, Any]]
    test_probabilities: Any
    facts: ResolvedFacts


def _train(recipe: Recipe, checkpoint: Checkpoint | None, data: Any, clock: _Clock, progress: Progress) -> _Trained:
    """The data, then the model, then the frozen part once, then the head, then its scores."""
    with clock.stage("data"), _importing_ahead(when=data is None and recipe.data.source in BUNDLED):
        splits = _load_splits(recipe, data, progress)
        progress.line(data_table(splits))
    with clock.stage("load"):
        adapter, checkpoint, compute, boundary = _load_model(recipe, checkpoint, splits.class_names)
        progress.line(f"{checkpoint.name}: {type(adapter.model).__name__}; {compute.describe()}")
        facts = _facts(checkpoint, splits)
        _tell_differences(recipe.resolved, facts, progress)
    with _activation_folder(keep=recipe.train.cache == "on") as root:
        with clock.stage("activations"):
            store = _store(root, adapter, checkpoint, boundary, compute)
            features, splits = _activations(store, recipe, adapter, boundary, compute, splits, progress)
        with clock.stage("train"):
            head = _solve(recipe, adapter, features, splits)
            progress.line(f"solved: L2 strength {head.l2:g}, validation log loss {head.validation_log_loss:.4f}")
        with clock.stage("evaluate"):
            scores, test_probabilities = _evaluate(recipe.task, head, features, splits)
    return _Trained(adapter, checkpoint, compute, splits, scores, test_probabilities, facts)


def _write(
    folder: RunFolder, loaded: LoadedRecipe, trained: _Trained, clock: _Clock, progress: Progress
) -> dict[str, Any]:
    """The metrics; writes all that a run leaves."""
    splits, test = trained.splits, trained.splits.test
    folder.start()
    progress.write_log(folder.file("log.txt"))
    metrics = _metrics(loaded.recipe, trained, clock)
    _write_model(folder, trained, metrics, loaded.recipe)
    folder.write_text("recipe.yaml", _resolved_yaml(loaded, trained.facts))
    folder.write_json("environment.json", environment(trained.compute))
    ids = [row.id for row in test.rows]
    write_predictions(folder, ids, test.labels, trained.test_probabilities, splits.class_names)
    if splits.skipped:
        folder.write_text("skipped.csv", _skipped_csv(splits.skipped))
    _write_figures(folder, trained)
    metrics["seconds"] = clock.all_seconds()
    folder.write_json("metrics.json", metrics)
    return metrics


def check(
    recipe: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    data: Any = None,
    progress: Progress | None = None,
) -> Splits:
    """The splits a run of the recipe would see, after all that can be checked without training: the recipe, the
    model's files where they are local, and every image, decoded in full.

    Raises:
        HftransferError: something is not as it must be; all unreadable images are named.
    """
    progress = progress or Progress()
    loaded = load_recipe(recipe, _with_memory(overrides, data))
    _early_look(loaded.recipe, data)
    splits = _load_splits(loaded.recipe, data, progress)
    rows = [row for _, split in splits.items() for row in split.rows]
    faults: dict[int, str] = {}
    with progress.stage("decoding every image", len(rows)) as advance:
        for index, row in enumerate(rows):
            fault = _decoding_fault(row)
            if fault:
                faults[index] = fault
            advance(1)
    return _without_faults(splits, faults, loaded.recipe.data)


def environment(compute: Compute | None = None) -> dict[str, Any]:
    """Versions and hardware, without names of users or folders."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "git_commit": _git_commit(),
    }
    if compute is not None:
        import torch

        found |= {"device": compute.backend, "precision": compute.precision, "threads": torch.get_num_threads()}
    return found


# --- the stages ------------------------------------------------------------------------------------------------------


def _with_memory(overrides: Mapping[str, Any] | Sequence[str], data: Any) -> Mapping[str, Any] | Sequence[str]:
    """The overrides, with a name for data that is given as Python objects."""
    if data is None:
        return overrides
    if isinstance(overrides, Mapping):
        return {"data.source": "memory", **overrides}
    return ["data.source=memory", *overrides]


def _early_look(recipe: Recipe, data: Any, *, peek: bool = False) -> Checkpoint | None:
    """The model's checkpoint where its files are on this disk. Faults of model and data that show without reading or
    fetching either are told together, before any work; with `peek` the configuration of a Hub model is fetched."""
    checkpoint = None
    faults: list[HftransferError] = []
    try:
        checkpoint = find_checkpoint(recipe.model.name, recipe.model.revision, fetch=False)
        seen = checkpoint
        if seen is None and peek and not recipe.model.name.startswith("bundled/"):
            seen = fetch_config(recipe.model.name, recipe.model.revision)
        if seen is not None:
            require_image_model(seen)
    except HftransferError as error:
        faults.append(error)
    if data is None:
        try:
            look_at_source(recipe.data)
        except HftransferError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise RecipeError(*(fault for error in faults for fault in error.faults))
    return checkpoint


def _output_folder(loaded: LoadedRecipe, out: str | Path | None, *, overwrite: bool) -> RunFolder:
    if out is not None:
        return RunFolder.create(Path(out), overwrite=overwrite)
    return RunFolder.create_dated(Path(loaded.recipe.output.folder), loaded.name)


@contextmanager
def _importing_ahead(*, when: bool) -> Iterator[None]:
    """Meanwhile, in a thread, the libraries that loading a model needs are imported: while pictures are drawn in
    other processes this one has nothing else to do."""

    def work() -> None:
        import timm
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        import hftransfer.training.activations

        del timm, AutoImageProcessor, AutoModelForImageClassification, hftransfer

    thread = threading.Thread(target=work, daemon=True)
    if when:
        thread.start()
    yield
    if when:
        thread.join()


def _load_splits(recipe: Recipe, data: Any, progress: Progress) -> Splits:
    found = find_rows(recipe.data, progress) if data is None else rows_from_python(data, recipe.data)
    return build_splits(found, recipe.data, recipe.train.seed, progress)


def _load_model(
    recipe: Recipe, checkpoint: Checkpoint | None, class_names: Sequence[str]
) -> tuple[Adapter, Checkpoint, Compute, int]:
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.training.devices import choose_compute

    if checkpoint is None:
        checkpoint = find_checkpoint(recipe.model.name, recipe.model.revision)
        assert checkpoint is not None
    adapter = load_adapter(checkpoint, class_names)
    compute = choose_compute(recipe.train.precision, recipe.train.inference_batch_size)
    return adapter, checkpoint, compute, recipe.strategy.prepare(adapter)


@contextmanager
def _activation_folder(*, keep: bool) -> Iterator[Path]:
    if keep:
        yield cache_folder("activations")
    else:
        with tempfile.TemporaryDirectory(prefix="hftransfer-") as folder:
            yield Path(folder)


def _store(root: Path, adapter: Adapter, checkpoint: Checkpoint, boundary: int, compute: Compute) -> ActivationStore:
    from hftransfer.training.activations import ActivationStore, key_parts

    return ActivationStore(root, key_parts(adapter, checkpoint.weights_sha256, boundary, compute))


def _activations(
    store: ActivationStore,
    recipe: Recipe,
    adapter: Adapter,
    boundary: int,
    compute: Compute,
    splits: Splits,
    progress: Progress,
) -> tuple[dict[str, StoredFeatures], Splits]:
    """The features of all splits, and the splits less images that could not be decoded."""
    from hftransfer.training.activations import fill_store

    rows = [row for _, split in splits.items() for row in split.rows]
    digests = [digest for _, split in splits.items() for digest in split.digests]
    stop = recipe.data.on_error == "stop"
    with progress.stage("activations", len(rows)) as advance:
        faults = fill_store(store, adapter, boundary, rows, digests, compute, advance, stop_at_fault=stop)
    if faults:
        splits = _without_faults(splits, faults, recipe.data)
        progress.line(data_table(splits))
    return {name: store.features(split.digests) for name, split in splits.items()}, splits


def _without_faults(splits: Splits, faults: Mapping[int, str], settings: DataSettings) -> Splits:
    """The splits less the rows, counted through all splits, that could not be decoded.

    Raises:
        DataError: they are not to be skipped, or too many, or leave too little.
    """
    parts, skipped, start = {}, list(splits.skipped), 0
    total = len(splits.skipped) + sum(splits.sizes().values())
    for name, split in splits.items():
        gone = {row - start for row in faults if start <= row < start + len(split)}
        skipped += [Skipped(name, split.rows[row].id, faults[start + row]) for row in sorted(gone)]
        parts[name] = split.without(gone)
        start += len(split)
    check_skipped(skipped, total, settings)
    rest = Splits(**parts, class_names=splits.class_names, skipped=tuple(skipped), notes=splits.notes)
    require_examples(rest)
    return rest


def _solve(recipe: Recipe, adapter: Adapter, features: dict[str, StoredFeatures], splits: Splits) -> Head:
    """The solved head, also put into the adapter's model."""
    import torch

    from hftransfer.training.solver import solve_head

    head = solve_head(
        features["train"],
        splits.train.labels,
        features["validation"],
        splits.validation.labels,
        classes=len(splits.class_names),
        l2=None if recipe.strategy.l2 == "auto" else recipe.strategy.l2,
    )
    adapter.set_head(torch.from_numpy(head.weight), torch.from_numpy(head.bias))
    return head


def _evaluate(
    task: str, head: Head, features: dict[str, StoredFeatures], splits: Splits
) -> tuple[dict[str, dict[str, Any]], Any]:
    """The metrics of test and validation, and the test probabilities (N, C)."""
    from hftransfer.tasks.image_classification import TASKS
    from hftransfer.training.solver import probabilities

    by_split = {name: probabilities(head.logits(features[name])) for name in ("test", "validation")}
    scores = {name: TASKS[task].score(values, getattr(splits, name).labels) for name, values in by_split.items()}
    return scores, by_split["test"]


def _write_figures(folder: RunFolder, trained: _Trained) -> None:
    from hftransfer.report.figures import draw_confusion_matrix, draw_examples, draw_mistakes

    splits, names = trained.splits, trained.splits.class_names
    matrix = trained.scores["test"]["confusion_matrix"]
    draw_examples(folder.file("figures/examples.png"), splits.train.rows, splits.train.labels, names)
    draw_confusion_matrix(folder.file("figures/confusion_matrix.png"), matrix, names)
    mistakes = folder.file("figures/mistakes.png")
    draw_mistakes(mistakes, splits.test.rows, splits.test.labels, trained.test_probabilities, names)


def _metrics(recipe: Recipe, trained: _Trained, clock: _Clock) -> dict[str, Any]:
    from hftransfer.adapters.base import parameter_counts

    return {
        "task": recipe.task,
        "model": recipe.model.name,
        "strategy": recipe.strategy.kind,
        "test": trained.scores["test"],
        "validation": trained.scores["validation"],
        "parameters": parameter_counts(trained.adapter.model),
        "seconds": clock.all_seconds(),
        "examples": trained.splits.sizes(),
        "peak_memory_bytes": _peak_memory_bytes(),
    }


def _peak_memory_bytes() -> int:
    """The most memory this process has held, mapped files included."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _write_model(folder: RunFolder, trained: _Trained, metrics: dict[str, Any], recipe: Recipe) -> None:
    from hftransfer.hub.card import write_card

    def save(draft: Path) -> None:
        trained.adapter.save(draft)
        write_card(
            draft,
            metrics=metrics,
            class_names=trained.splits.class_names,
            data_source=_public_name(recipe.data.source),
            base_is_hub_id=trained.checkpoint.revision is not None or recipe.model.name.startswith("bundled/"),
            version=version("hftransfer"),
        )

    folder.write_folder("model", save)


def _public_name(source: str) -> str:
    """A Hub id or bundled name as it is, of a path the last part: folders of a person's disk are not published."""
    path = user_path(source, "data.source", DataError)
    return path.resolve().name if path.exists() else source


def _facts(checkpoint: Checkpoint, splits: Splits) -> ResolvedFacts:
    return ResolvedFacts(
        weights_sha256=checkpoint.weights_sha256,
        model_revision=checkpoint.revision,
        data_fingerprint=splits.fingerprint(),
        hftransfer_version=version("hftransfer"),
    )


def _tell_differences(before: ResolvedFacts | None, now: ResolvedFacts, progress: Progress) -> None:
    """Nothing; says what differs from the run whose recipe is repeated."""
    if before is None:
        return
    for name, value in now.model_dump().items():
        earlier = getattr(before, name)
        if earlier != value:
            progress.line(
                f"warning: {name} differs from the run this recipe was written by: {earlier} then, {value} now"
            )


def _resolved_yaml(loaded: LoadedRecipe, facts: ResolvedFacts) -> str:
    resolved = loaded.recipe.model_copy(update={"resolved": facts})
    return f"# {loaded.name}, as it was run: every default spelled out\n" + recipe_yaml(resolved)


def _skipped_csv(skipped: Sequence[Skipped]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "id", "reason"])
    writer.writerows([[entry.split, entry.id, entry.reason] for entry in skipped])
    return buffer.getvalue()


def _decoding_fault(row: Row) -> str | None:
    try:
        decode_image(read_row(row), row.id)
    except HftransferError as error:
        return str(error)
    return None


def _git_commit() -> str | None:
    """The commit of the folder a run is started in, if it is a git checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def as_json(result: Result) -> str:
    """The metrics and the folder of a run as one JSON object."""
    return json.dumps({"folder": str(result.folder), **result.metrics}, indent=2, ensure_ascii=False)
