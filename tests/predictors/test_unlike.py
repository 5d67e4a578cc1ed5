"""Inputs unlike all that a model learned from: what predictions say of them, and the answer `none of these`."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hftransfer as ht
from hftransfer.attribution.explanation import TextExplanation
from hftransfer.base.errors import ModelError, RecipeError
from hftransfer.metrics.familiarity import familiarity
from hftransfer.predictors.predictor import FEATURES
from hftransfer.tasks.outcomes import NONE_OF_THESE
from tests.builders import recipe_for
from tests.predictors.builders import SILENT, call


def loaded(folder: Path) -> ht.Predictor:
    model = ht.load(folder)
    assert isinstance(model, ht.Predictor)
    return model


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> Path:
    """A picture of stripes, where the model knows red, green and blue noise."""
    stripes = np.indices((64, 64)).sum(axis=0) % 16 < 8
    file: Path = tmp_path_factory.mktemp("strange") / "stripes.png"
    Image.fromarray((stripes[..., None] * np.array([255, 255, 0])).astype(np.uint8)).save(file)
    return file


def test_predictions_say_how_unlike_the_training_examples_an_input_is(finished, folder_data, strange):
    model = loaded(finished("vit").folder)
    photos = sorted((folder_data / "test").rglob("*.png"))
    usual = [found.unlike or 0.0 for found in model.predict(photos)]
    found = model.predict(strange)
    assert found.unlike == 1.0
    assert np.mean(usual) < 0.9
    assert found.label in model.class_names


def test_a_probe_tells_how_well_an_unseen_class_is_told(finished):
    run = finished("vit").folder
    told = json.loads((run / "metrics.json").read_text())["test"]
    areas = told["unseen_class_auroc_by_class"]
    assert sorted(areas) == ["blue", "green", "red"]
    assert told["unseen_class_auroc"] == pytest.approx(np.mean(list(areas.values())))


def test_what_is_too_unlike_is_none_of_these(finished, folder_data, strange):
    model = loaded(finished("vit").folder)
    model.use_unknown(0.99)
    photo = sorted((folder_data / "train").rglob("*.png"))[0]
    none, usual = model.predict([strange, photo])
    assert (none.label, none.score, sorted(none.scores)) == (NONE_OF_THESE, 1.0, sorted(model.class_names))
    assert usual.label in model.class_names
    assert pickle.loads(pickle.dumps(model)).predict(strange).label == NONE_OF_THESE
    model.use_unknown(None)
    assert model.predict(strange).label in model.class_names
    for share in (0, 1.5):
        with pytest.raises(RecipeError, match="unknown must be a share of the training examples, above 0"):
            model.use_unknown(share)


def test_a_text_that_is_none_of_these_is_explained_by_the_likeliest_class(tiny, text_data):
    rows = [(f"a {word} film {number}", word) for number in range(8) for word in ("good", "bad")]
    model = ht.fit("text-classification", model=tiny("bert"), train=rows, strategy="linear-probe", progress=SILENT)
    model.use_unknown(1e-6)
    text = "who was in it where is it"
    found = model.predict(text)
    assert found.label == NONE_OF_THESE
    explained = ht.explain(model, text)
    assert isinstance(explained, TextExplanation)
    assert explained.label == max(found.scores, key=lambda name: found.scores[name])


def test_none_of_these_has_no_set_of_labels(finished, folder_data, strange, tmp_path):
    run = finished("vit").folder
    model = loaded(run)
    found = model.predict(strange)
    both = replace(found, unlike=None).with_set(0.1).seen_as(1.0, 0.99)
    assert (both.label, both.label_set) == (NONE_OF_THESE, ())
    assert both.line_of_labels("a.png", "softmax", as_set=True) == "a.png  none of these"
    assert both.plain()["label_set"] == ()
    known = replace(found, unlike=None).with_set(0.1).seen_as(0.5, 0.99)
    assert found.label in (known.label_set or ())


def test_a_prediction_is_shown_with_short_numbers():
    one = ht.Prediction("cat", 0.123456789, {"cat": 0.123456789, "dog": 1.23456789e-07}, unlike=None)
    assert repr(one) == (
        "Prediction(label='cat', score=0.1235, scores={'cat': 0.1235, 'dog': 1.235e-07}, unlike=None, label_set=None)"
    )


def test_the_command_line_tells_it(finished, strange, tmp_path):
    run = finished("vit").folder
    assert "none of these  " in call("predict", run, strange, "--unknown", "0.99").stdout
    told = json.loads(call("predict", run, strange, "--json", "--unknown", "0.99").stdout)["predictions"][0]
    assert (told["label"], told["unlike"]) == (NONE_OF_THESE, 1.0)
    assert "none of these, else " in call("predict", run, strange, "--unknown", "0.99", "--top", 1).stdout
    call("predict", run, strange, "--csv", tmp_path / "out.csv")
    assert "unlike" in (tmp_path / "out.csv").read_text().splitlines()[0].split(",")


def test_the_looks_of_examples_go_where_the_model_goes(finished, strange, tmp_path):
    run = finished("vit").folder
    assert (run / "model" / FEATURES).stat().st_size < 1 << 20
    model = loaded(run)
    saved = loaded(model.save(tmp_path / "saved"))
    assert saved.predict(strange) == model.predict(strange)
    (tmp_path / "saved" / FEATURES).unlink()
    plain = loaded(tmp_path / "saved")
    assert plain.predict(strange).unlike is None
    assert "unlike" not in plain.predict(strange).plain()
    with pytest.raises(
        RecipeError, match="unknown must be left out: the model does not know what its training examples look like"
    ):
        plain.use_unknown(0.99)


def test_a_damaged_file_of_features_is_told(finished, tmp_path):
    folder = shutil.copytree(finished("vit").folder / "model", tmp_path / "model")
    (folder / FEATURES).write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"features\.safetensors must be a valid file of hftransfer; got"):
        ht.load(folder)


@pytest.mark.parametrize("strategy", ["linear-probe", "lora", "fine-tune"])
def test_every_strategy_keeps_the_features_that_its_finished_model_gives(strategy, tiny, text_data):
    recipe = recipe_for(tiny("bert"), text_data)
    settings: dict[str, Any] = {"epochs": 1} if strategy != "linear-probe" else {}
    data = {"text_column": "sentence"}
    model = ht.fit(
        "text-classification",
        model=recipe["model"],
        train=str(text_data),
        strategy=strategy,
        data=data,
        progress=SILENT,
        **settings,
    )
    kept = model.facts.familiarity
    assert kept is not None
    lines = (text_data / "train.csv").read_text().splitlines()[1:]
    texts, labels = zip(*(line.rsplit(",", 1) for line in lines), strict=True)
    features: list[np.ndarray] = []
    model._probabilities(model._encoded([(text, None) for text in texts]), features)
    ids = np.array([model.class_names.index(label) for label in labels])
    wanted = familiarity(features[0], ids, len(model.class_names))
    assert wanted is not None
    np.testing.assert_allclose(kept.mean, wanted.mean, rtol=0.1, atol=0.02)  # in bfloat16 there
    assert model.predict(texts[0]).unlike is not None
