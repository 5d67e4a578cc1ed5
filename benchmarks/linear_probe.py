"""A linear probe on photos: Hugging Face's Trainer against hftransfer, and hftransfer against the hardware's limit.

    python -m benchmarks.linear_probe --model ../shared/models/vit_tiny_patch16_224 --data ../shared/data/cats_dogs

Each side runs in processes of its own with the same threads, in turn; imports are left out on both sides. Three
comparisons are printed, each with the median and the spread of its pairs:

- trainer: seconds of `Trainer.train()` + `Trainer.evaluate()` with a frozen backbone, in its default fp32, divided by
  our seconds from loading data and model to metrics;
- limit: our activation pass divided by (forward passes of ready tensors + decoding and resizing spread over all
  cores), all in one process;
- growth: seconds and peak memory with 10 times the photos divided by those with the photos once (each copy has bytes
  of its own, so that nothing is found in the store).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from benchmarks.sides import in_process, median, spread
from benchmarks.trainers import accuracy, photos_and_model, training_arguments


def main() -> None:
    """Nothing; runs the comparisons asked for and prints ratios."""
    options = _parser().parse_args()
    if options.role:
        print(json.dumps(_ROLES[options.role](options)))
        return
    results: dict[str, Any] = {"threads": options.threads, "model": Path(options.model).name}
    for name in options.only.split(","):
        results[name] = _COMPARISONS[name](options)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="a local image classifier")
    parser.add_argument("--data", required=True, help="an image folder with train and test")
    parser.add_argument("--epochs", type=int, default=10, help="of the Trainer")
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="of the Trainer's head")
    parser.add_argument("--pairs", type=int, default=3, help="interleaved repetitions")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="trainer,limit,growth")
    parser.add_argument("--json", help="also write the results to this file")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    return parser


# --- comparisons -----------------------------------------------------------------------------------------------------


def _compare_trainer(options: argparse.Namespace) -> dict[str, Any]:
    pairs = [
        (_in_process("trainer", options), _in_process("ours", options)) for _ in _counted("trainer", options.pairs)
    ]
    summary = {
        "trainer_seconds": median(rival["seconds"] for rival, _ in pairs),
        "our_seconds": median(own["seconds"] for _, own in pairs),
        "trainer_accuracy": median(rival["accuracy"] for rival, _ in pairs),
        "our_accuracy": median(own["accuracy"] for _, own in pairs),
        "ratio": spread(rival["seconds"] / own["seconds"] for rival, own in pairs),
    }
    print("trainer:", json.dumps(summary))
    return summary


def _compare_limit(options: argparse.Namespace) -> dict[str, Any]:
    runs = [_in_process("limit", options) for _ in _counted("limit", options.pairs)]
    summary = {
        "activation_pass_seconds": median(run["activation_pass"] for run in runs),
        "forward_seconds": median(run["forward"] for run in runs),
        "decode_seconds": median(run["decode"] for run in runs),
        "ratio": spread(run["activation_pass"] / (run["forward"] + run["decode"]) for run in runs),
    }
    print("limit:", json.dumps(summary))
    return summary


def _compare_growth(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        tenfold = Path(folder) / "tenfold"
        _repeat_photos(Path(options.data), tenfold, 10)
        pairs = []
        for _ in _counted("growth", max(1, options.pairs // 3)):
            once = _in_process("ours", options)
            pairs.append((once, _in_process("ours", options, data=tenfold)))
    summary = {
        "seconds_once": median(once["seconds"] for once, _ in pairs),
        "seconds_tenfold": median(many["seconds"] for _, many in pairs),
        "memory_once_mib": median(once["peak_anonymous_bytes"] / 2**20 for once, _ in pairs),
        "memory_tenfold_mib": median(many["peak_anonymous_bytes"] / 2**20 for _, many in pairs),
        "seconds_ratio": spread(many["seconds"] / once["seconds"] for once, many in pairs),
        "memory_ratio": spread(many["peak_anonymous_bytes"] / once["peak_anonymous_bytes"] for once, many in pairs),
    }
    print("growth:", json.dumps(summary))
    return summary


def _repeat_photos(source: Path, target: Path, times: int) -> None:
    """Copies of all photos; bytes after the end of a JPEG are ignored by decoders but make another content."""
    for file in sorted(source.rglob("*.*")):
        for copy in range(times):
            to = target / file.relative_to(source).with_name(f"{file.stem}-{copy}{file.suffix}")
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(file.read_bytes() + f"copy {copy}".encode())


# --- what runs in a process of its own -------------------------------------------------------------------------------


def _run_trainer(options: argparse.Namespace) -> dict[str, Any]:
    import datasets
    import torch
    from transformers import Trainer

    torch.set_num_threads(options.threads)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        photos, model = photos_and_model(options.data, options.model, folder)
        model.requires_grad_(False)
        model.classifier.requires_grad_(True)
        trainer = Trainer(
            model=model,
            args=training_arguments(folder, options.epochs, options.learning_rate, remove_unused_columns=False),
            train_dataset=photos["train"],
            eval_dataset=photos["test"],
            compute_metrics=accuracy,
        )
        started = time.perf_counter()
        trainer.train()
        scores = trainer.evaluate()
        return {"seconds": time.perf_counter() - started, "accuracy": scores["eval_accuracy"]}


def _run_ours(options: argparse.Namespace) -> dict[str, Any]:
    import accelerate
    import evaluate
    import timm
    import torch
    import transformers
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    import hftransfer
    from hftransfer.progress import Progress
    from hftransfer.training import activations, devices, solver

    del accelerate, evaluate, timm, transformers, AutoImageProcessor, AutoModelForImageClassification
    del activations, devices, solver
    torch.set_num_threads(options.threads)
    recipe = {
        "task": "image-classification",
        "model": options.model,
        "data": options.data,
        "train": {"cache": "off"},
    }
    with tempfile.TemporaryDirectory() as folder, _PeakMemory() as memory:
        metrics = hftransfer.run(recipe, out=folder, progress=Progress(None)).metrics
    stages = ("data", "load", "activations", "train", "evaluate")
    return {
        "seconds": sum(metrics["seconds"][stage] for stage in stages),
        "stages": metrics["seconds"],
        "accuracy": metrics["test"]["accuracy"],
        "peak_anonymous_bytes": memory.peak_bytes,
    }


def _run_limit(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.images import ImageAdapter
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.data.images import decode_image
    from hftransfer.data.rows import inspect_rows
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.sources import find_rows
    from hftransfer.progress import Progress
    from hftransfer.tasks.items import ImageItems
    from hftransfer.training.activations import ActivationStore, _forward, fill_store
    from hftransfer.training.devices import choose_compute, frozen_copy

    torch.set_num_threads(options.threads)
    compute = choose_compute("auto", None)
    rows = [row for part in find_rows(DataSettings(source=options.data), Progress(None)).values() for row in part]
    digests = inspect_rows(rows).digests
    checkpoint = find_checkpoint(options.model)
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, ("a", "b"))
    boundary = len(adapter.stages)
    frozen = adapter.twin(frozen_copy(adapter.model, compute))
    size = compute.batch_size
    images = [decode_image(row.content.read(), row.id) for row in rows[:size]]
    ready = adapter.encode(images)
    _forward(frozen, boundary, ready, compute)  # warm-up

    def decode_all() -> None:
        def work(start: int) -> None:
            torch.set_num_threads(1)
            found = [decode_image(row.content.read(), row.id) for row in rows[start : start + size]]
            adapter.encode(found)

        with ThreadPoolExecutor(options.threads) as pool:
            list(pool.map(work, range(0, len(rows), size)))

    def forward_all() -> None:
        for start in range(0, len(rows), size):
            count = min(size, len(rows) - start)
            _forward(frozen, boundary, {name: tensor[:count] for name, tensor in ready.items()}, compute)

    def activation_pass() -> None:
        with tempfile.TemporaryDirectory() as folder:
            items = ImageItems(rows, digests, cast(ImageAdapter, adapter))
            fill_store(ActivationStore(Path(folder), {}), adapter, boundary, items, compute)

    steps = {"activation_pass": activation_pass, "forward": forward_all, "decode": decode_all}
    return {name: _seconds(step) for name, step in steps.items()}


class _PeakMemory:
    """The most anonymous memory (mapped files not counted) this process held, looked at 20 times a second."""

    peak_bytes = 0

    def __enter__(self) -> _PeakMemory:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("RssAnon:"):
                    self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) * 1024)


# --- measuring -------------------------------------------------------------------------------------------------------


def _in_process(role: str, options: argparse.Namespace, data: Path | None = None) -> dict[str, Any]:
    arguments = ["--data", str(data or options.data)]
    for name in ("model", "epochs", "learning_rate", "threads"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return in_process("benchmarks.linear_probe", role, arguments, options.threads)


def _counted(name: str, pairs: int) -> Iterator[int]:
    for pair in range(pairs):
        print(f"{name}: {pair + 1} of {pairs}", file=sys.stderr)
        yield pair


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


_COMPARISONS = {"trainer": _compare_trainer, "limit": _compare_limit, "growth": _compare_growth}
_ROLES = {"trainer": _run_trainer, "ours": _run_ours, "limit": _run_limit}

if __name__ == "__main__":
    main()
