"""Runs with a model of Keras, from recipe to artifact: what plain Keras makes of it is what was trained."""

from __future__ import annotations

import contextlib
import io
import json
import re
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hftransfer as ht
from benchmarks.environments import CannotRun
from benchmarks.keras_probe import dog_breeds
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.libraries import keras_on_torch
from hftransfer.attribution.explanation import ImageExplanation
from hftransfer.base.errors import HftransferError, ModelError
from hftransfer.base.progress import Progress
from hftransfer.hub.publish import collect
from hftransfer.jobs.early import early_look
from hftransfer.predictors.export import ExportError, export_keras, export_onnx
from hftransfer.recipe import load_recipe
from tests.builders import KERAS, Finished, TinyModels, load_model, picture
from tests.real import PHOTOS, shared

pytestmark = pytest.mark.skipif(not KERAS, reason="needs the packages of the extra `keras`")


def _in_plain_keras(folder: Path, images: list[Image.Image], side: int) -> np.ndarray:
    """What the model in a folder gives in Keras, images resized by Keras."""
    keras = keras_on_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy's ways
        model = keras.saving.load_model(folder / "model.keras")
        pixels = [keras.ops.image.resize(np.asarray(image, dtype=np.float32), (side, side)) for image in images]
        arrays = np.stack([keras.ops.convert_to_numpy(one) for one in pixels]) / 127.5 - 1
        found: np.ndarray = model.predict(arrays, verbose=0)
    return found


def test_a_run_leaves_a_model_of_keras_with_equal_predictions(finished: Finished) -> None:
    done = finished("keras")
    folder = done.folder / "model"
    assert sorted(file.name for file in folder.iterdir()) == [
        *("README.md", "features.safetensors", "hftransfer.json", "model.keras", "preprocessor_config.json"),
    ]
    assert json.loads((folder / "hftransfer.json").read_text())["class_names"] == ["blue", "green", "red"]
    images = [picture(color, seed, (50, 40)) for seed, color in enumerate(("red", "green", "blue", "sand"))]
    ours = [[one.scores[name] for name in ("blue", "green", "red")] for one in load_model(done.folder).predict(images)]
    assert np.array(ours) == pytest.approx(_in_plain_keras(folder, images, 32), abs=1e-5)


def test_the_code_on_the_card_gives_the_same(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished("keras").folder / "model"
    card = (folder / "README.md").read_text()
    assert "library_name: keras" in card
    code = next(block for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "import keras" in block)
    picture("red", 5, (50, 40)).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        exec(code.replace("path/to/this/folder", str(folder)), names)
    (ours,) = load_model(folder).predict(["photo.jpg"])
    assert names["probabilities"] == pytest.approx([ours.scores[n] for n in ("blue", "green", "red")], abs=1e-5)


def test_a_finished_model_can_be_trained_again_and_pushed(finished: Finished, folder_data: Path) -> None:
    folder = finished("keras").folder
    again = ht.fit(
        "image-classification",
        model=str(folder / "model"),
        train=folder_data / "train",
        validation=folder_data / "validation",
        progress=Progress(None),
    )
    assert [one.label for one in again.predict([picture("red", 3), picture("blue", 4)])] == ["red", "blue"]
    assert {"model.keras", "preprocessor_config.json", "README.md"} <= set(collect(folder, "me/mine").files)


@pytest.mark.parametrize(("task", "last"), [("image-classification", "sigmoid"), ("image-regression", "linear")])
def test_the_last_layer_says_what_the_numbers_are(tiny: TinyModels, tmp_path: Path, task: str, last: str) -> None:
    def target(color: str, seed: int) -> object:
        return 1990.0 + seed + 5 * (color == "red") if last == "linear" else [color, *(["odd"] if seed % 2 else [])]

    rows = [
        {"image": picture(color, seed), "label": target(color, seed)} for seed in range(20) for color in ("red", "blue")
    ]
    model = ht.fit(task, model=str(tiny("keras")), train=rows, precision="fp32", seed=1)
    model.save(tmp_path)
    there = _in_plain_keras(tmp_path, [picture("red", 99)], 32)[0]
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    assert layers[-1]["config"]["activation"] == last
    (own,) = load_model(tmp_path).predict([picture("red", 99)])
    if isinstance(own, ht.Number):
        assert own.value == pytest.approx(float(there[0]), rel=1e-5)
    else:
        names = json.loads((tmp_path / "hftransfer.json").read_text())["class_names"]
        assert [own.scores[name] for name in names] == pytest.approx(there.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("model", "overrides", "words"),
    [
        ("keras:ResNet50", ["strategy=lora"], r"strategy.kind .* must be linear-probe or fine-tune; got lora"),
        ("keras:ResNet50", ["task=text-classification"], "must be a text model; got the image model"),
        ("keras:ResNet50", ["model.weights=jft"], "model.weights must be"),
        ("bundled/efficientnet-lite0", ["model.weights=none"], "left out unless the model is keras:NAME"),
        ("keras:ResNet50", ["model.weights=none", "model.revision=main", "strategy=lora"], "got lora"),
    ],
)
def test_what_does_not_go_with_keras_is_told_before_anything_is_read(
    folder_data: Path, model: str, overrides: list[str], words: str
) -> None:
    recipe = {"task": "image-classification", "model": {"name": model}, "data": str(folder_data)}
    with pytest.raises(HftransferError, match=words):
        early_look(load_recipe(recipe, overrides).recipe, None)


def test_weights_of_a_recipe_are_part_of_the_name() -> None:
    recipe = {"task": "image-classification", "model": {"name": "keras:ResNet50", "weights": "none"}, "data": "x"}
    loaded = load_recipe(recipe).recipe
    assert loaded.model.name == "keras:ResNet50/none"
    assert load_recipe(json.loads(loaded.model_dump_json())).recipe.model == loaded.model


def test_a_path_counts_from_the_recipe(tiny: TinyModels, tmp_path: Path, folder_data: Path) -> None:
    (tmp_path / "mine").symlink_to(tiny("keras"))
    (tmp_path / "recipe.yaml").write_text(
        f"task: image-classification\nmodel: keras:local-dir:mine\ndata: {folder_data}\n"
    )
    name = load_recipe(tmp_path / "recipe.yaml").recipe.model.name
    assert name == f"keras:local-dir:{tmp_path / 'mine'}"
    assert find_checkpoint(name) is not None


def test_the_graph_of_onnx_gives_the_same(finished: Finished, tmp_path: Path) -> None:
    done = export_onnx(load_model(finished("keras").folder), tmp_path / "onnx", progress=Progress(None))
    assert done.max_difference < 1e-4
    said = json.loads((tmp_path / "onnx" / "onnx.json").read_text())
    assert said["preprocessing"]["mode"] == "tf"


def test_what_speaks_for_a_class_is_shown(finished: Finished) -> None:
    (found,) = ht.explain(load_model(finished("keras").folder), [picture("red", 1, (50, 40))], method="gradcam")
    assert isinstance(found, ImageExplanation)
    assert found.map.shape == (32, 32)
    # What the model saw is the image, red first, whatever order its channels have.
    assert found.seen[..., 0].mean() > 2 * found.seen[..., 2].mean()


def test_what_keras_hub_does_not_read_is_not_exported(finished: Finished, tmp_path: Path) -> None:
    for family, words in (("keras", "got one of Keras. Its folder holds model.keras"), ("resnet", "a vit or swin")):
        with pytest.raises(ModelError, match=words):
            export_keras(load_model(finished(family).folder), tmp_path / "out", progress=Progress(None))
    if find_spec("keras_hub") is None:
        with pytest.raises(ModelError, match=r"got no keras_hub\. Install it: pip install keras-hub"):
            export_keras(load_model(finished("vit").folder), tmp_path / "out", progress=Progress(None))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("keras_hub") is None, reason="needs keras_hub, which brings TensorFlow")
@pytest.mark.parametrize("family", ["vit", "swin"])
def test_keras_hub_gives_the_same_logits(tiny: TinyModels, folder_data: Path, tmp_path: Path, family: str) -> None:
    fitted = ht.fit(
        "image-classification", model=str(tiny(family)), train=folder_data / "train", progress=Progress(None)
    )
    done = export_keras(fitted, tmp_path / "out", progress=Progress(None))
    assert done.max_difference < 1e-3
    assert json.loads((done.folder / "keras.json").read_text())["labels"] == ["blue", "green", "red"]
    # A setting that keras_hub doesn't read is noticed by its logits.
    fitted.source.model.config.hidden_act = "relu"
    for module in fitted.source.model.modules():
        if hasattr(module, "activation_fn"):
            module.activation_fn = torch.nn.ReLU()
        if hasattr(module, "intermediate_act_fn"):
            module.intermediate_act_fn = torch.nn.ReLU()
    with pytest.raises(ExportError, match="keras_hub reads neither hidden_act"):
        export_keras(fitted, tmp_path / "other", progress=Progress(None))
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.shared
@shared
def test_a_network_of_dog_breeds_tells_cats_from_dogs(tmp_path: Path) -> None:
    try:
        file = dog_breeds()  # the pickle beside it is not read
    except CannotRun as error:
        pytest.skip(str(error))
    recipe = {"task": "image-classification", "model": f"keras:local-dir:{file}", "data": str(PHOTOS)}
    done = ht.run(recipe, out=tmp_path / "run", progress=Progress(None))
    assert done.metrics["test"]["accuracy"] >= 0.95
    images = [Image.open(photo).convert("RGB") for photo in sorted((PHOTOS / "test").glob("*/*"))[::25]]
    ours = [[one.scores[name] for name in ("cats", "dogs")] for one in load_model(done.folder).predict(images)]
    assert np.array(ours) == pytest.approx(_in_plain_keras(done.folder / "model", images, 160), abs=1e-5)
    tuned = ht.run({**recipe, "strategy": {"kind": "fine-tune", "unfreeze": 1}}, ["train.epochs=3"], out=tmp_path / "2")
    assert tuned.metrics["test"]["accuracy"] >= 0.95
