"""Embeddings on the command line: those of plain transformers, in every form, and what can't be read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoImageProcessor, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

import hftransfer as ht
from hftransfer.predictors.embedding import load_embedder
from tests.builders import load_dual_model
from tests.predictors.builders import call


def test_a_runs_features_are_those_below_its_head_in_every_form(finished, flat_data, tmp_path):
    run, photos = finished("vit").folder, sorted(flat_data.rglob("*.png"))[:5]
    for name in ("f.parquet", "f.npy", "f.safetensors"):
        outcome = call("embed", run, *photos, "--out", tmp_path / name, "--quiet")
        assert outcome.exit_code == 0, outcome.output
        assert outcome.stdout.strip().endswith("f." + name.split(".")[1] + ": 5 x 32")
    plain = AutoModel.from_pretrained(run / "model").eval()
    processor = AutoImageProcessor.from_pretrained(run / "model")
    with torch.inference_mode():
        hidden = plain(**processor([Image.open(p).convert("RGB") for p in photos], return_tensors="pt"))
    wanted = hidden.last_hidden_state[:, 0].numpy()
    table = pyarrow.parquet.read_table(tmp_path / "f.parquet").to_pydict()
    np.testing.assert_allclose(table["embedding"], wanted, atol=1e-5)
    assert table["input"] == [str(photo) for photo in photos]
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), np.float32(table["embedding"]))
    with safe_open(tmp_path / "f.safetensors", "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("embeddings"), np.float32(table["embedding"]))
        assert json.loads(file.metadata()["inputs"]) == table["input"]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "mpnet", "modernbert", "deberta-v2"])
def test_the_first_features_of_a_loaded_model_are_its_inputs_own(tiny, tmp_path, family):
    rows = [
        (f"{word} film number {place}", label) for place in range(12) for word, label in (("good", "a"), ("bad", "b"))
    ]
    strategy, folder = ht.FineTune(head_init="random"), tmp_path / "model"
    trained = ht.fit("text-classification", model=str(tiny(family)), train=rows, strategy=strategy, epochs=1)
    trained.save(folder)
    plain, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    entered = []
    plain.eval().get_submodule(trained.source.head_name).register_forward_pre_hook(
        lambda _, given: entered.append(given[0])
    )
    texts = ["a good story", "the film was bad"]
    with torch.inference_mode():
        plain(**tokenizer(texts, padding=True, return_tensors="pt"))
    features: Any = list(ht.load(folder).embed_each(texts))
    np.testing.assert_allclose(features, entered[0].numpy(), atol=1e-5)
    together, again = ht.load(folder), ht.load(folder)
    unlike = [found.unlike for found in together.predict(texts)]
    assert unlike == pytest.approx([again.predict(text).unlike for text in texts], abs=1e-3)


def test_a_text_backbone_without_a_head_is_pooled_by_the_mean(tiny, tmp_path):
    folder = tmp_path / "backbone"
    AutoModel.from_pretrained(tiny("bert")).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny("bert"))
    tokenizer.save_pretrained(folder)
    texts = ["a good film", "the story was dull"]
    assert call("embed", folder, *texts, "--out", tmp_path / "t.npy", "--quiet").exit_code == 0
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    wanted = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "t.npy"), wanted, atol=1e-5)


def test_a_dual_encoder_embeds_as_in_python(tiny, flat_data, tmp_path):
    photos = sorted(flat_data.rglob("*.png"))[:3]
    assert call("embed", tiny("clip-dual"), *photos, "--out", tmp_path / "c.npy", "--quiet").exit_code == 0
    model = ht.load(tiny("clip-dual"))
    assert isinstance(model, ht.DualPredictor)
    np.testing.assert_allclose(np.load(tmp_path / "c.npy"), model.embed_images(photos), atol=1e-6)


def test_what_cant_be_read_is_told_and_the_rest_is_written(finished, flat_data, tmp_path):
    photo, broken = sorted(flat_data.rglob("*.png"))[0], tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    run = finished("vit").folder
    outcome = call("embed", run, broken, photo, "--out", tmp_path / "f.npy", "--quiet")
    assert outcome.exit_code == 2
    assert "broken.png" in outcome.stderr
    assert np.load(tmp_path / "f.npy").shape == (1, 32)


@pytest.mark.parametrize(
    ("out", "fault"),
    [
        ("f.csv", "--out must be a file that ends in .parquet or .npy or .safetensors"),
        ("no/f.npy", "in an existing folder"),
    ],
)
def test_where_it_can_be_written_is_told_before_a_model_is_loaded(out, fault, tmp_path):
    outcome = call("embed", "no/such-model", "x", "--out", tmp_path / out)
    assert outcome.exit_code == 2
    assert fault in outcome.stderr


def test_heads_with_many_rows_an_input_embed_nothing(tiny, tmp_path):
    outcome = call("embed", tiny("bert-spans"), "a text", "--out", tmp_path / "f.npy")
    assert outcome.exit_code == 2
    assert "the model that embeds must be a model with one vector of features per input" in outcome.stderr


def test_a_folder_that_hftransfer_wrote_is_never_taken_for_a_backbone(finished, tmp_path):
    import shutil

    folder = shutil.copytree(finished("vit").folder / "model", tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ht.HftransferError, match="damaged"):
        load_embedder(folder)


def test_python_embeds_one_or_many(finished, flat_data, tiny, tmp_path):
    run, photos = finished("vit").folder, sorted(flat_data.rglob("*.png"))[:3]
    assert call("embed", run, *photos, "--out", tmp_path / "f.npy", "--quiet").exit_code == 0
    wanted = np.load(tmp_path / "f.npy")
    np.testing.assert_allclose(ht.embed(run, photos), wanted, atol=1e-6)
    model = ht.load(run)
    np.testing.assert_allclose(ht.embed(model, photos[0]), wanted[0], atol=1e-5)
    np.testing.assert_allclose(ht.embed(model, Image.open(photos[0])), wanted[0], atol=1e-5)
    assert ht.embed(model, []).shape == (0, 0)
    clip = load_dual_model(tiny("clip-dual"))
    np.testing.assert_allclose(ht.embed(clip, photos), clip.embed_images(photos), atol=1e-6)
    texts = ht.embed(tiny("bert"), ["a good film", ("a film", "a bore")])
    assert texts.shape == (2, 32)
    assert texts.dtype == np.float32
    np.testing.assert_allclose(ht.embed(tiny("bert"), "a good film"), texts[0], atol=1e-5)
    with pytest.raises(ht.DataError, match=r"no\.png"):
        ht.embed(model, [photos[0], tmp_path / "no.png"])
    with pytest.raises(ht.ModelError, match="one vector of features per input"):
        ht.embed(tiny("bert-spans"), "a text")
    wrong: Any
    for wrong in (3, None, b"a"):
        with pytest.raises(ht.ModelError, match="the model must be a folder, a Hub id or a run; got an object of"):
            ht.embed(wrong, "a text")
        with pytest.raises(ht.ModelError, match="the model must be a folder, a Hub id or a run; got an object of"):
            ht.load(wrong)
