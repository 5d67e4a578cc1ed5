"""SetFit as its documents have it; nothing of ours but the data is used."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import time
from typing import Any

from benchmarks.rivals.reading import read_split


def head(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds from reading to the scores of SetFit's head on frozen embeddings: `SetFitModel.fit`."""
    from setfit import SetFitModel

    began = time.perf_counter()
    (texts, labels), (others, wanted) = (read_split(settings["data"], name) for name in ("train", "test"))
    model = SetFitModel.from_pretrained(settings["model"], labels=sorted(set(labels)))
    model.fit(texts, labels, num_epochs=1)
    accuracy = _accuracy(model.predict(others), wanted)
    return {"seconds": time.perf_counter() - began, "accuracy": accuracy}


def trained(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds from reading to the scores of SetFit's two phases: contrastive training of the network, then the head.

    It trains on the few examples of the validation split too, by which ours chooses.
    """
    from datasets import Dataset, disable_progress_bars
    from setfit import SetFitModel, Trainer, TrainingArguments

    disable_progress_bars()
    began = time.perf_counter()
    (texts, labels), more, (others, wanted) = (
        read_split(settings["data"], name) for name in ("train", "validation", "test")
    )
    model = SetFitModel.from_pretrained(settings["model"], labels=sorted(set(labels)))
    arguments = TrainingArguments(
        output_dir=settings["folder"],
        seed=settings["seed"],
        save_strategy="no",
        report_to="none",
        show_progress_bar=False,
    )
    rows = Dataset.from_dict({"text": texts + more[0], "label": labels + more[1]})
    Trainer(model=model, args=arguments, train_dataset=rows).train()
    accuracy = _accuracy(model.predict(others), wanted)
    return {"seconds": time.perf_counter() - began, "accuracy": accuracy}


def _accuracy(found: Any, wanted: list[str]) -> float:
    return sum(str(one) == other for one, other in zip(found, wanted, strict=True)) / len(wanted)
