"""Fixtures: tiny models, tiny data sets, finished runs, and a cache of each test's own."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hftransfer.base.progress import Progress
from hftransfer.jobs.run import Result, run
from tests.builders import (  # first: one thread and no network, before torch is imported
    DUAL_FAMILIES,
    GENERAL_TEXT_FAMILIES,
    RELATED_DUAL_FAMILIES,
    TEXT_FAMILIES,
    Finished,
    TinyModels,
    lively,
    question,
    recipe_for,
    tiny_model,
    write_classes,
    write_tiny_dual_encoder,
    write_tiny_keras,
    write_tiny_open_clip,
    write_tiny_text_model,
)


def pytest_collection_finish() -> None:
    """Collect rarely: the collector took an eighth of the suite's time."""
    gc.set_threshold(100_000, 20, 20)  # frozen objects would be unknown to Hypothesis


@pytest.fixture(scope="session")
def folder_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red, green and blue noise in train / validation / test: easy for a linear probe."""
    root = tmp_path_factory.mktemp("folder-data")
    for place, (split, size) in enumerate({"train": 12, "validation": 5, "test": 6}.items()):
        write_classes(root / split, dict.fromkeys(("red", "green", "blue"), size), first_seed=1000 * place)
    return root


@pytest.fixture(scope="session")
def flat_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes without splits."""
    return write_classes(tmp_path_factory.mktemp("flat-data"), {"red": 20, "blue": 20})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """A native checkpoint folder of a family, made once; read only."""
    root = tmp_path_factory.mktemp("models")

    def folder_of(family: str) -> Path:
        from hftransfer.adapters.libraries import quiet_transformers

        folder = root / f"tiny-{family}"
        if not folder.exists():
            with quiet_transformers():
                torch.manual_seed(7)
                if family.removesuffix("-spans") in (*TEXT_FAMILIES, *GENERAL_TEXT_FAMILIES):
                    write_tiny_text_model(family.removesuffix("-spans"), folder, spans=family.endswith("-spans"))
                    return folder
                if family == "open_clip":
                    write_tiny_open_clip(folder)
                    return folder
                if family == "keras":
                    write_tiny_keras(folder)
                    return folder
                if family in (*DUAL_FAMILIES, *RELATED_DUAL_FAMILIES):
                    write_tiny_dual_encoder(family, folder)
                    return folder
                model, processor = tiny_model(family)
                lively(model)
                model.save_pretrained(folder)
                if processor is not None:
                    processor.save_pretrained(folder)
        return folder

    return folder_of


@pytest.fixture(scope="session")
def finished(tiny: TinyModels, folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The finished run of a family on the folder of coloured noise, made once; read only. That of `resnet` has figures
    and a page."""
    root = tmp_path_factory.mktemp("finished")
    results: dict[str, Result] = {}

    def run_of(family: str) -> Result:
        if family not in results:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HFTRANSFER_CACHE", str(root / "cache"))
                recipe = recipe_for(tiny(family), folder_data)
                if family == "resnet":
                    recipe["output"] = {}
                results[family] = run(recipe, out=root / family, progress=Progress(None))
        return results[family]

    return run_of


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no figures: for tests of other things, since figures take longer than all the rest of a tiny run."""
    monkeypatch.setattr("hftransfer.jobs.writing.draw_figures", lambda *_: None)
    monkeypatch.setattr("hftransfer.jobs.writing.page_of", lambda *_: None)


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of one test, not made yet."""
    folder = tmp_path_factory.mktemp("cache") / "hftransfer"
    monkeypatch.setenv("HFTRANSFER_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def cache_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder that tests with real weights share, those of other test processes too: what is drawn and
    computed once serves all."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "cache-of-all"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def silent() -> Progress:
    """Progress that nobody sees."""
    return Progress(None)


@pytest.fixture(scope="session")
def text_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences whose adjective tells their class, in train / validation / test: easy for a linear probe."""
    root = tmp_path_factory.mktemp("text-data")
    random = np.random.default_rng(5)
    words = {"pos": ("good", "great", "fine", "lovely"), "neg": ("bad", "awful", "dull", "poor")}
    for split, size in {"train": 24, "validation": 12, "test": 12}.items():
        lines = ["sentence,label"]
        for number in range(size):
            label = ("pos", "neg")[number % 2]
            lines.append(f"the {random.choice(['film', 'story', 'actor'])} was {random.choice(words[label])},{label}")
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def squad_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions in SQuAD's columns, train and validation."""
    import json

    root = tmp_path_factory.mktemp("squad-data")
    words = ("good", "great", "fine", "lovely", "bad", "awful")
    for split, size in {"train": 20, "validation": 6}.items():
        records = [question(number, words[number % 6], f"{split} {number % 5}") for number in range(size)]
        (root / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return root
