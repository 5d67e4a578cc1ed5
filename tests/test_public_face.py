"""What a user's editor sees: every public function and result has a type, and none of them is Any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import numpy as np
import pytest

import hftransfer as ht
from hftransfer.base.progress import Progress
from tests import user_program
from tests.builders import TinyModels, picture


def program(recipe: Path, folder: Path, photo: Path) -> None:
    """How runs and predictions are typed; `user_program.py` runs."""
    result = ht.run(recipe, out=folder / "run", progress=Progress(None))
    assert_type(result, ht.Result)
    assert_type(result.report, Path)
    model = ht.load(result.folder)
    assert_type(model, "ht.Predictor | ht.DualPredictor")
    assert_type(result.model, "ht.Predictor | ht.DualPredictor")
    if isinstance(model, ht.DualPredictor):
        assert_type(model.predict(photo, ["cat", "dog"]), ht.Prediction)
        assert_type(model.predict([photo], ["cat", "dog"]), list[ht.Prediction])
        assert_type(model.embed_images([photo]), np.ndarray)
        return
    assert_type(model(photo), ht.Prediction)
    assert_type(model([photo]), list[ht.Prediction])
    assert_type(model("a prompt", max_new_tokens=3), ht.Generation)
    assert_type(model.predict(["a prompt"], max_new_tokens=3), list[ht.Generation])
    assert_type(model.predict(photo).scores["red"], float)
    assert_type(ht.explain(model, photo).line(photo.name), str)
    assert_type([one.line(photo.name) for one in ht.explain(model, [photo])], list[str])
    assert_type(model.save(folder / "saved"), Path)
    assert_type(ht.zero_shot("bundled/dual-encoder", photo, ["cat"]), ht.Prediction)


def answered(model: ht.Predictor) -> list[str]:
    """How answers are typed."""
    assert_type(model.predict(question="Who?", context="Ann Lee."), ht.Answer)
    assert_type(model.predict({"question": "Who?", "context": "Ann Lee."}), ht.Answer)
    found = model.predict([{"question": "Who?", "context": "Ann Lee."}])
    assert_type(found, list[ht.Answer])
    return [one.answer for one in found]


def studied(recipe: Path, folder: Path) -> ht.Study:
    """How comparisons, audits and checks are typed."""
    assert_type(ht.check(recipe), ht.Splits)
    assert_type(ht.audit(recipe), ht.Audit)
    assert_type(ht.load_recipe(recipe).recipe, ht.Recipe)
    return ht.compare(recipe, strategies=["linear-probe"], seeds=[0], out=folder)


def fitted(rows: Sequence[tuple[str, str]]) -> ht.Predictor:
    """How fitting is typed."""
    chosen: list[ht.LinearProbe | ht.FineTune | ht.LoRA] = [
        ht.LinearProbe(),
        ht.FineTune(unfreeze=2),
        ht.LoRA(rank=8),
        ht.Contrastive(),
    ]
    return ht.fit("text-classification", model="bundled/minilm-l6", train=rows, strategy=chosen[0], epochs=1)


def test_the_program_runs(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"task: image-classification\nmodel: {tiny('resnet')}\ndata: {folder_data}\n")
    photo = tmp_path / "photo.png"
    picture("red").save(photo)
    told = user_program.trained(recipe, tmp_path, photo)
    assert told[0].startswith("Result(accuracy ")
    assert "report.html" in told
    assert "confusion_matrix.png" in told
    assert any(one.startswith("Predictor(image-classification: blue, green, red") for one in told)
    assert user_program.mistaken()
    assert user_program.rightness(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])) == 0.75
    assert user_program.drafted(folder_data, tmp_path) == "first.yaml"
    rows = [("a good film", "pos"), ("a bad film", "neg")] * 6
    assert user_program.fitted(rows, str(tiny("bert")))[0] == "texts"
    pixels = np.stack([np.asarray(picture(colour, seed)) for seed in range(8) for colour in ("red", "blue")])
    told = user_program.fitted_on_arrays(pixels, np.array(["red", "blue"] * 8), str(tiny("resnet")), photo)
    assert set(told[1:]) <= {"red", "blue"}


@pytest.mark.slow
def test_the_program_compares(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"task: image-classification\nmodel: {tiny('resnet')}\ndata: {folder_data}\n")
    assert {"audit", "train 36"} <= set(user_program.studied(recipe, tmp_path))


@pytest.mark.parametrize("name", ht.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(ht, name) is not None
    assert name in dir(ht)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(ht.__file__).parent / "py.typed").is_file()


def test_contrastive_is_the_short_form(tmp_path: Path) -> None:
    document = {"task": "text-classification", "model": "bundled/minilm-l6", "data": "bundled/short-reviews"}
    in_short = ht.load_recipe({**document, "strategy": "contrastive"}).recipe.strategy
    assert in_short == ht.load_recipe({**document, "strategy": ht.Contrastive().model_dump()}).recipe.strategy


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("fine-tune:2", ht.FineTune(unfreeze=2)),
        ("fine-tune:all", ht.FineTune(unfreeze="all")),
        ("lora:4", ht.LoRA(rank=4)),
    ],
)
def test_a_recipe_takes_strategies_as_compare_does(short: str, long: ht.FineTune | ht.LoRA) -> None:
    document = {"task": "text-classification", "model": "bundled/minilm-l6", "data": "bundled/short-reviews"}
    assert ht.load_recipe({**document, "strategy": short}).recipe.strategy == long
    further = ht.load_recipe(document, [f"strategy={short}", "strategy.learning_rate=0.5"]).recipe.strategy
    assert further == long.model_copy(update={"learning_rate": 0.5})
    with pytest.raises(ht.RecipeError, match=r"strategy\.kind must be .*; got 'fine-tune:no'"):
        ht.load_recipe({**document, "strategy": "fine-tune:no"})
