"""Any number of labels a text: a head solved for all labels at once beside one logistic regression each, and a whole
network fine-tuned beside a script around the Trainer.

The data are a folder with train, validation and test as JSONL, `text` and `labels` (lists of names). The score is macro
F1 on the test split, as scikit-learn has it: ours with the thresholds that validation chose; the scripts of others at
0.5, as they are written, and of the logistic regressions with thresholds chosen in the same way, too.
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
        raise SystemExit("--data must be a folder with train, validation and test as JSONL of text and labels")
    return data.model(settings)


def prepare_features(settings: dict[str, Any]) -> dict[str, Any]:
    """The mean of the frozen network's tokens for each text, which both sides learn from."""
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    found = prepare(settings)
    tokenizer = AutoTokenizer.from_pretrained(found["model"])
    model = AutoModel.from_pretrained(found["model"], dtype=torch.float32).eval()
    parts: dict[str, Any] = {}
    for split, (texts, labels, _) in _splits(settings).items():
        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), 64):
                inputs = tokenizer(texts[start : start + 64], padding=True, truncation=True, return_tensors="pt")
                tokens, mask = model(**inputs).last_hidden_state, inputs["attention_mask"].unsqueeze(-1)
                rows.append(((tokens * mask).sum(1) / mask.sum(1)).numpy())
        parts |= {f"features_{split}": np.concatenate(rows), f"labels_{split}": labels}
    file = Path(settings["folder"]) / "features.npz"
    np.savez(file, **parts)
    return {**found, "features": str(file)}


def _splits(settings: dict[str, Any]) -> dict[str, tuple[list[str], Any, list[str]]]:
    """By split the texts, their labels (N, C) of 0 and 1, and the names of the labels."""
    import numpy as np

    rows = {
        split: [json.loads(line) for line in (Path(settings["data"]) / f"{split}.jsonl").open(encoding="utf-8")]
        for split in ("train", "validation", "test")
    }
    most = settings["rows"] or None
    rows = {split: part[:most] for split, part in rows.items()}
    names = sorted({label for row in rows["train"] for label in row["labels"]})
    found = {}
    for split, part in rows.items():
        labels = np.array([[name in row["labels"] for name in names] for row in part], dtype=np.int64)
        found[split] = [row["text"] for row in part], labels, names
    return found


def _macro_f1(labels: Any, given: Any) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, given, average="macro", zero_division=0))


def our_solver(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side: all labels at once, each with the L2 strength that is best on validation."""
    import numpy as np
    from scipy.special import expit

    from hftransfer.tasks.multi_label import best_thresholds, chosen
    from hftransfer.training.solver import InMemory, Problem, solve_labels

    parts = np.load(settings["features"])
    began = time.perf_counter()
    train, validation, test = (InMemory(parts[f"features_{name}"]) for name in ("train", "validation", "test"))
    known = parts["labels_validation"]
    head = solve_labels(Problem(train, parts["labels_train"], validation, known, known.shape[1]))
    thresholds = best_thresholds(known.astype(bool), expit(head.logits(validation)))
    given = chosen(expit(head.logits(test)), thresholds)
    seconds = time.perf_counter() - began
    at_half = _macro_f1(parts["labels_test"], expit(head.logits(test)) >= 0.5)
    return {"seconds": seconds, "accuracy": _macro_f1(parts["labels_test"], given), "at_half": at_half}


def one_by_one(settings: dict[str, Any]) -> dict[str, Any]:
    """scikit-learn's OneVsRestClassifier on standardised features, over the same strengths."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import StandardScaler

    from hftransfer.tasks.multi_label import best_thresholds, chosen
    from hftransfer.training.solver import GRID

    parts = np.load(settings["features"])
    began = time.perf_counter()
    scaler = StandardScaler().fit(parts["features_train"])
    train, validation, test = (scaler.transform(parts[f"features_{n}"]) for n in ("train", "validation", "test"))
    known = parts["labels_validation"]
    best: tuple[float, Any] | None = None
    for strength in GRID:
        solver = LogisticRegression(C=1 / (strength * len(train)), max_iter=1000)
        model = OneVsRestClassifier(solver).fit(train, parts["labels_train"])
        found = model.predict_proba(validation)
        loss = float(np.mean([log_loss(known[:, i], found[:, i], labels=[0, 1]) for i in range(known.shape[1])]))
        if best is None or loss < best[0]:
            best = loss, model
    assert best is not None
    thresholds = best_thresholds(known.astype(bool), best[1].predict_proba(validation))
    scores = best[1].predict_proba(test)
    given = chosen(scores, thresholds)
    seconds = time.perf_counter() - began
    at_half = _macro_f1(parts["labels_test"], scores >= 0.5)
    return {"seconds": seconds, "accuracy": _macro_f1(parts["labels_test"], given), "at_half": at_half}


def our_run(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, with an evaluation in every epoch, and thresholds."""
    strategy = {"kind": "fine-tune", "learning_rate": settings["learning_rate"]}
    recipe = ours.recipe_of(
        settings,
        "text-classification",
        strategy,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        patience=None,
    )
    recipe["data"] = {"source": settings["data"], "limit": settings["rows"] or None}
    found = ours.run(recipe, settings)
    return {"seconds": found["seconds"], "accuracy": ours.metrics_of(settings)["test"]["macro_f1"]}


def trainer_run(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer on sigmoids, by its usual settings; labels from 0.5 on."""
    import datasets
    import numpy as np
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    datasets.disable_progress_bars()
    torch.manual_seed(settings["seed"])
    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    parts = {}
    found = _splits(settings)
    for split, (texts, labels, _) in found.items():
        own = datasets.Dataset.from_dict({"text": texts, "labels": labels.astype(np.float32).tolist()})
        parts[split] = own.map(lambda part: tokenizer(part["text"], truncation=True), batched=True)
    model = AutoModelForSequenceClassification.from_pretrained(
        settings["model"],
        num_labels=len(found["train"][2]),
        problem_type="multi_label_classification",
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
    )
    trainer = trained_on_texts(settings, model, tokenizer, parts)
    logits = trainer.predict(parts["test"]).predictions
    seconds = time.perf_counter() - began
    labels = np.asarray(parts["test"]["labels"])
    return {"seconds": seconds, "accuracy": _macro_f1(labels, logits >= 0)}


_TUNED = {"bf16": True, "grouped": True}
_DATA = {"data": data.EMOTIONS, "model": data.TEXT_MODEL, "rows": 0}

BENCHMARKS = (
    Benchmark(
        name="probe-labels",
        about="a linear head for several labels a text, solved at once beside one logistic regression each",
        sides=(Side("ours", our_solver), Side("scikit-learn, one by one", one_by_one, (faster(5),))),
        settings=_DATA,
        prepare=prepare_features,
        warm_up={"rows": 400},
        pairs=1,
    ),
    Benchmark(
        name="fine-tune-labels",
        about="a whole network fine-tuned on texts with several labels",
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
        settings={**_DATA, "epochs": 3, "batch_size": 32, "learning_rate": 1e-4},
        prepare=prepare,
        warm_up={"rows": 100, "epochs": 1},
        pairs=1,
    ),
)
