"""Extractive question answering: a script around Hugging Face's Trainer against hftransfer, the same budget each.

    python -m benchmarks.question_answering --data ~/squad

`--data` is a folder with train.jsonl and validation.jsonl in SQuAD's columns. Both sides fine-tune the whole network on
the same windows for the same number of epochs, with the same batch size, learning rate and threads, each in a process
of its own. The Trainer runs as the `run_qa.py` example of transformers does: windows padded to their full length
(`--padding longest` pads each batch to its longest window instead), no warm-up, linear decay, the last epoch's model.
Both models' logits are decoded and scored by the same code. Seconds are those of training, and with evaluation.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from benchmarks.sides import in_process, spread
from benchmarks.trainers import batched, training_arguments

_SETTINGS = ("model", "data", "epochs", "batch_size", "learning_rate", "max_tokens", "stride_tokens", "padding")


def main() -> None:
    """Nothing; runs both sides in turn and prints ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="bundled/minilm-l6")
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--stride-tokens", type=int, default=96)
    parser.add_argument("--padding", choices=("max_length", "longest"), default="max_length")
    parser.add_argument("--pairs", type=int, default=1, help="interleaved repetitions, with seeds 0, 1, …")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        found = {"ours": _run_ours, "trainer": _run_trainer}[options.role](options)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        found |= {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1), "peak_gib": usage.ru_maxrss / 2**20}
        print(json.dumps(found))
        return
    pairs = []
    for seed in range(options.pairs):
        given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in _SETTINGS] + [f"--seed={seed}"]
        sides = [in_process("benchmarks.question_answering", role, given, options.threads) for role in _ROLES]
        pairs.append(sides)
    for name in ("training_seconds", "seconds", "cpu_seconds"):
        print(f"trainer ÷ ours, {name}:", json.dumps(spread(rival[name] / own[name] for own, rival in pairs)))
    for name in ("f1", "exact_match"):
        print(f"ours, trainer, {name}:", [[round(side[name], 4) for side in sides] for sides in pairs])


_ROLES = ("ours", "trainer")


def _run_ours(options: argparse.Namespace) -> dict[str, Any]:
    import hftransfer
    from hftransfer.progress import Progress

    recipe = {
        "task": "question-answering",
        "model": options.model,
        "data": {
            "source": options.data,
            "max_tokens": options.max_tokens,
            "stride_tokens": options.stride_tokens,
            "test_fraction": 0,
        },
        "strategy": {"kind": "fine-tune", "learning_rate": options.learning_rate},
        "train": {"epochs": options.epochs, "batch_size": options.batch_size, "seed": options.seed},
    }
    with tempfile.TemporaryDirectory() as folder:
        metrics = hftransfer.run(recipe, out=folder, progress=Progress(None)).metrics
        history = (Path(folder) / "history.csv").read_text(encoding="utf-8").splitlines()
    seconds = metrics["seconds"]
    found = {name: metrics["validation"][name] for name in ("f1", "exact_match")}
    return found | {
        "training_seconds": seconds["train"],  # with an evaluation in every epoch
        "seconds": seconds["train"] + seconds["evaluate"],
        "history": history,
    }


def _run_trainer(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    from transformers import (
        AutoModelForQuestionAnswering,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
    )

    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.data.rows import QuestionContent
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.sources import find_rows
    from hftransfer.metrics.spans import score_spans
    from hftransfer.progress import Progress
    from hftransfer.tasks.spans import decode, span_targets
    from hftransfer.tasks.windows import make_windows

    checkpoint = find_checkpoint(options.model)
    assert checkpoint is not None
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)
    torch.manual_seed(options.seed)
    model = AutoModelForQuestionAnswering.from_pretrained(checkpoint.folder, dtype=torch.float32)
    parts = find_rows(DataSettings(source=options.data), Progress(None), kind="questions")
    contents = {name: [cast(QuestionContent, row.content) for row in rows] for name, rows in parts.items()}
    windows = {
        name: make_windows(
            tokenizer,
            [content.question for content in part],
            [content.context for content in part],
            options.max_tokens,
            options.stride_tokens,
        )
        for name, part in contents.items()
    }
    gold = [[(a.start, a.start + len(a.text)) for a in content.answers] for content in contents["train"]]
    targets = span_targets(windows["train"], gold).tolist()
    train: list[dict[str, Any]] = [
        {**window.tokens, "start_positions": first, "end_positions": last}
        for window, (first, last) in zip(windows["train"], targets, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=training_arguments(folder, options.epochs, options.learning_rate, **batched(options)),
            train_dataset=cast(Any, train),
            data_collator=DataCollatorWithPadding(tokenizer, padding=options.padding, max_length=options.max_tokens),
        )
        started = time.perf_counter()
        trainer.train()
        trained = time.perf_counter()
        tokens = [window.tokens for window in windows["validation"]]
        starts, ends = trainer.predict(cast(Any, tokens)).predictions[:2]
    logits = [
        torch.stack([torch.from_numpy(start), torch.from_numpy(end)], dim=-1).numpy()[: len(entry["input_ids"])]
        for start, end, entry in zip(starts, ends, tokens, strict=True)
    ]
    asked = contents["validation"]
    predictions = decode(windows["validation"], logits, [content.context for content in asked])
    scores = score_spans([p.answer for p in predictions], [[a.text for a in content.answers] for content in asked])
    found = {name: scores[name] for name in ("f1", "exact_match")}
    return found | {"training_seconds": trained - started, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    main()
