"""How near we are to what the hardware allows: nothing but the arithmetic that can't be left out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from benchmarks import data
from benchmarks.fine_tune import IMAGES, TEXTS
from benchmarks.harness import Benchmark, Goal, Side


def _near(wanted: float | None) -> Goal:
    """Our seconds divided by those of the limit."""
    return Goal("us ÷ limit", lambda own, other: own.seconds / other.seconds, wanted, at_most=True)


# --- the activation pass ---------------------------------------------------------------------------------------------


def activation_pass(settings: dict[str, Any]) -> dict[str, Any]:
    """Our pass over all images, into the store."""
    from hftransfer.adapters.images import ImageAdapter
    from hftransfer.data.inspection import inspect_rows
    from hftransfer.tasks.items import ImageItems
    from hftransfer.training.activations import ActivationStore, fill_store

    rows, adapter, compute, _, _ = _images(settings)
    items = ImageItems(rows, inspect_rows(rows).digests, cast(ImageAdapter, adapter))
    store = ActivationStore(Path(settings["folder"]) / "store", {})
    began = time.perf_counter()
    fill_store(store, adapter, len(adapter.stages), items, compute)
    return {"seconds": time.perf_counter() - began}


def forward_and_decode(settings: dict[str, Any]) -> dict[str, Any]:
    """Forward passes of ready tensors, and decoding and resizing spread over all cores; their seconds added."""
    import torch

    from hftransfer.data.images import decode_image
    from hftransfer.training.activations import _forward

    rows, adapter, compute, frozen, ready = _images(settings)
    size = compute.batch_size
    starts = range(0, len(rows), size)

    def decode(start: int) -> None:
        adapter.encode([decode_image(row.content.read(), row.id) for row in rows[start : start + size]])

    began = time.perf_counter()
    with ThreadPoolExecutor(settings["threads"], initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(decode, starts))
    decoded = time.perf_counter()
    torch.set_num_threads(settings["threads"])
    for start in starts:
        count = min(size, len(rows) - start)
        _forward(frozen, len(adapter.stages), {name: part[:count] for name, part in ready.items()}, compute)
    ended = time.perf_counter()
    return {"seconds": ended - began, "decode_seconds": decoded - began, "forward_seconds": ended - decoded}


def _images(settings: dict[str, Any]) -> tuple[Any, ...]:
    """All rows, the adapter, where it computes, its frozen copy that has been warmed up, and a batch of inputs."""
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.heads import IMAGE_CLASSES
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.base.progress import Progress
    from hftransfer.data.images import decode_image
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.sources import find_rows
    from hftransfer.training.activations import _forward
    from hftransfer.training.devices import choose_compute
    from hftransfer.training.frozen import frozen_twin

    compute = choose_compute("auto", None)
    found = find_rows(DataSettings(source=settings["data"]), Progress(None))
    rows = [row for part in found.values() for row in part]
    checkpoint = find_checkpoint(settings["model"])
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, ("one", "other"), head=IMAGE_CLASSES)
    frozen = frozen_twin(adapter, compute)
    ready = adapter.encode([decode_image(row.content.read(), row.id) for row in rows[: compute.batch_size]])
    _forward(frozen, len(adapter.stages), ready, compute)
    return rows, adapter, compute, frozen, ready


# --- a training step -------------------------------------------------------------------------------------------------


def our_step(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds per step of our loop, reading and clipping included, in float32."""
    from hftransfer.training.activations import read_batches
    from hftransfer.training.loop import Plan, _reader, _Run

    recipe, adapter, source, loss, compute, shares = _learner(settings)
    names = {
        "adapter": adapter,
        "boundary": 0,
        "train": lambda _: source,
        "loss": loss,
        "evaluate": None,
        "name_of": str,
        "rates": recipe.strategy,
        "settings": recipe.train,
        "epochs": 1,
        "compute": compute,
        "progress": _silent(),
    }
    run = _Run(Plan(**cast(Any, names)))
    adapter.learn_mode(0, on=True)
    began = 0.0
    reads = read_batches(_reader(source), shares, compute)
    for number, share in enumerate(shares):
        if number == settings["warm_steps"]:
            began = time.perf_counter()
        run.step(source, share, reads)
    return {"seconds": (time.perf_counter() - began) / settings["steps"]}


def bare_step(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds per forward, backward and optimiser step over ready batches of the same examples."""
    import torch

    from hftransfer.training.loop import _reader

    _, adapter, source, loss, _, shares = _learner(settings)
    optimizer = torch.optim.AdamW(adapter.model.parameters(), lr=1e-4, fused=True)
    adapter.learn_mode(0, on=True)
    ready = [_reader(source)(share) for share in shares]
    began = 0.0
    for number, (share, inputs) in enumerate(zip(shares, ready, strict=True)):
        if number == settings["warm_steps"]:
            began = time.perf_counter()
        logits = adapter.model(**inputs).logits
        (loss.total(logits, share.batch) / len(share.batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {"seconds": (time.perf_counter() - began) / settings["steps"]}


def _learner(settings: dict[str, Any]) -> tuple[Any, ...]:
    """The recipe, the adapter with all to learn, what it reads, its loss, where it computes, and whole batches."""
    import torch

    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.data.sources import find_rows
    from hftransfer.data.splits import build_splits
    from hftransfer.recipe import load_recipe
    from hftransfer.tasks import head_task
    from hftransfer.training.activations import Source
    from hftransfer.training.batches import shares_of_epoch
    from hftransfer.training.devices import choose_compute

    task_name: Any = settings["task"]
    train = {"batch_size": settings["batch_size"], "seed": settings["seed"]}
    asked = {"task": task_name, "model": settings["model"], "data": settings["data"], "strategy": "fine-tune"}
    recipe = load_recipe({**asked, "train": train}).recipe
    task = head_task(task_name)
    splits = build_splits(find_rows(recipe.data, _silent(), task.reader), recipe.data, 0, _silent(), task.reader)
    checkpoint = find_checkpoint(recipe.model.name)
    assert checkpoint is not None
    compute = choose_compute("fp32", None)
    adapter = load_adapter(checkpoint, splits.class_names, head=task.head, seed=settings["seed"])
    recipe.strategy.prepare(adapter, settings["seed"])
    if not settings["dropout"]:
        for module in adapter.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0
    examples = task.examples(adapter, splits.train, recipe.data)
    loss = task.loss(examples, len(splits.class_names), compute.device, label_smoothing=0.0, class_weights=False)
    source = Source(examples.items, adapter, 0, compute)

    def whole() -> Iterator[Any]:
        for epoch in itertools.count():
            for share in shares_of_epoch(len(source), source.lengths, None, recipe.train, epoch, compute.processes):
                if len(share.batch) == settings["batch_size"]:
                    yield share

    shares = list(itertools.islice(whole(), settings["warm_steps"] + settings["steps"]))
    return recipe, adapter, source, loss, compute, shares


def _silent() -> Any:
    from hftransfer.base.progress import Progress

    return Progress(None)


_STEPS = {"batch_size": 32, "rows": 0, "steps": 50, "warm_steps": 5, "dropout": 1}


BENCHMARKS = (
    Benchmark(
        name="limit",
        about="our activation pass over photos beside bare forward passes and decoding",
        sides=(
            Side("ours", activation_pass),
            Side("forward of ready tensors + decoding over all cores", forward_and_decode, (_near(1.15),)),
        ),
        settings={"data": data.PHOTOS, "model": data.IMAGE_MODEL, "rows": 0},
        prepare=data.photos,
        warm_up={"rows": 32},
        small={"rows": 100},
    ),
    Benchmark(
        name="step-photos",
        about="our training step over photos beside a bare one over ready tensors",
        sides=(Side("ours", our_step), Side("forward, backward, optimiser", bare_step, (_near(None),))),
        settings={"data": data.PHOTOS, "model": data.IMAGE_MODEL, "task": IMAGES, **_STEPS, "steps": 20},
        prepare=data.photos,
        warm_up={"steps": 2, "warm_steps": 1},
    ),
    Benchmark(
        name="step-text",
        about="our training step over sentences beside a bare one over ready tensors",
        sides=(Side("ours", our_step), Side("forward, backward, optimiser", bare_step, (_near(None),))),
        settings={"data": data.SENTENCES, "model": data.TEXT_MODEL, "task": TEXTS, **_STEPS},
        prepare=data.sentences,
        warm_up={"steps": 2, "warm_steps": 1},
    ),
)
