"""A number a pair of texts: a ridge regression solved beside scikit-learn's, and a whole network fine-tuned beside a
script around the Trainer.

The data are a folder with train, validation and test as JSONL, `sentence1`, `sentence2` and `score`. The accuracy that
is told is Spearman's correlation on the test split.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks import data, ours
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.trainers import trained_on_texts


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """The model's folder; the data must be given."""
    if not settings["data"]:
        raise SystemExit("--data must be a folder with train, validation and test as JSONL of sentence1, 2 and score")
    return data.model(settings)


def prepare_features(settings: dict[str, Any]) -> dict[str, Any]:
    """Both sentences' mean of the frozen network's tokens, of length 1, u and v: (u, v, |u - v|, u · v), which all
    sides learn from."""
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    found = prepare(settings)
    tokenizer = AutoTokenizer.from_pretrained(found["model"])
    model = AutoModel.from_pretrained(found["model"], dtype=torch.float32).eval()

    def embedded(texts: list[str]) -> Any:
        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), 64):
                inputs = tokenizer(texts[start : start + 64], padding=True, truncation=True, return_tensors="pt")
                tokens, mask = model(**inputs).last_hidden_state, inputs["attention_mask"].unsqueeze(-1)
                rows.append(torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1)).numpy())
        return np.concatenate(rows)

    parts: dict[str, Any] = {}
    for split, (first, second, scores) in _splits(settings).items():
        u, v = embedded(first), embedded(second)
        parts |= {f"features_{split}": np.hstack([u, v, np.abs(u - v), u * v]), f"scores_{split}": scores}
    file = Path(settings["folder"]) / "features.npz"
    np.savez(file, **parts)
    return {**found, "features": str(file)}


def _splits(settings: dict[str, Any]) -> dict[str, tuple[list[str], list[str], Any]]:
    """By split both texts of all pairs, and their scores (N,)."""
    import numpy as np

    found = {}
    for split in ("train", "validation", "test"):
        with (Path(settings["data"]) / f"{split}.jsonl").open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines][: settings["rows"] or None]
        first, second = ([row[name] for row in rows] for name in ("sentence1", "sentence2"))
        found[split] = first, second, np.array([row["score"] for row in rows], dtype=np.float64)
    return found


def _spearman(wanted: Any, given: Any) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(wanted, given).statistic)


def our_solver(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side: one eigendecomposition for all strengths."""
    import numpy as np

    from hftransfer.training.solver import InMemory, Problem, solve_numbers

    parts = np.load(settings["features"])
    began = time.perf_counter()
    train, validation, test = (InMemory(parts[f"features_{name}"]) for name in ("train", "validation", "test"))
    head = solve_numbers(Problem(train, parts["scores_train"], validation, parts["scores_validation"], 0))
    given = head.logits(test)[:, 0]
    return {"seconds": time.perf_counter() - began, "accuracy": _spearman(parts["scores_test"], given)}


def ridge_by_validation(settings: dict[str, Any]) -> dict[str, Any]:
    """scikit-learn's Ridge on standardised features, over the same strengths."""
    import numpy as np
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    from hftransfer.training.solver import RIDGE_GRID

    parts = np.load(settings["features"])
    began = time.perf_counter()
    scaler = StandardScaler().fit(parts["features_train"])
    train, validation, test = (scaler.transform(parts[f"features_{n}"]) for n in ("train", "validation", "test"))
    best: tuple[float, Any] | None = None
    for strength in RIDGE_GRID:
        model = Ridge(alpha=strength * len(train)).fit(train, parts["scores_train"])
        error = float(np.square(model.predict(validation) - parts["scores_validation"]).mean())
        if best is None or error < best[0]:
            best = error, model
    assert best is not None
    given = best[1].predict(test)
    return {"seconds": time.perf_counter() - began, "accuracy": _spearman(parts["scores_test"], given)}


def our_run(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, with an evaluation in every epoch."""
    strategy = {"kind": "fine-tune", "learning_rate": settings["learning_rate"]}
    recipe = ours.recipe_of(
        settings,
        "text-regression",
        strategy,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        patience=None,
    )
    recipe["data"] = {"source": settings["data"], "limit": settings["rows"] or None}
    found = ours.run(recipe, settings)
    return {"seconds": found["seconds"], "accuracy": ours.metrics_of(settings)["test"]["spearman"]}


def trainer_run(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer with one output and squared error, by its usual settings."""
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    datasets.disable_progress_bars()
    torch.manual_seed(settings["seed"])
    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    parts = {}
    for split, (first, second, scores) in _splits(settings).items():
        columns = {"sentence1": first, "sentence2": second, "labels": scores.tolist()}
        own = datasets.Dataset.from_dict(columns).cast_column("labels", datasets.Value("float32"))
        parts[split] = own.map(
            lambda part: tokenizer(part["sentence1"], part["sentence2"], truncation=True), batched=True
        )
    model = AutoModelForSequenceClassification.from_pretrained(
        settings["model"],
        num_labels=1,
        problem_type="regression",
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
    )
    trainer = trained_on_texts(settings, model, tokenizer, parts)
    given = trainer.predict(parts["test"]).predictions.reshape(-1)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "accuracy": _spearman(parts["test"]["labels"], given)}


_DATA = {"data": data.SIMILARITIES, "model": data.TEXT_MODEL, "rows": 0}

BENCHMARKS = (
    Benchmark(
        name="probe-numbers",
        about="ridge regression on the features of pairs of texts, all strengths at once beside one fit each",
        sides=(Side("ours", our_solver), Side("scikit-learn, one by one", ridge_by_validation, (faster(3),))),
        settings=_DATA,
        prepare=prepare_features,
        warm_up={"rows": 400},
        pairs=1,
    ),
    Benchmark(
        name="fine-tune-numbers",
        about="a whole network fine-tuned on pairs of texts with a number",
        sides=(
            Side("ours", our_run),
            Side("Trainer", trainer_run, (faster(1.25),)),
            Side(
                "Trainer, bf16, grouped by length",
                trainer_run,
                (faster(1.0),),
                {"bf16": True, "grouped": True},
                bf16=True,
            ),
        ),
        settings={**_DATA, "epochs": 4, "batch_size": 32, "learning_rate": 1e-4},
        prepare=prepare,
        warm_up={"rows": 100, "epochs": 1},
        pairs=1,
    ),
)
