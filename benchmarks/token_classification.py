"""Named entities: a script around the Trainer against ours, the same budget each.

The Trainer runs as transformers' `run_ner.py` example does: words split into pieces, labels of inner pieces -100, each
batch padded to its longest, no warm-up, linear decay, float32, the last epoch's model. Predictions of both are scored
by the same code. Seconds are those of reading, training and evaluation (validation and test); the accuracy is the
entity F1 of the test split.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from benchmarks import data, ours
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.trainers import training_arguments


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """The model's folder; the data must be given."""
    if not settings["data"]:
        raise SystemExit("--data must be a folder with train, validation and test.jsonl (tokens, ner_tags)")
    return data.model(settings)


def our_run(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, with an evaluation in every epoch."""
    recipe = ours.recipe_of(
        settings,
        "token-classification",
        {"kind": "fine-tune", "unfreeze": "all", "learning_rate": settings["learning_rate"]},
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        patience=None,
    )
    recipe["data"] = {"source": settings["data"], "limit": settings["rows"] or None}
    found = ours.run(recipe, settings)
    scores = ours.metrics_of(settings)
    told = {"validation": scores["validation"]["f1"], "token_accuracy": scores["test"]["token_accuracy"]}
    return {"seconds": found["seconds"], "accuracy": scores["test"]["f1"], **told}


def trainer_run(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer, as `run_ner.py` uses it."""
    import datasets
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification, Trainer

    from hftransfer.metrics.entities import score_tags

    datasets.disable_progress_bars()
    torch.manual_seed(settings["seed"])
    began = time.perf_counter()
    files = {name: str(Path(settings["data"]) / f"{name}.jsonl") for name in ("train", "validation", "test")}
    texts = datasets.load_dataset("json", data_files=files, cache_dir=settings["folder"])
    if settings["rows"]:
        texts = datasets.DatasetDict(
            {name: part.select(range(min(settings["rows"], len(part)))) for name, part in texts.items()}
        )
    names = sorted({tag for tags in texts["train"]["ner_tags"] for tag in tags})
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])

    def encode(rows: dict[str, Any]) -> dict[str, Any]:
        encoded = tokenizer(rows["tokens"], truncation=True, is_split_into_words=True)
        labels = []
        for row, tags in enumerate(rows["ner_tags"]):
            words = encoded.word_ids(row)
            first = [word is not None and word != before for word, before in zip(words, [None, *words], strict=False)]
            ids = [names.index(tags[w]) if is_first else -100 for w, is_first in zip(words, first, strict=True)]
            labels.append(ids)
        return {**encoded, "labels": labels}

    encoded = texts.map(encode, batched=True, remove_columns=texts["train"].column_names)
    model = AutoModelForTokenClassification.from_pretrained(
        settings["model"], num_labels=len(names), dtype=torch.float32
    )
    trainer = Trainer(
        model=model,
        args=training_arguments(settings),
        train_dataset=cast(Any, encoded["train"]),
        eval_dataset=cast(Any, encoded["validation"]),
        data_collator=DataCollatorForTokenClassification(tokenizer),
    )
    trainer.train()
    scores = {}
    for split in ("validation", "test"):
        found = trainer.predict(cast(Any, encoded[split]))
        counted = found.label_ids != -100
        said = [
            [names[tag] for tag in row[own]]
            for row, own in zip(found.predictions.argmax(axis=-1), counted, strict=True)
        ]
        # Words beyond the model's length have no prediction: they are outside, as they are for whoever uses it.
        gold = texts[split]["ner_tags"]
        whole = [[*row, *["O"] * (len(own) - len(row))] for row, own in zip(said, gold, strict=True)]
        scores[split] = score_tags(gold, whole)
    seconds = time.perf_counter() - began
    told = {"validation": scores["validation"]["f1"], "token_accuracy": scores["test"]["token_accuracy"]}
    return {"seconds": seconds, "accuracy": scores["test"]["f1"], **told}


BENCHMARKS = (
    Benchmark(
        name="token-classification",
        about="a whole network fine-tuned to find named entities (accuracy: entity F1)",
        sides=(Side("ours", our_run), Side("Trainer, as run_ner.py", trainer_run, (faster(1 / 0.7),))),
        settings={
            "data": data.ENTITIES,
            "model": data.TEXT_MODEL,
            "rows": 0,
            "epochs": 3,
            "batch_size": 16,
            "learning_rate": 1e-4,
        },
        prepare=prepare,
        warm_up={"rows": 300, "epochs": 1},
        pairs=1,
    ),
)
