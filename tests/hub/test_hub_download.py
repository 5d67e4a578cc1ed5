"""Models and data sets from the Hub, with the real client against a double of the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.builders import TinyModels
from tests.hub.hub_double import COMMIT, serve


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny ResNet and a data set of striped pictures under the names that the shipped recipe asks for."""
    import datasets
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

    root = tmp_path_factory.mktemp("hub")
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetForImageClassification(config).save_pretrained(root / "model")
    ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875).save_pretrained(root / "model")
    (root / "model" / "pytorch_model.bin").write_bytes(b"never to be fetched")

    images, labels = [], []
    for index in range(60):
        noise = np.random.default_rng(index).integers(0, 90, (40, 40, 3)).astype(np.uint8)
        if index % 2:
            noise[::4] = 255
        images.append(Image.fromarray(noise))
        labels.append(index % 2)
    features = datasets.Features({"image": datasets.Image(), "labels": datasets.ClassLabel(names=["cat", "dog"])})
    data = datasets.Dataset.from_dict({"image": images, "labels": labels}, features=features)
    (root / "data" / "data").mkdir(parents=True)
    data.to_parquet(str(root / "data" / "data" / "train-00000-of-00001.parquet"))
    return {"models/microsoft/resnet-50": root / "model", "datasets/microsoft/cats_vs_dogs": root / "data"}


def _hftransfer(endpoint: str, home: Path, *words: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """The command line as a user's process that takes the double for the Hub (the client reads this at import)."""
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_DATASETS_OFFLINE": "1" if offline else "0",
        "TRANSFORMERS_OFFLINE": "0",
        "HFTRANSFER_CACHE": str(home / "cache"),
        "HF_TOKEN": "hf_secret_token_of_a_test",
    }
    command = [sys.executable, "-m", "hftransfer", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=home, env=os.environ | settings)


@pytest.mark.slow
def test_shipped_hub_recipe_runs_and_then_runs_offline(repos: dict[str, Path], tmp_path: Path) -> None:
    with serve(repos) as hub:
        first = _hftransfer(hub.endpoint, tmp_path, "run", "cats_dogs_resnet50_hub", "--json", "--out", "first")
        assert first.returncode == 0, first.stderr
        assert not any("pytorch_model.bin" in request for request in hub.requests)
    metrics = json.loads(first.stdout)
    assert metrics["model"] == "microsoft/resnet-50"
    assert metrics["test"]["accuracy"] == 1.0
    recipe = (tmp_path / "first" / "recipe.yaml").read_text()
    assert COMMIT in recipe
    assert "base_model: microsoft/resnet-50" in (tmp_path / "first" / "model" / "README.md").read_text()
    for file in (tmp_path / "first").rglob("*"):
        assert not file.is_file() or b"hf_secret_token_of_a_test" not in file.read_bytes()

    second = _hftransfer(
        hub.endpoint, tmp_path, "run", "cats_dogs_resnet50_hub", "--json", "--out", "second", offline=True
    )
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["test"] == metrics["test"]


def test_unknown_model_is_told_without_a_traceback(repos: dict[str, Path], tmp_path: Path) -> None:
    with serve(repos) as hub:
        words = ("run", "cats_dogs_resnet50_hub", "model=microsoft/resnet-5000", "--out", "run")
        outcome = _hftransfer(hub.endpoint, tmp_path, *words)
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr
    assert "model must be a model on the Hub or an existing folder; got 'microsoft/resnet-5000'" in outcome.stderr


@pytest.mark.slow
def test_an_open_clip_model_is_fetched_by_name_and_tag(tmp_path: Path, tiny: TinyModels, flat_data: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"task: image-classification\nmodel: open_clip:ViT-B-32/openai\ndata: {flat_data}\n"
    )
    with serve({"models/timm/vit_base_patch32_clip_224.openai": tiny("open_clip")}) as hub:
        outcome = _hftransfer(hub.endpoint, tmp_path, "run", "mine.yaml", "--json", "--out", "run")
        wrong = _hftransfer(hub.endpoint, tmp_path, "run", "mine.yaml", "model=open_clip:ViT-B-32/opnai", "--out", "no")
        task = "task=text-classification"
        text = _hftransfer(hub.endpoint, tmp_path, "run", "mine.yaml", task, "--out", "no")
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout)["test"]["accuracy"] > 0.5
    assert wrong.returncode == 2
    assert "must be a tag of ViT-B-32; got 'opnai'. Did you mean 'openai'?" in wrong.stderr
    assert text.returncode == 2
    assert "must be a text model; got the image model 'open_clip:ViT-B-32/openai'" in text.stderr


@pytest.mark.slow
def test_streamed_images_are_fetched_once(repos: dict[str, Path], tmp_path: Path, tiny: TinyModels) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"task: image-classification\nmodel: {tiny('resnet')}\ndata: {{source: microsoft/cats_vs_dogs}}\n"
        "train: {precision: fp32}\noutput: {report: false}\n"
    )
    told = {}
    with serve(repos) as hub:
        for out, streaming in (("streamed", "true"), ("here", "false")):
            words = ("run", "mine.yaml", f"data.streaming={streaming}", "--json", "--out", out)
            outcome = _hftransfer(hub.endpoint, tmp_path, *words)
            assert outcome.returncode == 0, outcome.stderr
            told[out] = json.loads(outcome.stdout)["test"]
            if out == "streamed":
                (file,) = (repos["datasets/microsoft/cats_vs_dogs"] / "data").iterdir()
                # The file's end is read twice, 64 KiB at a time.
                assert hub.sent[file.name] < file.stat().st_size + 3 * (1 << 16)
                assert not list((tmp_path / "hf").rglob("*.arrow"))
    assert told["streamed"]["accuracy"] == told["here"]["accuracy"]
    assert told["streamed"]["log_loss"] == pytest.approx(told["here"]["log_loss"], rel=1e-5)
