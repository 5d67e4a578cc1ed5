"""A whole network fine-tuned: scripts around Hugging Face's Trainer against hftransfer; our step against a bare one.

    python -m benchmarks.fine_tune --task text --data ~/sst2 --model bundled/minilm-l6
    python -m benchmarks.fine_tune --task images --data ~/cats_dogs --model ~/vit_tiny_patch16_224

All sides train for the same epochs with the same batch size, learning rate, seed and threads, in turn, each in a
process of its own; imports, loading and tokenising are left out. The Trainer's seconds are `train()` and `evaluate()`
on the test split; ours have a validation in every epoch besides, and the test's figures. Of photos, both train on the
85 % that ours does not hold out for validation.

- trainer: as it is by default, texts padded to the longest of a batch;
- grouped: in fp32 as by default, texts grouped by length; the best a Trainer does where bf16 is not in the hardware;
- tuned: with bf16, and texts grouped by length;
- overhead: our step, reading and clipping included, divided by a bare forward, backward and optimiser step over ready
  batches of the same examples, both in one process and in turn; once with the model's dropout (torch's in the bare
  step) and once without any.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from benchmarks.sides import in_process, median, spread
from benchmarks.trainers import accuracy, batched, photos_and_model, training_arguments

_SETTINGS = ("task", "model", "data", "epochs", "batch_size", "learning_rate")


def main() -> None:
    """Nothing; runs the sides asked for in turn and prints ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", choices=("text", "images"), default="text")
    parser.add_argument("--model", default="bundled/minilm-l6")
    parser.add_argument("--data", required=True, help="a folder with train, validation and test")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--pairs", type=int, default=3, help="interleaved repetitions, with seeds 0, 1, …")
    parser.add_argument("--sides", default="trainer,grouped,tuned,overhead")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        print(json.dumps(_ROLES[options.role](options)))
        return
    sides = options.sides.split(",")
    if rivals := [name for name in sides if name != "overhead"]:
        _compare(options, rivals)
    if "overhead" in sides:
        print("our step ÷ a bare one:", json.dumps(_side("overhead", options, 0)))


def _compare(options: argparse.Namespace, rivals: list[str]) -> None:
    runs = [{role: _side(role, options, seed) for role in ("ours", *rivals)} for seed in range(options.pairs)]
    for role in ("ours", *rivals):
        print(f"{role}: accuracy", median(run[role]["accuracy"] for run in runs), end="; ")
        print("seconds", median(run[role]["seconds"] for run in runs))
    for role in rivals:
        print(f"{role} ÷ ours:", json.dumps(spread(run[role]["seconds"] / run["ours"]["seconds"] for run in runs)))


def _side(role: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in _SETTINGS] + [f"--seed={seed}"]
    print(f"{role} (seed {seed}) …", file=sys.stderr)
    return in_process("benchmarks.fine_tune", role, given, options.threads)


# --- what runs in a process of its own -------------------------------------------------------------------------------


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "task": "text-classification" if options.task == "text" else "image-classification",
        "model": options.model,
        "data": options.data,
        "strategy": {"kind": "fine-tune", "learning_rate": options.learning_rate},
        "train": {
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "seed": options.seed,
            "patience": None,
            "checkpoint_every_minutes": None,
        },
    }


def _run_ours(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    import hftransfer
    from hftransfer.progress import Progress

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        metrics = hftransfer.run(_recipe(options), out=folder, progress=Progress(None)).metrics
    seconds = metrics["seconds"]
    return {"seconds": round(seconds["train"] + seconds["evaluate"], 1), "accuracy": metrics["test"]["accuracy"]}


def _run_trainer(options: argparse.Namespace, *, bf16: bool = False, grouped: bool = False) -> dict[str, Any]:
    import datasets
    import torch
    from transformers import Trainer

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        parts = _text_parts(options, folder) if options.task == "text" else _image_parts(options, folder)
        more: dict[str, Any] = {"bf16": bf16, "remove_unused_columns": options.task == "text"}
        if grouped and options.task == "text":
            more["train_sampling_strategy"] = "group_by_length"
        settings = training_arguments(folder, options.epochs, options.learning_rate, **batched(options), **more)
        trainer = Trainer(args=settings, compute_metrics=accuracy, **parts)
        started = time.perf_counter()
        trainer.train()
        scores = trainer.evaluate()
        return {"seconds": round(time.perf_counter() - started, 1), "accuracy": scores["eval_accuracy"]}


def _text_parts(options: argparse.Namespace, cache: str) -> dict[str, Any]:
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    from hftransfer.adapters.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(options.model)
    assert checkpoint is not None
    files = {name: str(Path(options.data).expanduser() / f"{name}.csv") for name in ("train", "test")}
    texts = datasets.load_dataset("csv", data_files=files, cache_dir=cache, keep_default_na=False)
    names = sorted(set(texts["train"]["label"]))
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)
    column = next(name for name in texts["train"].column_names if name != "label")

    def encode(row: dict[str, Any]) -> dict[str, Any]:
        return {**tokenizer(row[column], truncation=True), "labels": names.index(row["label"])}

    encoded = texts.map(encode, remove_columns=texts["train"].column_names)
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint.folder, num_labels=len(names), dtype=torch.float32
    )
    collator = DataCollatorWithPadding(tokenizer)
    return {
        "model": model,
        "train_dataset": encoded["train"],
        "eval_dataset": encoded["test"],
        "data_collator": collator,
    }


def _image_parts(options: argparse.Namespace, cache: str) -> dict[str, Any]:
    import torch

    photos, model = photos_and_model(options.data, options.model, cache, dtype=torch.float32)
    train = photos["train"].shuffle(seed=options.seed)
    held_out = round(0.15 * len(train))  # as ours holds out for validation
    return {"model": model, "train_dataset": train.select(range(len(train) - held_out)), "eval_dataset": photos["test"]}


def _run_tuned(options: argparse.Namespace) -> dict[str, Any]:
    return _run_trainer(options, bf16=True, grouped=True)


def _run_grouped(options: argparse.Namespace) -> dict[str, Any]:
    return _run_trainer(options, grouped=True)


def _run_overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Ratios of seconds per step, over blocks of 10 steps in turn."""
    import torch

    torch.set_num_threads(options.threads)
    return {name: _overhead(options, dropout=name == "with dropout") for name in ("with dropout", "without dropout")}


def _overhead(options: argparse.Namespace, *, dropout: bool) -> dict[str, float]:
    import torch

    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.data.sources import find_rows
    from hftransfer.data.splits import build_splits
    from hftransfer.jobs.early import ROWS_OF, task_of
    from hftransfer.progress import Progress
    from hftransfer.recipe import load_recipe
    from hftransfer.training.activations import Source, read_ahead
    from hftransfer.training.batches import shares_of_epoch
    from hftransfer.training.devices import choose_compute
    from hftransfer.training.loop import Plan, _reader, _Run

    recipe = load_recipe(_recipe(options)).recipe
    silent, task = Progress(None), task_of(recipe)
    rows = find_rows(recipe.data, silent, kind=ROWS_OF[recipe.task])
    splits = build_splits(rows, recipe.data, options.seed, silent, kind=ROWS_OF[recipe.task])
    checkpoint = find_checkpoint(recipe.model.name)
    assert checkpoint is not None
    compute = choose_compute("fp32", None)

    def made() -> tuple[Any, Source, Any]:
        adapter = load_adapter(checkpoint, splits.class_names, task=cast(Any, recipe.task), pooling="native", seed=0)
        recipe.strategy.prepare(adapter, 0)
        if not dropout:
            for module in adapter.model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
                if hasattr(module, "dropout_prob"):
                    module.dropout_prob = 0.0
        examples = task.examples(adapter, splits.train, recipe.data)
        loss = task.loss(examples, len(splits.class_names), compute.device, label_smoothing=0.0, class_weights=False)
        return adapter, Source(examples.items, adapter, 0, compute), loss

    adapter, source, loss = made()
    names = {
        "adapter": adapter,
        "boundary": 0,
        "train": lambda _: source,
        "loss": loss,
        "evaluate": cast(Any, None),
        "name_of": str,
        "rates": recipe.strategy,
        "settings": recipe.train,
        "epochs": 1,
        "compute": compute,
        "progress": silent,
    }
    run = _Run(Plan(**cast(Any, names)))
    bare, _, bare_loss = made()
    optimizer = torch.optim.AdamW(bare.model.parameters(), lr=options.learning_rate, fused=True)
    epochs = (
        shares_of_epoch(len(source), source.lengths, recipe.train, epoch, compute.processes) for epoch in range(9)
    )
    shares = [share for epoch in epochs for share in epoch if len(share.batch) == options.batch_size]
    adapter.learn_mode(0, on=True)
    bare.learn_mode(0, on=True)
    ratios, size = [], 10
    for start in range(0, 12 * size if options.task == "text" else 7 * size, size):
        block = shares[start : start + size]
        ready = [_reader(source)(share) for share in block]
        began = time.perf_counter()
        reads = read_ahead(_reader(source), block, compute)
        for share in block:
            run.step(source, share, reads)
        ours = time.perf_counter() - began
        began = time.perf_counter()
        for share, inputs in zip(block, ready, strict=True):
            logits = bare.model(**inputs).logits
            (bare_loss.total(logits, share.batch) / len(share.batch)).backward()
            optimizer.step()
            optimizer.zero_grad()
        ratios.append(ours / (time.perf_counter() - began))
    return spread(ratios[1:])


_ROLES = {
    "ours": _run_ours,
    "trainer": _run_trainer,
    "grouped": _run_grouped,
    "tuned": _run_tuned,
    "overhead": _run_overhead,
}


if __name__ == "__main__":
    main()
