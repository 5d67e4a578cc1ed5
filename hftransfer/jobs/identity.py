"""What a run is made of: compared when it is repeated or goes on, and written beside its results."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.base.errors import DataError, RecipeError, must_be, user_path
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import require_same_identity
from hftransfer.data.splits import Splits
from hftransfer.recipe import LoadedRecipe, Recipe, ResolvedFacts, flat_settings, recipe_yaml, seen_from

if TYPE_CHECKING:
    from hftransfer.training.devices import Compute
    from hftransfer.training.loop import Keeping
    from hftransfer.training.processes import Processes

LIBRARIES = (
    *("hftransfer", "torch", "torchvision", "transformers", "datasets", "accelerate", "peft", "evaluate", "timm"),
    *("huggingface_hub", "safetensors", "numpy", "scipy", "pillow", "keras"),
)
_SHAPES_NO_WEIGHTS = (
    *("output", "hub", "compare", "resolved", "train.checkpoint_", "train.keep_checkpoints"),
    *("train.cache", "train.distributed", "train.trackers"),
)


def resolved_facts(weights_sha256: str, revision: str | None, splits: Splits, together: Processes) -> ResolvedFacts:
    """Return what a run is made of.

    Raises:
        DataError: the processes do not all see the same data.
    """
    fingerprint = splits.fingerprint()
    every = together.gather(fingerprint)
    others = [str(rank) for rank, found in enumerate(every) if found != every[0]]
    if others:
        where = "the data in every process"
        raise DataError(must_be(where, "the same as in process 0", f"different data in process {', '.join(others)}"))
    return ResolvedFacts(
        weights_sha256=weights_sha256,
        model_revision=revision,
        data_fingerprint=fingerprint,
        hftransfer_version=version("hftransfer"),
    )


def tell_differences(before: ResolvedFacts | None, now: ResolvedFacts, progress: Progress) -> None:
    """Say what differs from the run whose recipe is repeated."""
    if before is None:
        return
    for name, value in now.model_dump().items():
        earlier = getattr(before, name)
        if earlier != value:
            progress.line(
                f"warning: {name} differs from the run this recipe was written by: {earlier} then, {value} now"
            )


def identity_of(recipe: Recipe, facts: ResolvedFacts) -> dict[str, object]:
    """Return what a checkpoint belongs to, as flat keys and plain values: all that shapes the weights."""
    shaping = {
        key: _canonical(key, value)
        for key, value in flat_settings(recipe).items()
        if not key.startswith(_SHAPES_NO_WEIGHTS)
    }
    return {**shaping, "the weights' SHA-256": facts.weights_sha256, "the data's fingerprint": facts.data_fingerprint}


def _canonical(key: str, value: object) -> object:
    """Return a setting; where it is a path that leads somewhere, the whole path: a run is the same from any folder."""
    named = key.startswith("model.") or key in ("data.source", "zero_shot_data")
    if not named or not isinstance(value, str):
        return value
    path = user_path(value, key, RecipeError)
    return str(path.resolve()) if path.exists() else value


def require_same_run(keeping: Keeping) -> None:
    """Return if the checkpoint to go on from is this very run's.

    Raises:
        RecipeError: with the keys that differ.
    """
    if keeping.resume is not None:
        require_same_identity(keeping.resume.state["identity"], keeping.identity)


def resolved_yaml(loaded: LoadedRecipe, facts: ResolvedFacts, folder: Path) -> str:
    """Return the recipe as it was run, every default spelled out; paths count from the run's folder."""
    resolved = seen_from(loaded.recipe, folder).model_copy(update={"resolved": facts})
    return f"# {loaded.name}, as it was run: every default spelled out\n" + recipe_yaml(resolved)


def public_name(source: str) -> str:
    """Return a Hub id or bundled name as it is, of a path the last part: a person's folders are not published."""
    path = user_path(source, "data.source", DataError)
    return path.resolve().name if path.exists() else source


# --- the machine -----------------------------------------------------------------------------------------------------


def environment(compute: Compute | None = None) -> dict[str, object]:
    """Return versions and hardware, without names of users or folders."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    found: dict[str, object] = {
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


def peak_memory_bytes() -> int:
    """Return the most memory this process has held, mapped files included."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB elsewhere.
    return peak if sys.platform == "darwin" else peak * 1024


def _git_commit() -> str | None:
    """Return the commit of the folder a run is started in, if it is a git checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
