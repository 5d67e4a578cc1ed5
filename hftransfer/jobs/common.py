"""What every kind of run has: a clock, splits, facts that are compared when it is repeated, and files it writes."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import Splits, build_splits, build_test_only
from hftransfer.errors import (
    DataError,
    RecipeError,
    must_be,
    user_path,
)
from hftransfer.progress import Progress
from hftransfer.recipe import (
    IMAGE_TEXT,
    ZERO_SHOT,
    LoadedRecipe,
    Recipe,
    ResolvedFacts,
    flat_settings,
    recipe_yaml,
    seen_from,
)
from hftransfer.run_folder import RunFolder, require_same_identity
from hftransfer.tabular import csv_text
from hftransfer.tasks.base import RowKind

if TYPE_CHECKING:
    from hftransfer.data.captions import CaptionedSplits
    from hftransfer.training.devices import Compute
    from hftransfer.training.loop import Keeping


LIBRARIES = (
    *("hftransfer", "torch", "torchvision", "transformers", "datasets", "accelerate", "peft", "evaluate", "timm"),
    *("huggingface_hub", "safetensors", "numpy", "scipy", "pillow"),
)


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and its metrics (as in `metrics.json`)."""

    folder: Path
    metrics: dict[str, Any]


@dataclass
class Clock:
    """Seconds by stage."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Meanwhile the time goes to this stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def at_least(self, name: str, seconds: float) -> None:
        """Nothing; a stage, and the total with it, took so long at least."""
        more = max(0.0, seconds - self.seconds.get(name, 0.0))
        self.seconds[name] = self.seconds.get(name, 0.0) + more
        self.started -= more

    def all_seconds(self) -> dict[str, float]:
        """The stages in their order, and the total since the start."""
        total = time.perf_counter() - self.started
        return {name: round(value, 3) for name, value in (self.seconds | {"total": total}).items()}


def found_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint of a model, fetched if it is not here."""
    checkpoint = find_checkpoint(name, revision)
    assert checkpoint is not None
    return checkpoint


def require_same_data(fingerprints: Sequence[str]) -> None:
    """Nothing, if all processes see the same data.

    Raises:
        DataError: they do not.
    """
    others = [str(rank) for rank, found in enumerate(fingerprints) if found != fingerprints[0]]
    if others:
        where = "the data in every process"
        raise DataError(must_be(where, "those of process 0", f"others in process {', '.join(others)}"))


def write_skipped(folder: RunFolder, splits: Splits) -> None:
    """Nothing; writes which examples were left out, and why."""
    skipped = [[entry.split, entry.id, entry.reason] for entry in splits.skipped]
    folder.write_text("skipped.csv", csv_text(["split", "id", "reason"], skipped))


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
        found |= {"processes": compute.processes.count}
    return found


@contextmanager
def importing_ahead(*, when: bool) -> Iterator[None]:
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


def load_splits(recipe: Recipe, kind: RowKind, data: Any, progress: Progress, *, decode: bool = False) -> Splits:
    """The splits of a recipe's data, or of data given as Python objects; every image is decoded if `decode`."""
    return splits_of(recipe, kind, load_rows(recipe, kind, data, progress), progress, decode=decode)


def load_rows(recipe: Recipe, kind: RowKind, data: Any, progress: Progress) -> Found:
    """The rows of a recipe's data, or of data given as Python objects, as they are found."""
    settings = _with_captions(recipe.data) if recipe.task == IMAGE_TEXT else recipe.data
    return find_rows(settings, progress, kind=kind) if data is None else rows_from_python(data, settings, kind=kind)


def splits_of(recipe: Recipe, kind: RowKind, found: Found, progress: Progress, *, decode: bool = False) -> Splits:
    """The splits that a run of the recipe makes of rows."""
    if recipe.task == IMAGE_TEXT:
        return _captioned(recipe, found, progress, decode=decode).as_splits()
    if recipe.task == ZERO_SHOT:
        return build_test_only(found, recipe.data, progress, decode=decode)
    return build_splits(found, recipe.data, recipe.train.seed, progress, kind=kind, decode=decode)


def load_captions(recipe: Recipe, data: Any, progress: Progress) -> CaptionedSplits:
    """The splits of images with captions."""
    return _captioned(recipe, load_rows(recipe, "images", data, progress), progress)


def _captioned(recipe: Recipe, found: Found, progress: Progress, *, decode: bool = False) -> CaptionedSplits:
    from hftransfer.data.captions import build_captioned

    return build_captioned(found, _with_captions(recipe.data), recipe.train.seed, progress, decode=decode)


def _with_captions(settings: DataSettings) -> DataSettings:
    """The settings of the data, with captions where labels are."""
    column = settings.caption_column or settings.label_column or "caption"
    return settings.model_copy(update={"label_column": column, "caption_column": column})


def peak_memory_bytes() -> int:
    """The most memory this process has held, mapped files included."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def facts_of(checkpoint: Checkpoint, splits: Splits) -> ResolvedFacts:
    """What a run is made of."""
    return ResolvedFacts(
        weights_sha256=checkpoint.weights_sha256,
        model_revision=checkpoint.revision,
        data_fingerprint=splits.fingerprint(),
        hftransfer_version=version("hftransfer"),
    )


def tell_differences(before: ResolvedFacts | None, now: ResolvedFacts, progress: Progress) -> None:
    """Nothing; says what differs from the run whose recipe is repeated."""
    if before is None:
        return
    for name, value in now.model_dump().items():
        earlier = getattr(before, name)
        if earlier != value:
            progress.line(
                f"warning: {name} differs from the run this recipe was written by: {earlier} then, {value} now"
            )


_SHAPES_NO_WEIGHTS = (
    "output",
    "hub",
    "compare",
    "resolved",
    "train.checkpoint_",
    "train.keep_checkpoints",
    "train.cache",
    "train.distributed",
    "train.trackers",
)


def identity_of(recipe: Recipe, facts: ResolvedFacts) -> dict[str, Any]:
    """What a checkpoint belongs to, as flat keys and plain values: all that shapes the weights."""
    shaping = {
        key: _canonical(key, value)
        for key, value in flat_settings(recipe).items()
        if not key.startswith(_SHAPES_NO_WEIGHTS)
    }
    return {**shaping, "the weights' SHA-256": facts.weights_sha256, "the data's fingerprint": facts.data_fingerprint}


def _canonical(key: str, value: Any) -> Any:
    """A setting, of a path that leads somewhere the whole path: a run is the same from whichever folder it is seen."""
    named = key.startswith("model.") or key in ("data.source", "zero_shot_data")
    if not named or not isinstance(value, str):
        return value
    path = user_path(value, key, RecipeError)
    return str(path.resolve()) if path.exists() else value


def require_same_run(keeping: Keeping) -> None:
    """Nothing, if the checkpoint to go on from is this very run's.

    Raises:
        RecipeError: with the keys that differ.
    """
    if keeping.resume is None:
        return
    require_same_identity(keeping.resume.state["identity"], keeping.identity)


def resolved_yaml(loaded: LoadedRecipe, facts: ResolvedFacts, folder: Path) -> str:
    """The recipe as it was run, every default spelled out; paths count from the run's folder."""
    resolved = seen_from(loaded.recipe, folder).model_copy(update={"resolved": facts})
    return f"# {loaded.name}, as it was run: every default spelled out\n" + recipe_yaml(resolved)


def _git_commit() -> str | None:
    """The commit of the folder a run is started in, if it is a git checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def public_name(source: str) -> str:
    """A Hub id or bundled name as it is, of a path the last part: folders of a person's disk are not published."""
    path = user_path(source, "data.source", DataError)
    return path.resolve().name if path.exists() else source
