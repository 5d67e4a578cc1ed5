"""What a person adds to a training: callbacks, metrics, a transform of training images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import pytest
import torch
from PIL import Image

import hftransfer as ht
from hftransfer.base.progress import Progress
from tests.builders import TinyModels, picture

SILENT = Progress(None)
TEXTS = [("a good film", "pos"), ("a bad film", "neg")] * 8
PICTURES = [(picture(colour, number), colour) for number in range(12) for colour in ("red", "blue")]


class Hits(evaluate.Metric):
    """The share of equal class ids."""

    def _info(self) -> Any:
        ids = datasets.Value("int64")
        features = datasets.Features({"predictions": ids, "references": ids})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        assert {*predictions, *references} <= {0, 1}
        return {"hits": sum(p == r for p, r in zip(predictions, references, strict=True)) / len(references)}


def negatives(labels: np.ndarray, predictions: np.ndarray) -> float:
    """How many were called negative."""
    assert set(labels) <= {"pos", "neg"}
    return float((predictions == "neg").sum())


def _fit(tiny: TinyModels, **more: Any) -> ht.Predictor:
    given: dict[str, Any] = {"strategy": "fine-tune:1", "patience": None, "test": TEXTS, "progress": SILENT, **more}
    return ht.fit("text-classification", model=str(tiny("bert")), train=TEXTS, **given)


def test_each_evaluation_is_told_and_may_end_training(tiny: TinyModels) -> None:
    told: list[tuple[str, float]] = []

    def on_evaluate(split: str, scores: Mapping[str, Any]) -> bool:
        told.append((split, scores["accuracy"]))
        return len(told) == 2

    model = _fit(tiny, epochs=5, on_evaluate=on_evaluate)
    assert len([row for row in model.history if row["epoch"] > 0]) < 5
    assert [split for split, _ in told][-2:] == ["validation", "test"]
    assert told[-1] == ("test", model.metrics["test"]["accuracy"])
    seen: list[str] = []
    _fit(tiny, strategy="linear-probe", on_evaluate=lambda split, _: seen.append(split))
    assert seen == ["validation", "test"]


def test_metrics_of_ones_own_are_told_with_the_others_and_choose(tiny: TinyModels, tmp_path: Path) -> None:
    own: dict[str, Any] = {"negatives": negatives, "hits": Hits()}
    model = _fit(tiny, epochs=2, metrics=own, metric="negatives")
    assert {"negatives", "hits"} <= set(model.history[-1])
    assert model.metrics["test"]["hits"] == model.metrics["test"]["accuracy"]
    best = max(model.history, key=lambda row: row["negatives"])
    assert best["negatives"] == model.metrics["validation"]["negatives"]
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "output": {"report": False, "figures": False}}
    result = ht.run(
        recipe, data={"train": TEXTS, "test": TEXTS}, metrics=[negatives], out=tmp_path / "r", progress=SILENT
    )
    assert isinstance(result.metrics["test"]["negatives"], float)


def test_metrics_of_folds_and_of_numbers(tiny: TinyModels) -> None:
    folds = {"metrics": [negatives], "strategy": "linear-probe", "test": None, "data": {"folds": 2}}
    assert _fit(tiny, **folds).metrics["test"]["negatives"] >= 0
    numbers = [("a good film", 4.5), ("a bad film", 1.5)] * 8

    def bias(wanted: np.ndarray, given: np.ndarray) -> float:
        return float((given - wanted).mean())

    model = ht.fit("text-regression", model=str(tiny("bert")), train=numbers, metrics=[bias], progress=SILENT)
    assert abs(model.metrics["validation"]["bias"]) < 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"metrics": {"x": 3}}, r"metrics\['x'\] must be a function of labels and predictions"),
        (
            {"metrics": {"accuracy": negatives}},
            "a name in metrics must be different from the task's own; got 'accuracy'",
        ),
        ({"metrics": [negatives, negatives]}, "the names of metrics must be different"),
        (
            {"metrics": {"x": lambda a, b: 1 / 0}},
            "must be a function that gives a number.*ZeroDivision",
        ),
        ({"metrics": {"x": lambda a, b: "many"}}, r"metrics\['x'\] must be a function that gives a number"),
        ({"metric": "negatives"}, "train.metric must be a metric of task text-classification"),
        (
            {"transform": lambda image: image},
            "transform must be left out for task text-classification",
        ),
        ({"on_evaluate": 3}, "on_evaluate must be a function; got int"),
    ],
)
def test_what_does_not_go_is_told(tiny: TinyModels, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ht.RecipeError, match=told):
        _fit(tiny, strategy="linear-probe", **given)


def test_a_metric_that_is_no_number_chooses_nothing(tiny: TinyModels) -> None:
    with pytest.raises(ht.RecipeError, match=r"metrics\['lost'\] must be a number .*; got nan"):
        _fit_pictures(tiny, None, metrics={"lost": lambda wanted, given: float("nan")})


def _fit_pictures(tiny: TinyModels, transform: Any, **more: Any) -> ht.Predictor:
    given: dict[str, Any] = {"strategy": "fine-tune:1", "epochs": 2, "progress": SILENT, **more}
    model = str(tiny("resnet"))
    return ht.fit("image-classification", model=model, train=PICTURES, transform=transform, **given)


def test_a_transform_changes_training_images_alone_and_anew(tiny: TinyModels) -> None:
    seen: list[float] = []

    def transform(image: Image.Image) -> Image.Image:
        assert image.mode == "RGB"
        seen.append(float(torch.rand(())) + float(np.random.random()))
        return image

    first = _fit_pictures(tiny, transform)
    drawn, count = list(seen), len(seen)
    trained = count // 2  # in each of two epochs
    assert count == 2 * trained
    assert trained < len(PICTURES)
    assert len(set(drawn)) == count, "each image in each epoch draws other numbers"
    seen.clear()
    second = _fit_pictures(tiny, transform)
    assert sorted(seen) == sorted(drawn), "the same seed draws the same"
    assert first.predict(PICTURES[0][0]) == second.predict(PICTURES[0][0])


def test_a_transform_of_torchvision_gives_tensors(tiny: TinyModels) -> None:
    from torchvision.transforms import v2

    transform = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])
    assert _fit_pictures(tiny, transform).evaluate(PICTURES)["accuracy"] > 0.9
    views = _fit_pictures(tiny, transform, strategy="linear-probe", epochs=None, views=2)
    assert views.evaluate(PICTURES)["accuracy"] > 0.9
    usual = _fit_pictures(tiny, transform, strategy="linear-probe", epochs=None)  # on four views
    assert usual.evaluate(PICTURES)["accuracy"] > 0.9
    with pytest.raises(ht.DataError, match="what transform gives must be"):
        _fit_pictures(tiny, lambda image: 3)
