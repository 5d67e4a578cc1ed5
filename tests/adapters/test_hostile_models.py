"""Model and run folders that are damaged or hostile: told in words, soon, and never as numbers that are none."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.base.errors import ModelError
from hftransfer.cli import app
from tests.builders import Finished, TinyModels, encoded, faults_of, load_dual_model, load_model, picture

_SOON = 8.0
"""Seconds in which a fault is told, on a machine that does other things too."""
_DEEP = "[" * 100_000
Damaged = Callable[..., Path]


@pytest.fixture
def damaged(tiny: TinyModels, tmp_path: Path) -> Damaged:
    """A copy of a tiny model in one of whose files some settings are others."""

    def copy(family: str, file: str, **settings: Any) -> Path:
        folder = shutil.copytree(tiny(family), tmp_path / family)
        said = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**said, **settings}))
        return folder

    return copy


@pytest.fixture(scope="module")
def lora(tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of matrices for the tiny BERT; read only."""
    rows = [("a good film", "pos"), ("a bad film", "neg")] * 4
    model = ht.fit("text-classification", model=str(tiny("bert")), train=rows, strategy=ht.LoRA(rank=2), epochs=1)
    return Path(model.save(tmp_path_factory.mktemp("lora") / "model"))


def _told(folder: Path, given: Any = None) -> str:
    """What a person reads, within seconds."""

    def predict() -> None:
        model = load_model(folder)
        model.predict(given if given is not None else "a film" if model.takes == "texts" else picture())

    began = time.perf_counter()
    with pytest.raises(ModelError) as error:
        predict()
    assert time.perf_counter() - began < _SOON
    return faults_of(error)


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_hidden_layers": 10**7}, "num_hidden_layers of model"),
        ({"num_labels": 10**9}, "num_labels of model"),
        ({"hidden_size": 10**5, "num_attention_heads": 10}, "about as large as its weights"),
        ({"image_size": 10**6}, "about as large as its weights"),
        ({"intermediate_size": 10**9}, "about as large as its weights"),
        ({"num_attention_heads": 0}, "must be"),
        ({"patch_size": 0}, "must be"),
        ({"hidden_size": "32"}, "must be"),
        ({"num_hidden_layers": -1}, "must be"),
        ({"id2label": {}}, "must be"),
    ],
    ids=str,
)
def test_sizes_that_the_weights_do_not_have_are_told_before_anything_is_built(
    damaged: Damaged, settings: dict[str, Any], told: str
) -> None:
    folder = damaged("vit", "config.json", **settings)
    assert told in _told(folder)


def test_check_tells_sizes_too(damaged: Damaged, folder_data: Path) -> None:
    folder = damaged("vit", "config.json", num_hidden_layers=10**7)
    with pytest.raises(ModelError, match="num_hidden_layers"):
        ht.check({"task": "image-classification", "model": str(folder), "data": str(folder_data)})


def test_sizes_of_towers_are_told(damaged: Damaged) -> None:
    folder = damaged("open_clip", "open_clip_config.json")
    said = json.loads((folder / "open_clip_config.json").read_text())
    for part, key, value in (
        ("vision_cfg", "layers", 10**7),
        ("text_cfg", "width", 10**6),
        ("vision_cfg", "width", {}),
    ):
        model_cfg = {**said["model_cfg"], part: {**said["model_cfg"][part], key: value}}
        (folder / "open_clip_config.json").write_text(json.dumps({**said, "model_cfg": model_cfg}))
        assert "must be" in _told(folder)


def test_images_are_not_brought_to_any_size(damaged: Damaged) -> None:
    folder = damaged("vit", "preprocessor_config.json", size={"height": 10**6, "width": 10**6})
    assert "size.height of model" in _told(folder)


# --- files -----------------------------------------------------------------------------------------------------------

_NO_OBJECTS = (_DEEP, "{", "[]", "3", "", '{"a": NaN', "\x00")


@pytest.mark.parametrize("file", ["config.json", "hftransfer.json"])
def test_damaged_settings_are_told(tiny: TinyModels, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(tiny("vit"), tmp_path / "vit")
    for text in _NO_OBJECTS:
        (folder / file).write_text(text)
        assert file in _told(folder)
    (folder / file).write_bytes(b"\xff\xfe\x00")
    assert file in _told(folder)


def test_damaged_metrics_of_a_run_are_told(finished: Finished, tmp_path: Path) -> None:
    run = shutil.copytree(finished("vit").folder, tmp_path / "run")
    for text in _NO_OBJECTS:
        (run / "metrics.json").write_text(text)
        assert "metrics.json" in _told(run)


def test_damaged_facts_are_told(finished: Finished, tmp_path: Path) -> None:
    folder = shutil.copytree(finished("vit").folder / "model", tmp_path / "model")
    said = json.loads((folder / "hftransfer.json").read_text())
    for key, value in (
        ("task", "other"),
        ("max_tokens", -1),
        ("max_tokens", 10**12),
        ("base", 3),
        ("base", {"path": 3}),
    ):
        (folder / "hftransfer.json").write_text(json.dumps({**said, key: value}))
        assert "hftransfer.json" in _told(folder)


# --- matrices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"r": 10**9}, "r in"),
        ({"r": 0}, "r in"),
        ({"rank_pattern": {"query": 10**9}}, "r in"),
        ({"peft_type": "SOMETHING"}, "peft_type in"),
        ({"peft_type": "PREFIX_TUNING"}, "peft_type in"),
        ({"megatron_config": {"a": 1}, "megatron_core": "something"}, "megatron_config in"),
        ({"layer_replication": [[0, 10**9]]}, "layer_replication in"),
        ({"target_modules": ["nothing"]}, "must be"),
        ({"target_modules": 3}, "must be"),
        ({"modules_to_save": 3}, "must be"),
        ({"lora_alpha": "x"}, "must be"),
    ],
    ids=str,
)
def test_damaged_matrices_are_told(lora: Path, tmp_path: Path, tiny: TinyModels, settings: Any, told: str) -> None:
    folder = shutil.copytree(lora, tmp_path / "lora")
    said = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**said, **settings}))
    with pytest.raises(ModelError) as error:
        load_model(folder, base=tiny("bert"))
    assert told in faults_of(error)


# --- scores that are no numbers --------------------------------------------------------------------------------------


@pytest.fixture
def endless(damaged: Damaged) -> Path:
    """A model whose preprocessing divides by nothing."""
    return damaged("vit", "preprocessor_config.json", image_std=[0, 0, 0], do_normalize=True)


def test_scores_that_are_no_numbers_are_an_error_everywhere(endless: Path, tmp_path: Path, folder_data: Path) -> None:
    file = tmp_path / "photo.png"
    picture().save(file)
    told = "must be finite numbers; got NaN or infinity"
    assert told in _told(endless)
    model = load_model(endless)
    with pytest.raises(ModelError, match=told):
        model.evaluate([(picture(), "thing 0")])
    with pytest.raises(ModelError, match=told):
        ht.explain(model, [picture()], method="occlusion")
    table = str(tmp_path / "out.csv")
    for words in (
        ["predict", str(endless), str(file), "--json"],
        ["predict", str(endless), str(file), "--csv", table],
        ["explain", str(endless), str(file), "--out", str(tmp_path / "explained"), "--method", "occlusion"],
    ):
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 2, words
        assert told in found.stderr
        assert "nan" not in found.stdout.lower()


def test_a_server_tells_that_scores_are_no_numbers(endless: Path) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from hftransfer.predictors.server import HOST, make_app

    client = TestClient(make_app(load_model(endless), "model"), base_url=f"http://{HOST}")
    answer = client.post("/predict", content=encoded(picture()), headers={"content-type": "image/png"})
    assert answer.status_code == 422
    assert "finite numbers" in answer.json()["error"]


@pytest.mark.slow
def test_a_model_of_no_numbers_is_not_exported(endless: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = CliRunner().invoke(app, ["export", str(endless), "--out", str(tmp_path / "onnx"), "--quiet"])
    assert found.exit_code != 0
    assert "finite numbers" in found.stderr
    assert not (tmp_path / "onnx").exists()


def test_a_dual_encoder_tells_that_scores_are_no_numbers(damaged: Damaged) -> None:
    with quiet_transformers():
        folder = damaged("clip-dual", "preprocessor_config.json", image_std=[0, 0, 0])
        model = load_dual_model(folder)
    with pytest.raises(ModelError, match="finite numbers"):
        model.predict(picture(), ["cat", "dog"])
    with pytest.raises(ModelError, match="finite numbers"):
        model.embed_images(picture())


def test_a_damaged_run_is_not_pushed(finished: Finished, tmp_path: Path) -> None:
    for name, content in (("metrics.json", b"\xff"), ("model/README.md", b"\xff"), ("model/hftransfer.json", b"[")):
        run = shutil.copytree(finished("vit").folder, tmp_path / name.replace("/", "-"))
        (run / name).write_bytes(content)
        found = CliRunner().invoke(app, ["push", str(run), "me/model", "--dry-run"])
        assert found.exit_code == 2
        assert name.rpartition("/")[2] in found.stderr


def test_how_wide_experts_and_blocks_are_is_no_number_of_them() -> None:
    from hftransfer.adapters.sizes import require_fitting_numbers

    wide = {"shared_expert_intermediate_size": 5632, "block_out_channels": [128, 1024], "num_hidden_layers": 48}
    require_fitting_numbers(
        "a", {**wide, "text_config": {"layer_norm_eps": 1e-5, "max_position_embeddings": 131072}}, {}
    )
    with pytest.raises(ModelError, match=r"text_config\.n_layers"):
        require_fitting_numbers("a", {"text_config": {"n_layers": 10**7}}, {})
