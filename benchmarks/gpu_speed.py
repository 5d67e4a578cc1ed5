"""How fast frozen passes and training steps are on a GPU, beside bare forward passes and transformers' Trainer."""

from __future__ import annotations

import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.gpu_checks import IMAGES, TEXTS, Check, Figures
from benchmarks.gpu_material import Setting, picture_rows, text_rows

_TOKENS = 128


# --- frozen passes ---------------------------------------------------------------------------------------------------


def frozen(kind: str, setting: Setting) -> Figures:
    """Return examples a second of a bare forward pass in bfloat16, and of ours from ready inputs and from raw ones."""
    import torch

    from hftransfer.training.activations import forward
    from hftransfer.training.devices import choose_compute
    from hftransfer.training.frozen import frozen_twin

    compute, adapter = choose_compute("bf16", None), _adapter(setting, kind)
    most = compute.batch_size if kind == "vit" else (compute.most_tokens or _TOKENS) // _TOKENS
    ready = _ready_inputs(adapter, kind, most)
    size = len(next(iter(ready.values())))
    model = copy.deepcopy(adapter.model).to(compute.device, torch.bfloat16)
    there = {
        name: part.to(compute.device, torch.bfloat16 if part.is_floating_point() else part.dtype)
        for name, part in ready.items()
    }
    passes = 2 if setting.small else 60 if setting.on_gpu else 3
    with torch.inference_mode():
        bare = _rate(partial(model, **there), size, passes, setting)
    twin = frozen_twin(adapter, compute)
    alone = _rate(partial(forward, twin, len(twin.stages), there, compute), size, passes, setting)
    passed = partial(_pass_rate, setting, adapter, compute)
    from_ready = passed(_Ready(ready, (3 if setting.small else 120 if setting.on_gpu else 6) * size, kind))
    found: Figures = {
        "batch": size,
        "bare forward, per second": bare,
        "our forward alone, per second": alone,
        "our pass of ready inputs, per second": from_ready,
        "our pass from raw examples, per second": passed(_raw_items(adapter, kind, setting, size)),
    }
    names = [name for name in found if name.startswith("our")]
    with torch.inference_mode():  # last: a capture that fails may spoil what follows
        found["bare forward as a CUDA graph, per second"] = _graph_rate(partial(model, **there), size, passes, setting)
    shares = {f"{name.removesuffix(', per second')} ÷ bare forward": found[name] / bare for name in names}
    return {**found, **shares, "goal": "our pass ÷ bare forward at least 0.9"}


def _adapter(setting: Setting, kind: str) -> Any:
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.tasks import head_task

    checkpoint = find_checkpoint(str(setting.model(kind, "base")))
    assert checkpoint is not None
    task: Any = IMAGES if kind == "vit" else TEXTS
    return load_adapter(checkpoint, ("one", "other"), head=head_task(task).head)


def _ready_inputs(adapter: Any, kind: str, size: int) -> dict[str, Any]:
    """Return one batch of random inputs on the host, as the adapter makes them."""
    import torch

    if kind == "bert":
        return dict(adapter.encode([text for text, _ in text_rows(size, 1, _TOKENS - 2)]))
    one = adapter.encode([_picture()])["pixel_values"]
    return {"pixel_values": torch.randn(size, *one.shape[1:])}


def _picture() -> Any:
    from benchmarks.gpu_material import picture

    return picture("red", 1, 224, 224)


class _Ready:
    """Items whose inputs are there already: those of one batch again and again."""

    def __init__(self, inputs: dict[str, Any], count: int, kind: str) -> None:
        self.inputs, self.size = inputs, len(next(iter(inputs.values())))
        self.digests = [number.to_bytes(16, "little") for number in range(count)]
        self.lengths = np.full(count, _TOKENS) if kind == "bert" else None

    def batch(self, chosen: Sequence[int], tokens: int = 0) -> Any:
        """Return the inputs of these items, copied out of what is there."""
        import torch

        from hftransfer.tasks.items import Batch

        del tokens
        rows = torch.tensor([item % self.size for item in chosen])
        return Batch(list(chosen), {name: part[rows] for name, part in self.inputs.items()}, {})

    def beside(self, chosen: Sequence[int], tokens: int = 0) -> dict[str, Any]:
        """Return what goes beside stored activations."""
        inputs: dict[str, Any] = self.batch(chosen, tokens).inputs
        return inputs


def _raw_items(adapter: Any, kind: str, setting: Setting, size: int) -> Any:
    """Return JPEG files that are to be decoded, or tokens that are to be padded."""
    from hftransfer.data.rows import BytesContent, Row
    from hftransfer.tasks.items import ImageItems, TokenItems

    count = (3 if setting.small or not setting.on_gpu else 24) * size
    if kind == "bert":
        texts: list[tuple[str, str | None]] = [(t, None) for t, _ in text_rows(count, 2, _TOKENS - 2)]
        return TokenItems(adapter.tokenize_all(texts)[0], adapter)
    few = [content for content, _ in picture_rows(64, 2, 500, 375)]
    rows: list[Any] = [Row(f"{n}.jpg", BytesContent(few[n % 64]), "one") for n in range(count)]
    return ImageItems(rows, [number.to_bytes(16, "little") for number in range(count)], adapter)


def _rate(work: Callable[[], Any], size: int, passes: int, setting: Setting) -> float:
    """Return examples a second: the median of three measurements of so many passes, after some to warm up."""
    for _ in range(max(1, passes // 10)):
        work()
    rates = []
    for _ in range(3):
        _wait(setting)
        began = time.perf_counter()
        for _ in range(passes):
            work()
        _wait(setting)
        rates.append(size * passes / (time.perf_counter() - began))
    return statistics.median(rates)


def _graph_rate(work: Callable[[], Any], size: int, passes: int, setting: Setting) -> float | str:
    """Return the same of a CUDA graph of the pass: what is left when the host costs nothing; or why there is none."""
    import torch

    if not setting.on_gpu:
        return "only on a GPU"
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return _rate(graph.replay, size, passes, setting)
    except Exception as error:
        torch.cuda.synchronize()
        return f"{type(error).__name__}: {str(error)[:120]}"


def _pass_rate(setting: Setting, adapter: Any, compute: Any, items: Any) -> float:
    """Return examples a second of our activation pass in the steady state: without loading, warming up and closing."""
    from hftransfer.training.activations import ActivationStore, fill_store

    rates = []
    for _ in range(1 if setting.small else 3):
        moments: list[tuple[float, int]] = []
        with tempfile.TemporaryDirectory(dir=_in_memory()) as folder:
            store = ActivationStore(Path(folder), {})
            fill_store(store, adapter, len(adapter.stages), items, compute, partial(_note, moments))
        done = [moment for moment in moments if moment[1]]
        first = len(done) // 5
        rates.append(sum(count for _, count in done[first + 1 :]) / (done[-1][0] - done[first][0]))
    return statistics.median(rates)


def _note(moments: list[tuple[float, int]], count: int) -> None:
    moments.append((time.perf_counter(), count))


def _in_memory() -> str | None:
    """Return a folder that is no disk, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _wait(setting: Setting) -> None:
    import torch

    if setting.on_gpu:
        torch.cuda.synchronize()


# --- training steps --------------------------------------------------------------------------------------------------

_STRATEGIES: dict[str, dict[str, Any]] = {
    "fine-tune": {"kind": "fine-tune", "learning_rate": 1e-4, "head_init": "random"},
    "lora": {"kind": "lora", "rank": 8, "learning_rate": 1e-4, "head_init": "random"},
}


def steps(kind: str, setting: Setting) -> Figures:
    """Return milliseconds a step and peak memory of ours and of the Trainer's, in bfloat16, the same batches ready in
    memory; of pictures also with decoding."""
    batch, count = (4, 6) if setting.small or not setting.on_gpu else (32, 50)
    found: Figures = {"batch": batch}
    for name in _STRATEGIES:
        ours = _our_steps(setting, kind, name, batch, count, ready=True)
        theirs = _trainer_steps(setting, kind, name, batch, count, ready=True)
        found[name] = _compared(ours, theirs)
    found["fine-tune, any order"] = _our_steps(setting, kind, "fine-tune", batch, count, ready=True, in_order=False)
    if kind == "vit":
        ours = _our_steps(setting, kind, "fine-tune", batch, count, ready=False)
        found["fine-tune, JPEG files"] = _compared(
            ours, _trainer_steps(setting, kind, "fine-tune", batch, count, ready=False)
        )
    return found


def _compared(ours: Figures, theirs: Figures) -> Figures:
    return {"ours": ours, "Trainer": theirs, "Trainer ÷ ours": theirs["ms a step"] / ours["ms a step"]}


def _our_steps(
    setting: Setting, kind: str, strategy: str, batch: int, count: int, *, ready: bool, in_order: bool = True
) -> Figures:
    """Return milliseconds a step of our loop, how they are spent, and peak memory."""
    import hftransfer as ht
    from hftransfer.base.progress import Progress
    from hftransfer.training import loop

    rows = _rows(kind, batch * count)
    moments: list[float] = []
    step: Callable[..., Any] = loop._Run.step

    def noted(self: Any, *given: Any) -> Any:
        due = step(self, *given)
        if len(moments) in (count // 5, count - 1):
            _wait(setting)
        moments.append(time.perf_counter())
        return due

    options: dict[str, Any] = {"epochs": 1, "batch_size": batch, "precision": "bf16", "checkpoint_every_minutes": None}
    with ExitStack() as stack, _peak(setting) as peak:
        stack.enter_context(patch.object(loop._Run, "step", noted))
        spent = stack.enter_context(_spans())
        if not in_order:
            stack.enter_context(patch.object(loop, "repeatable", lambda **_: ExitStack()))
        if ready and kind == "vit":
            stack.enter_context(_ready_pictures(setting))
        ht.fit(
            IMAGES if kind == "vit" else TEXTS,
            model=str(setting.model(kind, "base")),
            train=rows,
            validation=rows[:batch],
            strategy=_STRATEGIES[strategy],
            progress=Progress(None),
            **options,
        )
    parts = {name: 1000 * statistics.median(seconds[count // 5 :]) for name, seconds in spent.items() if seconds}
    return {"ms a step": _per_step(moments, count), "ms in its parts": parts, "peak GiB": peak()}


def _per_step(moments: Sequence[float], count: int) -> float:
    first = count // 5
    return 1000 * (moments[count - 1] - moments[first]) / (count - 1 - first)


@contextmanager
def _spans() -> Iterator[dict[str, list[float]]]:
    """Give the seconds of every reading, gradient, clipping and optimiser step meanwhile."""
    import torch
    from accelerate.optimizer import AcceleratedOptimizer

    from hftransfer.training import loop

    spent: dict[str, list[float]] = {name: [] for name in ("gradient, reading included", "clipping", "optimiser")}
    places: Any = (
        (loop._Run, "_gradient"),
        (torch.nn.utils, "clip_grad_norm_"),
        (AcceleratedOptimizer, "step"),
    )

    def timed(work: Callable[..., Any], kept: list[float]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                kept.append(time.perf_counter() - began)

        return run

    with ExitStack() as stack:
        for (owner, name), kept in zip(places, spent.values(), strict=True):
            stack.enter_context(patch.object(owner, name, timed(getattr(owner, name), kept)))
        yield spent


@contextmanager
def _ready_pictures(setting: Setting) -> Iterator[None]:
    """Meanwhile pictures need not be decoded: whatever is asked for, its pixels are in memory."""
    from hftransfer.tasks.items import ImageItems

    ready = _Ready(_ready_inputs(_adapter(setting, "vit"), "vit", 64), 64, "vit")
    with patch.object(ImageItems, "batch", lambda _, chosen, tokens=0: ready.batch(chosen, tokens)):
        yield


def _rows(kind: str, count: int) -> list[Any]:
    if kind == "bert":
        return text_rows(count, 3, _TOKENS - 2)
    few = picture_rows(64, 3, 224, 224)
    return [few[number % 64] for number in range(count)]


@contextmanager
def _peak(setting: Setting) -> Iterator[Callable[[], float]]:
    """Give what tells the most GPU memory held meanwhile, in GiB, what was there before left out."""
    import torch

    gc.collect()
    if not setting.on_gpu:
        yield lambda: 0.0
        return
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    yield lambda: (torch.cuda.max_memory_allocated() - before) / 2**30


def _trainer_steps(setting: Setting, kind: str, strategy: str, batch: int, count: int, *, ready: bool) -> Figures:
    """Return milliseconds a step of transformers' Trainer, reading in worker processes, and peak memory."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    moments: list[float] = []

    class Noted(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if len(moments) in (count // 5, count - 1):
                _wait(setting)
            moments.append(time.perf_counter())

    adapter = _adapter(setting, kind)
    data, collate = _trainer_data(adapter, kind, batch * count, ready=ready)
    with tempfile.TemporaryDirectory() as folder, _peak(setting) as peak:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=1,
            learning_rate=1e-4,
            per_device_train_batch_size=batch,
            bf16=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=not setting.on_gpu,
            remove_unused_columns=False,
            dataloader_num_workers=0 if setting.small or not setting.on_gpu else 8,
        )
        model = _with_lora(adapter) if strategy == "lora" else adapter.model
        trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate, callbacks=[Noted()])
        trainer.train()
        del trainer, model
    return {"ms a step": _per_step(moments, count), "peak GiB": peak()}


def _with_lora(adapter: Any) -> Any:
    import peft

    config = peft.LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        target_modules=adapter.lora.modules(None),
        modules_to_save=adapter.head_names(),
    )
    return peft.get_peft_model(adapter.model, config)


class _Data:
    """What a Trainer reads: items by number, made when they are asked for."""

    def __init__(self, count: int, read: Callable[[int], dict[str, Any]]) -> None:
        self.count, self.read = count, read

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.read(number)


def _trainer_data(adapter: Any, kind: str, count: int, *, ready: bool) -> tuple[Any, Any]:
    """Return the data of a Trainer and what makes batches of them: tensors, JPEG files, or tokens."""
    from transformers import DataCollatorWithPadding, default_data_collator

    rows = _rows(kind, count)
    if kind == "bert":
        tokens = adapter.tokenize_all([(text, None) for text, _ in rows])[0]
        data = _Data(count, lambda number: {**tokens[number], "labels": number % 2})
        return data, DataCollatorWithPadding(adapter.processor)
    if ready:
        pixels = _ready_inputs(adapter, kind, 64)["pixel_values"]
        return _Data(count, lambda n: {"pixel_values": pixels[n % 64], "labels": n % 2}), default_data_collator
    return _Data(count, lambda n: _decoded(adapter, rows[n][0], n % 2)), default_data_collator


def _decoded(adapter: Any, content: bytes, label: int) -> dict[str, Any]:
    import io

    from PIL import Image

    pixels = adapter.encode([Image.open(io.BytesIO(content)).convert("RGB")])["pixel_values"][0]
    return {"pixel_values": pixels, "labels": label}


SPEEDS: dict[str, Check] = {
    "frozen-images": partial(frozen, "vit"),
    "frozen-texts": partial(frozen, "bert"),
    "steps-images": partial(steps, "vit"),
    "steps-texts": partial(steps, "bert"),
}
