"""Training begins where the linear probe ends: the head is solved first, and that start counts as epoch 0."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hftransfer as ht
from hftransfer.base.progress import Progress
from hftransfer.strategies import FineTune, LinearProbe, LoRA, method_in_words
from hftransfer.tasks import TASKS
from hftransfer.training import probe, transfer
from hftransfer.training.solver import SOLVERS, Problem, SolvedHead
from tests.builders import NO_PICTURES, TinyModels
from tests.training.builders import adapter_for, transferred

SILENT = Progress(None)
STILL: dict[str, Any] = {"learning_rate": 1e-12, "head_lr": 1e-12}
"""Rates at which nothing moves."""
WORDS = ("good", "bad", "film", "story", "actor", "plot")


def _texts(count: int, seed: int) -> list[list[str]]:
    random = np.random.default_rng(seed)
    return [random.choice(WORDS, random.integers(3, 6)).tolist() for _ in range(count)]


def _rows(task: str, count: int, seed: int) -> list[Any]:
    texts = _texts(count, seed)
    if task == "text-classification":
        return [(" ".join(words), "pos" if "good" in words else "neg") for words in texts]
    if task == "several labels":
        return [(" ".join(words), [word for word in ("film", "plot") if word in words]) for words in texts]
    if task == "text-regression":
        return [(" ".join(words), 1000.0 + 7.5 * len(words)) for words in texts]
    tags = {"film": "B-WORK", "story": "B-WORK", "actor": "B-PER"}
    return [{"tokens": words, "tags": [tags.get(word, "O") for word in words]} for words in texts]


@pytest.mark.parametrize(
    ("task", "headline"),
    [
        ("text-classification", "log_loss"),
        ("several labels", "macro_f1"),
        ("text-regression", "rmse"),
        ("token-classification", "f1"),
    ],
)
@pytest.mark.parametrize("strategy", [FineTune(**STILL, pooling="native"), LoRA(**STILL, rank=2, dropout=0.0)])
def test_the_start_is_the_linear_probe(tiny: TinyModels, task: str, headline: str, strategy: Any) -> None:
    name = "text-classification" if task == "several labels" else task
    train, validation = _rows(task, 40, 0), _rows(task, 16, 1)
    common: dict[str, Any] = {
        "model": str(tiny("bert")),
        "train": train,
        "validation": validation,
        "progress": SILENT,
        "precision": "fp32",
    }
    pooling = {"pooling": "native"} if name != "token-classification" else {}
    probe = ht.fit(name, strategy={"kind": "linear-probe", **pooling}, **common)
    tuned = ht.fit(name, strategy=strategy, epochs=1, **common)
    wanted = probe.metrics["validation"][headline]
    before, after = tuned.history
    assert before["epoch"] == 0
    assert math.isnan(before["train_loss"])
    for row in (before, after):  # so little moved since
        if headline in row:
            assert row[headline] == pytest.approx(wanted, rel=1e-4)
    assert tuned.metrics["validation"][headline] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_of_many_rows_the_start_is_solved_on_evenly_spread_ones(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    problems: list[Any] = []

    def noted(problem: Problem) -> SolvedHead:
        problems.append(problem)
        return SOLVERS["softmax"](problem)

    monkeypatch.setattr(probe, "SOLVERS", {"softmax": noted})
    common: dict[str, Any] = {"model": str(tiny("bert")), "progress": SILENT, "precision": "fp32", "epochs": 1}
    rows: dict[str, Any] = {"train": _rows(task, 40, 0), "validation": _rows(task, 16, 1)}
    ht.fit(task, strategy=FineTune(**STILL), **rows, **common)
    monkeypatch.setattr(probe, "_MOST_START_ROWS", 20)
    ht.fit(task, strategy=FineTune(**STILL), **rows, **common)
    whole, part = problems
    every = -(-len(whole.targets) // 20)
    assert every > 1
    assert part.targets.tolist() == whole.targets[::every].tolist()
    assert part.train.values == pytest.approx(whole.train.values[::every], abs=1e-6)


def test_a_training_that_harms_ends_as_the_probe_and_says_so(tiny: TinyModels, tmp_path: Path, text_data: Path) -> None:
    recipe: dict[str, Any] = {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": str(text_data),
        "strategy": {"kind": "linear-probe", "pooling": "native"},
        "train": {"precision": "fp32"},
        "output": NO_PICTURES,
    }
    probe = ht.run(recipe, out=tmp_path / "probe", progress=SILENT)
    told = io.StringIO()
    harmful = {"kind": "fine-tune", "learning_rate": 1.0, "head_lr": 1.0}
    settings = {"train.epochs": 2, "train.schedule": "constant", "train.warmup": 0.0}
    own = ht.run({**recipe, "strategy": harmful}, settings, out=tmp_path / "own", progress=Progress(told))
    assert own.metrics["best_epoch"] == 0
    assert "no epoch was better on validation than the linear probe that training started from" in told.getvalue()
    assert own.metrics["test"]["log_loss"] == pytest.approx(probe.metrics["test"]["log_loss"], rel=1e-4)
    assert method_in_words(own.metrics) == "fine-tuning (the start is kept)"
    card = (own.folder / "model/README.md").read_text(encoding="utf-8")
    assert "No epoch was better on validation than the start, which was kept." in card
    with (own.folder / "history.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert (rows[0]["train_loss"], rows[0]["learning_rate"]) == ("", "")
    assert float(rows[0]["accuracy"]) == own.metrics["validation"]["accuracy"]


def test_what_is_kept_is_told_whether_an_epoch_or_the_mean(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = _rows("text-classification", 24, 0), _rows("text-classification", 12, 1)
    for serves, words in ((True, "kept: the mean of the weights of epochs 0 to 2"), (False, "which is worse")):
        monkeypatch.setattr(transfer, "mean_serves", lambda *_, own=serves: own)
        told = io.StringIO()
        model = ht.fit(
            "text-classification",
            model=str(tiny("bert")),
            train=train,
            validation=validation,
            strategy=FineTune(unfreeze=1),
            epochs=2,
            progress=Progress(told),
        )
        assert words in told.getvalue()
        assert ("averaged_epochs" in model.metrics) == serves


def test_random_begins_at_random(tiny: TinyModels) -> None:
    strategy = FineTune(**STILL, head_init="random")
    begun, _ = adapter_for(tiny, "vit", "image-classification", strategy)
    done, _ = transferred(tiny, "vit", "image-classification", strategy, epochs=1)
    assert torch.allclose(begun.head.weight, done.adapter.head.weight, atol=1e-6)
    assert done.history.start == {}
    assert done.history.table == done.history.rows


def test_augmented_images_begin_with_the_probe_of_the_images_as_they_are(tiny: TinyModels) -> None:
    probe, _ = transferred(tiny, "vit", "image-classification", LinearProbe())
    done, _ = transferred(tiny, "vit", "image-classification", FineTune(**STILL), epochs=1, augment="light")
    assert torch.allclose(probe.adapter.head.weight, done.adapter.head.weight, atol=1e-3)


@pytest.mark.parametrize(
    ("task", "family", "changes", "words"),
    [
        ("question-answering", "bert", {}, "auto or random for task question-answering"),
        ("text-classification", "bert", {"objective": "contrastive"}, "left out with strategy.objective: contrastive"),
        ("text-classification", "gpt2", {}, "one whose last layer is linear with a bias, .*pooling: mean or last"),
    ],
)
def test_a_head_that_can_not_be_solved_is_told(
    tiny: TinyModels, task: str, family: str, changes: dict[str, Any], words: str
) -> None:
    strategy = {"kind": "fine-tune", "head_init": "solved", **changes}
    rows: Any = [("good", "pos"), ("bad", "neg")] * 8
    if task == "question-answering":
        rows = [{"question": "what", "context": "a film", "answers": {"text": ["film"], "answer_start": [2]}}] * 8
    with pytest.raises(ht.HftransferError, match=words):
        ht.fit(task, model=str(tiny(family)), train=rows, strategy=strategy, progress=SILENT)


def test_texts_pool_as_sentence_transformers_has_it_of_the_model() -> None:
    task = TASKS["text-classification"]
    for strategy in (LinearProbe(), FineTune(), LoRA()):
        assert strategy.pooling_for(task, "cls") == "cls"
    assert [kind().pooling_for(task) for kind in (LinearProbe, FineTune, LoRA)] == ["mean", "native", "native"]
    assert FineTune(pooling="native").pooling_for(task, "mean") == "native"


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        (
            "text-classification",
            {"label_smoothing": 0.1},
            "train.label_smoothing: 0.1 has no effect on a solved head",
        ),
        (
            "text-classification",
            {"epochs": 3, "patience": None, "metric": "macro_f1", "optimizer": "sgd", "warmup": 0.0},
            "train.epochs: 3 and train.optimizer: sgd and train.warmup: 0.0 and train.metric: macro_f1 and "
            "train.patience: null have no effect on a solved head",
        ),
        ("text-regression", {"loss": "huber"}, "train.loss: huber has no effect on a solved head"),
        (
            "text-classification",
            {"strategy": LinearProbe(head_init="random", learning_rate=0.1)},
            "strategy.head_init: random and strategy.learning_rate: 0.1 have no effect on a solved head",
        ),
        (
            "text-classification",
            {"strategy": FineTune(head_init="random", objective="contrastive"), "epochs": 1},
            "strategy.head_init: random has no effect: the head is solved on the learned features",
        ),
        (
            "text-classification",
            {"strategy": FineTune(head_init="random"), "epochs": 1},
            "kept: epoch 1 of 1",
        ),
    ],
)
def test_what_a_solved_head_does_not_heed_is_told(
    tiny: TinyModels, task: str, settings: dict[str, Any], words: str
) -> None:
    told = io.StringIO()
    ht.fit(task, model=str(tiny("bert")), train=_rows(task, 30, 0), progress=Progress(told), **settings)
    assert words in told.getvalue()


@pytest.mark.parametrize(
    ("count", "batch_size", "settings", "epochs"),
    [
        (24, 8, {}, 14),  # 3 batches, 40 steps
        (24, 32, {}, 20),  # one batch: no more than that
        (24, 2, {}, 5),  # 12 batches: as usual
        (24, 8, {"epochs": 2}, 2),
        (24, 8, {"patience": 3}, 3),
    ],
)
def test_few_batches_are_passed_over_more_often(
    tiny: TinyModels, count: int, batch_size: int, settings: dict[str, Any], epochs: int
) -> None:
    train, validation = _rows("text-classification", count, 0), _rows("text-classification", 12, 1)
    strategy = FineTune(**STILL, unfreeze=1)
    common: dict[str, Any] = {"model": str(tiny("bert")), "train": train, "validation": validation, "progress": SILENT}
    tuned = ht.fit("text-classification", strategy=strategy, batch_size=batch_size, **settings, **common)
    # Nothing moves, so that no epoch is better than the start: a dozen rows end no training unless they are asked to.
    assert len(tuned.history) == 1 + epochs


def test_many_validation_rows_end_a_training_that_gets_no_better(tiny: TinyModels) -> None:
    train, validation = _rows("text-classification", 24, 0), _rows("text-classification", 100, 1)
    tuned = ht.fit(
        "text-classification",
        model=str(tiny("bert")),
        train=train,
        validation=validation,
        strategy=FineTune(**STILL, unfreeze=1),
        batch_size=8,
        progress=SILENT,
    )
    assert len(tuned.history) == 1 + 3
