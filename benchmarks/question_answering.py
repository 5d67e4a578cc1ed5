"""Extractive question answering: a script around the Trainer against ours, the same budget each.

The Trainer runs as transformers' `run_qa.py` example does: windows padded to their full length (or each batch to its
longest), no warm-up, linear decay, the last epoch's model. Windows are made, and answers decoded and scored, by the
same code. Seconds are those of training and evaluation; the accuracy is F1 of the validation split.
"""

from __future__ import annotations

import time
from typing import Any, cast

from benchmarks import data, ours
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.trainers import training_arguments


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """The model's folder; the data must be given."""
    if not settings["data"]:
        raise SystemExit("--data must be a folder with train.jsonl and validation.jsonl in SQuAD's columns")
    return data.model(settings)


def our_run(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, with an evaluation in every epoch."""
    recipe = ours.recipe_of(
        settings,
        "question-answering",
        {"kind": "fine-tune", "learning_rate": settings["learning_rate"]},
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
    )
    windows = {name: settings[name] for name in ("max_tokens", "stride_tokens")}
    recipe["data"] = {"source": settings["data"], "test_fraction": 0, "limit": settings["rows"] or None, **windows}
    found = ours.run(recipe, settings)
    scores = ours.metrics_of(settings)["validation"]
    seconds = found["stages"]["train"] + found["stages"]["evaluate"]
    return {"seconds": seconds, "accuracy": scores["f1"], "exact_match": scores["exact_match"]}


def trainer_run(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer; `padding` is max_length or longest."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding, Trainer

    from hftransfer.base.progress import Progress
    from hftransfer.data.questions import QUESTIONS
    from hftransfer.data.rows import QuestionContent
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.sources import find_rows
    from hftransfer.metrics.spans import score_spans
    from hftransfer.tasks.spans import decode, span_targets
    from hftransfer.tasks.windows import make_windows

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    torch.manual_seed(settings["seed"])
    model = AutoModelForQuestionAnswering.from_pretrained(settings["model"], dtype=torch.float32)
    parts = find_rows(DataSettings(source=settings["data"]), Progress(None), QUESTIONS)
    most = settings["rows"] or None
    contents = {name: [cast(QuestionContent, row.content) for row in rows[:most]] for name, rows in parts.items()}
    windows = {
        name: make_windows(
            tokenizer,
            [content.question for content in part],
            [content.context for content in part],
            settings["max_tokens"],
            settings["stride_tokens"],
        )
        for name, part in contents.items()
    }
    gold = [[(a.start, a.start + len(a.text)) for a in row.target[:1]] for row in parts["train"][:most]]
    targets = span_targets(windows["train"], gold)[:, 0].tolist()  # (W, 2)
    train: list[dict[str, Any]] = [
        {**window.tokens, "start_positions": first, "end_positions": last}
        for window, (first, last) in zip(windows["train"], targets, strict=True)
    ]
    padding = settings["padding"]
    trainer = Trainer(
        model=model,
        args=training_arguments(settings),
        train_dataset=cast(Any, train),
        data_collator=DataCollatorWithPadding(tokenizer, padding=padding, max_length=settings["max_tokens"]),
    )
    began = time.perf_counter()
    trainer.train()
    tokens = [window.tokens for window in windows["validation"]]
    starts, ends = trainer.predict(cast(Any, tokens)).predictions[:2]
    logits = [
        torch.stack([torch.from_numpy(start), torch.from_numpy(end)], dim=-1).numpy()[: len(entry["input_ids"])]
        for start, end, entry in zip(starts, ends, tokens, strict=True)
    ]
    asked = contents["validation"]
    predictions = decode(windows["validation"], logits, [content.context for content in asked])
    wanted = [[answer.text for answer in row.target] for row in parts["validation"][:most]]
    scores = score_spans([p.answer for p in predictions], wanted)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "accuracy": scores["f1"], "exact_match": scores["exact_match"]}


BENCHMARKS = (
    Benchmark(
        name="question-answering",
        about="a whole network fine-tuned to answer questions (accuracy: F1)",
        sides=(
            Side("ours", our_run),
            Side("Trainer, as run_qa.py", trainer_run, (faster(),), {"padding": "max_length"}),
            Side("Trainer, padded to the longest", trainer_run, (faster(),), {"padding": "longest"}),
        ),
        settings={
            "data": data.QUESTIONS,
            "model": data.TEXT_MODEL,
            "rows": 0,
            "epochs": 2,
            "batch_size": 16,
            "learning_rate": 1e-4,
            "max_tokens": 256,
            "stride_tokens": 96,
        },
        prepare=prepare,
        warm_up={"rows": 32, "epochs": 1},
        pairs=1,
    ),
)
