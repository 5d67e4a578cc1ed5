"""Real pretrained weights on the embedded drawings and on real photos: what the project promises, measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import hftransfer as ht
from hftransfer.base.progress import Progress
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows
from hftransfer.training.devices import computes_bf16
from tests.real import PHOTOS, SHARED, bundled, shared

VIT_TINY = SHARED / "models" / "vit_tiny_patch16_224"


@pytest.fixture(autouse=True)
def _one_cache_for_all(cache_of_all: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFTRANSFER_CACHE", str(cache_of_all))


def _run(model: str, data: str, out: Path, **overrides: object) -> dict[str, Any]:
    recipe = {"task": "image-classification", "model": model, "data": data}
    return ht.run(recipe, overrides, out=out, progress=Progress(None)).metrics


@pytest.mark.bundled
@bundled
class TestDrawnPets:
    @pytest.mark.slow
    def test_probe_on_real_weights_reaches_95_percent(self, tmp_path: Path) -> None:
        metrics = _run("bundled/efficientnet-lite0", "bundled/drawn-pets", tmp_path / "run")
        assert metrics["examples"] == {"train": 400, "validation": 100, "test": 200}
        assert metrics["test"]["accuracy"] >= 0.95
        written = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert written["test"]["accuracy"] == metrics["test"]["accuracy"]

    @pytest.mark.slow
    def test_raw_pixels_stay_at_or_below_80_percent(self) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        found = find_rows(DataSettings(source="bundled/drawn-pets"), Progress(None))
        pixels = {name: _raw_pixels(found, name) for name in found}
        labels = {name: [row.target for row in rows] for name, rows in found.items()}
        fits = []
        for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
            classifier.fit(pixels["train"], labels["train"])
            fits.append((classifier.score(pixels["validation"], labels["validation"]), classifier))
        best = max(fits, key=lambda fit: fit[0])[1]
        assert best.score(pixels["test"], labels["test"]) <= 0.80


@pytest.mark.slow
@pytest.mark.shared
@shared
class TestPhotos:
    @pytest.fixture
    def _kept_for_all(self, cache_of_all: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HFTRANSFER_CACHE", str(cache_of_all))

    @pytest.mark.usefixtures("_kept_for_all")
    def test_vit_tiny_probe(self, tmp_path: Path) -> None:
        assert _run(str(VIT_TINY), str(PHOTOS), tmp_path / "run")["test"]["accuracy"] >= 0.975

    @pytest.mark.skipif(not computes_bf16(torch.device("cpu")), reason="this processor has no fast bfloat16")
    @pytest.mark.usefixtures("_kept_for_all")
    def test_bfloat16_gives_the_labels_of_float32(self, tmp_path: Path) -> None:
        found = []
        for precision in ("fp32", "bf16"):
            _run(str(VIT_TINY), str(PHOTOS), tmp_path / precision, **{"train.precision": precision})
            found.append(pandas.read_parquet(tmp_path / precision / "predictions.parquet").prediction)
        assert (found[0] == found[1]).mean() >= 0.995

    def test_second_run_spends_little_time_on_activations(self, tmp_path: Path) -> None:
        first = _run(str(VIT_TINY), str(PHOTOS), tmp_path / "first", **{"data.limit": 40, "train.cache": "off"})
        _run(str(VIT_TINY), str(PHOTOS), tmp_path / "second", **{"data.limit": 40})
        third = _run(str(VIT_TINY), str(PHOTOS), tmp_path / "third", **{"data.limit": 40})
        assert third["seconds"]["activations"] <= 0.05 * first["seconds"]["activations"]
        assert third["test"] == first["test"]

    @bundled
    @pytest.mark.bundled
    @pytest.mark.usefixtures("_kept_for_all")
    def test_efficientnet_lite0_probe_and_its_native_checkpoint(self, tmp_path: Path) -> None:
        from transformers import pipeline

        metrics = _run("bundled/efficientnet-lite0", str(PHOTOS), tmp_path / "run")
        assert metrics["test"]["accuracy"] >= 0.975
        photos = sorted(str(file) for file in (PHOTOS / "test").rglob("*.jpg"))[::10]
        plain = pipeline("image-classification", model=str(tmp_path / "run" / "model"), device="cpu")
        for theirs, ours in zip(plain(photos), ht.load(tmp_path / "run").predict(photos), strict=True):
            assert {entry["label"]: entry["score"] for entry in theirs} == pytest.approx(ours.scores, abs=1e-4)


def _raw_pixels(found: Found, split: str) -> np.ndarray:
    from hftransfer.data.rows import FileContent

    rows = found[split]
    paths = [row.content.path for row in rows if isinstance(row.content, FileContent)]
    small = [np.asarray(Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)) for path in paths]
    return np.stack(small).reshape(len(small), -1) / 255.0
