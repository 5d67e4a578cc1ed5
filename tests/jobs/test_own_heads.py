"""A head of a person's own: trained by every strategy, saved beside a native backbone, put back, refused in words."""

from __future__ import annotations

import copy
import pickle
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.training.interrupts import Interrupted
from tests.builders import NO_PICTURES, TinyModels, picture, slowly

SILENT = Progress(None)
TEXTS = [("a good film", "pos"), ("a bad film", "neg")] * 8
NUMBERS = [("a good film", 450.0), ("a bad film", 150.0)] * 8
PICTURES = [(picture(colour, number), colour) for number in range(10) for colour in ("red", "blue")]
TAGGED = [(["Ann", "moved"], ["B-PER", "O"]), (["to", "Ben"], ["O", "B-PER"])] * 6
ROWS: dict[str, list[Any]] = {
    "text-classification": TEXTS,
    "image-classification": PICTURES,
    "token-classification": TAGGED,
    "text-regression": NUMBERS,
}


class Cosine(nn.Module):
    """Cosines to one direction a class: no linear layer at all, and a buffer."""

    def __init__(self, width: int, classes: int = 2) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(classes, width, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("sharpness", torch.tensor(8.0))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, C), of tokens (B, T, C)."""
        cosines = normalize(features, dim=-1) @ normalize(self.directions, dim=-1).T
        sharp: Tensor = self.sharpness  # type: ignore[assignment]
        return cosines * sharp


def deep(width: int, classes: int = 2) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(width, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, classes))


def of_tokens(width: int, classes: int = 2) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, classes))


def _fit(task: str, model: Path, head: nn.Module, strategy: str, **more: Any) -> ht.Predictor:
    given: dict[str, Any] = {"epochs": 2, "precision": "fp32", "progress": SILENT, **more}
    return ht.fit(task, model=str(model), train=ROWS[task], head=head, strategy=strategy, **given)


def _width(task: str, model: Path) -> int:
    """The width of the features, as the error of a head that takes others tells it."""
    with pytest.raises(ht.ModelError, match=r"features \(B, (?:T, )?\d+\)") as caught:
        _fit(task, model, nn.Linear(1, 2), "linear-probe")
    return int(str(caught.value).split("features (B, ")[1].removeprefix("T, ").split(")")[0])


def _scores(model: Any, rows: list[Any]) -> np.ndarray:
    told = model.predict([row[0] for row in rows[:6]])
    if hasattr(told[0], "entities"):
        return np.array([one.score for text in told for one in text.entities])
    return np.array([list(one.scores.values()) for one in told])


@pytest.mark.parametrize(
    ("task", "family", "make", "strategy"),
    [
        ("text-classification", "bert", deep, "linear-probe"),
        ("text-classification", "roberta", deep, "lora:2"),
        ("image-classification", "vit", Cosine, "linear-probe"),
        ("image-classification", "resnet", deep, "fine-tune:1"),
        ("image-classification", "open_clip", deep, "linear-probe"),
        ("token-classification", "bert", Cosine, "lora:2"),
        *slowly(
            ("text-classification", "bert", Cosine, "fine-tune:1"),
            ("image-classification", "vit", deep, "lora:2"),
            ("image-classification", "timm", deep, "linear-probe"),
            ("image-classification", "timm", Cosine, "lora:2"),
            ("token-classification", "bert", of_tokens, "linear-probe"),
        ),
        ("text-regression", "bert", lambda width: deep(width, 1), "fine-tune:all"),
    ],
)
def test_it_learns_and_is_put_back(
    tiny: TinyModels, tmp_path: Path, task: str, family: str, make: Any, strategy: str
) -> None:
    model, rows = tiny(family), ROWS[task]
    width = _width(task, model)
    head = make(width)
    before = copy.deepcopy(head.state_dict())
    fitted = _fit(task, model, head, strategy)
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items()), "a copy learns"
    learned = fitted.source.own_head
    assert learned is not None
    assert any(not torch.equal(before[name], value) for name, value in learned.module.state_dict().items())
    saved = fitted.save(tmp_path / "model")
    again = ht.load(saved, head=make(width))
    assert isinstance(again, ht.Predictor)
    assert _scores(again, rows) == pytest.approx(_scores(fitted, rows), abs=1e-6)
    assert again.class_names == fitted.class_names
    with pytest.raises(ht.ModelError, match=r"given again, a .*; got none\. In Python: ht\.load\(.*head=module\)"):
        ht.load(saved)
    with pytest.raises(ht.ModelError, match=r"head must be the module that '.*' was trained with; got one with"):
        ht.load(saved, head=nn.Sequential(nn.Linear(width, fitted.source.outputs)))
    if task == "text-regression":
        # What was learned in units of the numbers' size is told in those of the data.
        assert float(learned.weight) == pytest.approx(np.sqrt(np.mean([450**2, 150**2])), rel=0.1)


def test_it_is_pickled_and_told_by_commands(tiny: TinyModels, tmp_path: Path) -> None:
    head = deep(_width("text-classification", tiny("bert")))
    fitted = _fit("text-classification", tiny("bert"), head, "linear-probe")
    again = pickle.loads(pickle.dumps(fitted))
    assert _scores(again, TEXTS) == pytest.approx(_scores(fitted, TEXTS), abs=1e-6)
    assert fitted.source.own_head is not None
    fitted.source.own_head.module.register_forward_hook(lambda *_: None)
    with pytest.raises(ht.ModelError, match=r"the head must be picklable: .*ht\.load\(folder, head=module\)"):
        pickle.dumps(fitted)
    saved = fitted.save(tmp_path / "model")
    assert {"model.safetensors", "head.safetensors", "README.md"} <= {file.name for file in saved.iterdir()}
    assert "head=..." in (saved / "README.md").read_text()
    told = CliRunner().invoke(app, ["predict", str(saved), "a good film"])
    assert told.exit_code == 2
    assert "given again, a torch.nn.modules.container.Sequential" in " ".join(told.output.split())


def test_a_run_has_one_too(tiny: TinyModels, tmp_path: Path) -> None:
    width = _width("image-classification", tiny("vit"))
    recipe = {"task": "image-classification", "model": str(tiny("vit")), "train": {"epochs": 1, "precision": "fp32"}}
    run = ht.run(recipe, data=PICTURES, head=deep(width), out=tmp_path / "run", progress=SILENT)
    assert 'ht.load("THIS_FOLDER", head=module)'.replace('"', "&#34;") in run.report.read_text()
    model: Any = ht.load(run, head=deep(width))
    assert model.evaluate(PICTURES)["accuracy"] >= 0
    with pytest.raises(ht.ModelError, match=r"In Python: ht\.load"):
        _ = run.model


def test_an_interrupted_run_goes_on_with_the_same_head_alone(tiny: TinyModels, tmp_path: Path) -> None:
    head = deep(_width("image-classification", tiny("vit")))
    train = {"epochs": 3, "precision": "fp32", "checkpoint_every_steps": 1}
    recipe = {"task": "image-classification", "model": str(tiny("vit")), "train": train, "output": NO_PICTURES}
    given: dict[str, Any] = {"data": PICTURES, "progress": SILENT}

    def stop(row: Mapping[str, object]) -> bool:
        raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted):
        ht.run(recipe, head=head, out=tmp_path / "run", on_epoch=stop, **given)
    with pytest.raises(ht.RecipeError, match=r"head of the interrupted run must be unchanged \(Sequential"):
        ht.run(recipe, out=tmp_path / "run", resume=True, **given)
    resumed = ht.run(recipe, head=head, out=tmp_path / "run", resume=True, **given)
    whole = ht.run(recipe, head=head, out=tmp_path / "whole", **given)
    weights = [load_file(run.folder / "model" / "head.safetensors") for run in (resumed, whole)]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (nn.Linear(3, 2), r"from features \(B, \d+\) to logits \(B, 2\); got one that fails"),
        (nn.Flatten(), r"got one that gives \(2, \d+\) of \(2, \d+\)"),
        (nn.Identity(), r"got one that gives"),
        ("linear", "head must be a module of torch; got str"),
    ],
)
def test_what_is_no_head_is_told_before_training(tiny: TinyModels, head: Any, told: str) -> None:
    with pytest.raises(ht.HftransferError, match=told):
        _fit("text-classification", tiny("bert"), head, "linear-probe")


def test_where_none_can_be_is_told(tiny: TinyModels, tmp_path: Path) -> None:
    head = deep(4)
    masks = [(picture("red"), np.zeros((32, 32), dtype=np.uint8))]
    with pytest.raises(ht.RecipeError, match=r"head must be left out for task image-segmentation"):
        ht.fit("image-segmentation", model=str(tiny("timm")), train=masks, head=head, progress=SILENT)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ht.ModelError, match="Put it at the end of the network itself"):
        ht.fit(
            "image-classification",
            model=network,
            processor=lambda image: torch.zeros(3, 16, 16),
            train=PICTURES,
            head=head,
            progress=SILENT,
        )
    plain = ht.fit("text-classification", model=str(tiny("bert")), train=TEXTS, progress=SILENT).save(tmp_path / "m")
    with pytest.raises(ht.ModelError, match=r"head must be left out: '.*' was trained without one"):
        ht.load(plain, head=head)
