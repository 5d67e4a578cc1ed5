"""Features that learn by pairs of examples, and the head that is solved on them."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hftransfer as ht
from hftransfer.adapters.base import Adapter
from hftransfer.base.errors import HftransferError, ModelError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.jobs.run import check, run
from hftransfer.recipe import CompareSettings, load_recipe
from hftransfer.strategies import FineTune, LoRA
from hftransfer.study.cells import cells_of
from hftransfer.training.batches import count_of_steps, grouped_batches
from hftransfer.training.processes import Processes
from hftransfer.training.settings import TrainSettings
from hftransfer.training.similarity import FeatureAdapter, similarity_loss
from hftransfer.training.solver import InMemory, solve_head
from tests.builders import TinyModels, missing_words, slowly
from tests.training.builders import FP32, adapter_for, hashes_of, split_for, transferred

SILENT = Progress(None)
ALL = FineTune(objective="contrastive", learning_rate=5e-3)
CASES: list[Any] = [
    ("vit", "image-classification", ALL),
    *slowly(
        ("efficientnet", "image-classification", ALL),
        ("clip", "image-classification", FineTune(objective="contrastive", learning_rate=5e-3, unfreeze=1)),
    ),
    ("bert", "text-classification", ALL),
    ("gpt2", "text-classification", FineTune(objective="contrastive", learning_rate=5e-3, unfreeze=1)),
    ("roberta", "text-classification", LoRA(objective="contrastive", learning_rate=2.5e-2, targets=["query", "value"])),
]


def _of_rows(adapter: Adapter, task: str) -> tuple[np.ndarray, np.ndarray]:
    """The features of the training rows, and their labels."""
    split = split_for(task, 16, 1)
    image = task == "image-classification"
    contents: list[Any] = [row.content for row in split.rows]
    examples = [Image.open(io.BytesIO(one.read())) if image else one.text for one in contents]
    with torch.no_grad():
        return adapter.features(adapter.encode(examples)).float().numpy(), split.class_ids


def _error(features: np.ndarray, labels: np.ndarray) -> float:
    """The mean squared error of the cosines of all pairs, of both kinds."""
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    same = labels[:, None] == labels[None, :]
    errors = (directions @ directions.T - same) ** 2
    return float(errors[same & ~np.eye(len(labels), dtype=bool)].mean() + errors[~same].mean()) / 2


def test_the_loss_is_the_mean_error_of_pairs_of_both_kinds() -> None:
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(7, 5)), np.array([0, 1, 0, 2, 1, 0, 2, 1, 1])
    chosen = [8, 0, 3, 2, 5, 1, 6]
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for one in range(7):
        for other in range(7):
            if one == other:
                continue
            a, b = features[one], features[other]
            cosine = sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b))
            same = bool(labels[chosen[one]] == labels[chosen[other]])
            kinds[same].append((cosine - same) ** 2)
    wanted = sum(sum(errors) / len(errors) for errors in kinds.values()) / 2
    loss = similarity_loss(labels, "cpu")
    assert float(loss.total(torch.from_numpy(features), chosen)) / loss.weight(chosen) == pytest.approx(
        wanted, rel=1e-5
    )


@pytest.mark.parametrize("chosen", [[0], [0, 2], [0, 1]])
def test_where_a_kind_of_pairs_is_missing_the_loss_is_that_of_the_other(chosen: list[int]) -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])[chosen].requires_grad_()
    total = similarity_loss(np.array([0, 1, 0]), "cpu").total(features, chosen)
    torch.autograd.backward(total)
    assert float(total.detach()) / len(chosen) == pytest.approx({1: 0.0, 2: 1.0}.get(sum(chosen), 0) or sum(chosen) / 2)


def test_a_batch_holds_several_of_a_class() -> None:
    classes = np.repeat(np.arange(10), 16)
    for epoch in range(3):
        batches = grouped_batches(classes, 32, seed=1, epoch=epoch)
        assert sorted(item for batch in batches for item in batch) == list(range(160))
        for batch in batches:
            assert np.bincount(classes[batch], minlength=10)[np.unique(classes[batch])].min() >= 4
        assert batches == grouped_batches(classes, 32, seed=1, epoch=epoch)
    assert grouped_batches(classes, 32, 1, 0) != grouped_batches(classes, 32, 1, 1)
    two = np.arange(40) % 2
    (batch,) = grouped_batches(two, 32, 0, 0)  # one of 40 has more pairs than two of 20
    assert len(batch) == 40
    for batch in grouped_batches(two, 16, 0, 0):
        assert len(batch) == 20
        assert np.bincount(two[batch]).min() >= 8


def test_a_schedule_knows_the_steps_of_grouped_batches() -> None:
    for count in (3, 24, 40, 150):
        batches = grouped_batches(np.arange(count) % 2, 16, 0, 0)
        settings = TrainSettings(batch_size=16)
        assert count_of_steps(count, None, settings, 7, grouped=True) == 7 * len(batches)


@pytest.mark.parametrize(("family", "task", "strategy"), CASES)
def test_features_of_a_class_come_together(tiny: TinyModels, family: str, task: str, strategy: Any) -> None:
    adapter, _ = adapter_for(tiny, family, task, strategy)
    before, frozen = _error(*_of_rows(adapter, task)), hashes_of(adapter)
    done, boundary = transferred(tiny, family, task, strategy, adapter, epochs=30)
    assert _error(*_of_rows(done.adapter, task)) < 0.7 * before
    assert [row["epoch"] for row in done.history.rows] == list(range(1, 31))
    assert done.history.best_epoch == 30
    assert done.history.rows[-1]["train_loss"] < done.history.rows[0]["train_loss"]
    if boundary:
        below = {id(p) for stage in done.adapter.stages[:boundary] for p in stage.parameters()}
        same = {name for name, value in hashes_of(done.adapter).items() if frozen.get(name) == value}
        assert {name for name, p in done.adapter.model.named_parameters() if id(p) in below} <= same
    # A few validation rows, which those examples' own features suit whatever the strength, don't choose it.
    assert [strength for strength, _ in done.l2_path] == [0.02]
    assert done.adapter.head.weight.requires_grad


def test_the_head_is_the_one_that_is_solved_on_the_features(tiny: TinyModels) -> None:
    """As the solver (which has an oracle of its own) finds it on features computed here, of length 1, at the strength
    chosen; it takes features of their own length."""
    done, _ = transferred(tiny, "bert", "text-classification", ALL, epochs=4)
    features, labels = _of_rows(done.adapter, "text-classification")
    best = min(done.l2_path, key=lambda tried: (tried[1], -tried[0]))[0]
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = InMemory(features / lengths)
    wanted = solve_head(directions, labels, directions, labels, classes=2, l2=best, learned=True)
    head: Any = done.adapter.head
    logits = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert np.allclose(logits, wanted.logits(InMemory(features / lengths.mean())), atol=5e-3)


def _recipe(tiny: TinyModels, data: Path, epochs: int) -> dict[str, object]:
    return {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": {"source": str(data), "shots": 4},
        "strategy": {"kind": "fine-tune", "objective": "contrastive"},
        "train": {"precision": "fp32", "epochs": epochs},
    }


def test_who_is_told_of_each_evaluation_is_told_each_epoch(tiny: TinyModels, text_data: Path, tmp_path: Path) -> None:
    recipe = _recipe(tiny, text_data, epochs=3)
    told: list[str] = []
    result = run(recipe, out=tmp_path / "run", progress=SILENT, on_evaluate=lambda split, _: told.append(split))
    assert told.count("validation") >= 3
    assert pd.read_csv(result.folder / "history.csv")["accuracy"].notna().all()
    # The head is that of the last epoch's features, whoever was told of the epochs before.
    untold = run(recipe, out=tmp_path / "untold", progress=SILENT)
    files = (each.folder / "model" / "head.safetensors" for each in (result, untold))
    one, other = (load_file(file) for file in files)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_features_are_what_enters_the_head(tiny: TinyModels) -> None:
    adapter, _ = adapter_for(tiny, "bert", "text-classification", ALL)
    inputs = adapter.encode(["the film was great", "a story"])
    for boundary in range(len(adapter.stages) + 1):
        with torch.no_grad():
            features = FeatureAdapter(adapter).above(adapter.below(inputs, boundary), boundary)
            assert torch.allclose(features, adapter.features(inputs), atol=1e-6)


def test_a_run_is_saved_and_loaded(tiny: TinyModels, text_data: Path, tmp_path: Path) -> None:
    recipe = _recipe(tiny, text_data, epochs=2)
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    assert {"best_epoch": 2, "epochs": 2}.items() <= result.metrics.items()
    assert not (result.folder / "figures" / "l2.png").exists()  # one strength is no choice
    # Nothing is chosen by validation: it is judged once, after the last epoch.
    history = pd.read_csv(result.folder / "history.csv")
    assert history["train_loss"].notna().tolist() == [True, True]
    assert history["accuracy"].notna().tolist() == [False, True]
    card = (result.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert (
        missing_words(card, ("contrastive fine-tuning", "arxiv:2209.11055", "year = {2022}", "pairs of examples")) == []
    )
    assert "with contrastive fine-tuning" in (result.folder / "report.html").read_text(encoding="utf-8")
    table = pd.read_parquet(result.folder / "predictions.parquet")
    texts = pd.read_csv(text_data / "test.csv").iloc[:, 0].tolist()
    found = [answer.label for answer in ht.load(result.folder / "model").predict(texts)]
    assert found == table["prediction"].tolist()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"task": "question-answering"}, ("strategy.objective", "cross-entropy for task question-answering")),
        ({"strategy": {"gradual": True}}, ("strategy.gradual", "left out with strategy.objective: contrastive")),
        (
            {"train": {"label_smoothing": 0.1, "class_weights": "auto", "metric": "macro_f1", "micro_batch_size": 4}},
            ("train.label_smoothing", "train.class_weights", "train.metric", "train.micro_batch_size"),
        ),
        (
            {"train": {"batch_size": 1}, "data": {"source": "bundled/short-reviews", "shots": [1, 4]}},
            ("train.batch_size must be 2 or more", "data.shots must be 2 or more"),
        ),
    ],
)
def test_what_does_not_go_together_is_told(
    tiny: TinyModels, flat_data: Path, more: dict[str, Any], words: tuple[str, ...]
) -> None:
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "data": "bundled/short-reviews"}
    strategy = {"kind": "fine-tune", "objective": "contrastive", **more.pop("strategy", {})}
    with pytest.raises(HftransferError) as caught:
        check({**recipe, "strategy": strategy, **more})
    assert not missing_words(str(caught.value), words)


def test_a_head_of_several_layers_is_refused(tiny: TinyModels) -> None:
    native = ALL.model_copy(update={"pooling": "native"})
    with pytest.raises(ModelError, match=r"single linear layer.*strategy\.pooling: mean"):
        transferred(tiny, "roberta", "text-classification", native)


def test_several_processes_are_refused(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.training.builders.FP32", replace(FP32, processes=Processes(count=2)))
    with pytest.raises(RecipeError, match="the processes must be one"):
        transferred(tiny, "bert", "text-classification", ALL)


def test_contrastive_alone_is_short_for_it_and_settings_of_other_methods_are_not_taken_over(tiny: TinyModels) -> None:
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "data": "bundled/short-reviews"}
    loaded = load_recipe({**recipe, "strategy": "contrastive"})
    assert loaded.recipe.strategy == FineTune(objective="contrastive")
    arms = ("fine-tune:1", "lora:2", "linear-probe", "contrastive")
    mine = load_recipe({**recipe, "strategy": {"kind": "fine-tune", "objective": "contrastive", "learning_rate": 0.01}})
    found = {cell.strategy: cell.document["strategy"] for cell in cells_of(mine, CompareSettings(strategies=arms))}
    assert [found[arm].get("objective", "cross-entropy") for arm in arms] == ["cross-entropy"] * 3 + ["contrastive"]
    assert "learning_rate" not in found["fine-tune:1"]
    assert found["contrastive"]["learning_rate"] == 0.01
    plain = load_recipe({**recipe, "strategy": {"kind": "fine-tune", "unfreeze": 1}})
    (cell,) = cells_of(plain, CompareSettings(strategies=("contrastive",), seeds=(0,)))
    assert load_recipe(cell.document).recipe.strategy == FineTune(objective="contrastive")


def test_check_tells_what_is_drawn(tiny: TinyModels, text_data: Path) -> None:
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "strategy": "contrastive"}
    splits = check({**recipe, "data": {"source": str(text_data), "shots": 2}})
    assert splits.counts()["train"] == [2, 2]
    assert splits.notes[-1] == "2 training examples of each class, drawn with seed 0"
