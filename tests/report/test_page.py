"""The page of a run: whole in one file, harmless whatever names and texts it shows, and looked at by a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hftransfer.base.progress import Progress
from hftransfer.jobs.run import run
from hftransfer.report.page import Group, Picture, RunPage, Said
from hftransfer.report.rendering import Marked
from hftransfer.tasks import TASKS
from tests.builders import COLORS, TinyModels, browser, missing_words, picture, recipe_for

SILENT = Progress(None)
EVIL = "<script>alert(1)</script>"


def _page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_of_a_run_tells_all_and_asks_for_nothing(finished: Any) -> None:
    folder = finished("resnet").folder
    page = _page(folder)
    metrics = finished("resnet").metrics
    low, high = metrics["test"]["accuracy_interval"]
    words = (
        f"{metrics['test']['accuracy']:.4f}",
        f"95 % interval {low:.4f} to {high:.4f}",
        "Most confident and right",
        "What it learned from",
        "How to use the model",
        "hftransfer run recipe.yaml",
        "peak memory",
        "<td>12</td>",
    )
    assert missing_words(page, words) == []
    assert page.count('src="data:image/') >= 3 + 12
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert str(folder.parent) not in page
    assert str(Path.home()) not in page


def test_precision_and_recall_are_those_of_the_confusion_matrix() -> None:
    page = _made(metrics={"confusion_matrix": [[3, 1], [2, 4]]})
    rows = page._classes()
    assert (rows[0]["precision"], rows[0]["recall"], rows[0]["f1"]) == ("0.6000", "0.7500", f"{2 / 3:.4f}")


def test_classes_have_the_columns_that_their_scores_fill() -> None:
    told = {"iou": 0.5, "precision": 0.6, "recall": 0.7, "f1": 0.8, "support": 4}
    page = _made(metrics={"per_class": {"sky": told, "fence": {**dict.fromkeys(told), "support": 0}}})
    assert page._classes()[1] == {
        **{"name": "fence", "train": "", "validation": "", "test": "0"},
        **dict.fromkeys(("iou", "precision", "recall", "f1"), "–"),
    }
    heads = re.search(r"<h2>Classes</h2>.*?</thead>", page.html(), re.DOTALL)
    assert heads is not None
    titles = re.findall(r"<th>(.*?)</th>", heads[0])
    assert titles == ["class", "test", "IoU", "precision", "recall", "F1"]  # nobody counted these in training


def _made(metrics: dict[str, Any] | None = None, **more: Any) -> RunPage:
    judged = {"accuracy": 0.7, "accuracy_interval": [0.4, 0.9], "confusion_matrix": [[3, 1], [2, 4]], **(metrics or {})}
    told = {
        "task": "text-classification",
        "model": EVIL,
        "strategy": "lora",
        "test": judged,
        "validation": judged,
        "examples": {"train": 9, "validation": 9, "test": 10},
        "parameters": {"trainable": 1, "total": 2},
        "seconds": {"total": 1.0},
        "peak_memory_bytes": 2**20,
    }
    counts = {split: [4, 6] for split in ("train", "validation", "test")}
    said = {"device": "cpu", "precision": "fp32", "threads": 1, "versions": {}}
    return RunPage(EVIL, TASKS["text-classification"], told, [EVIL, "b"], counts, EVIL, EVIL, EVIL, EVIL, said, **more)


def test_names_and_texts_are_shown_and_never_obeyed() -> None:
    groups = [
        Group(EVIL, "wrong", EVIL, texts=[Said(EVIL, [Marked(EVIL, 0.5), Marked("fine", -1.0), Marked("plain")])]),
        Group("b", pictures=[Picture(Image.new("RGB", (4, 4)), EVIL)]),
    ]
    page = _made(groups=groups).html()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10


@pytest.mark.parametrize("task", ["text-classification", "question-answering"])
def test_texts_and_answers_are_shown(
    tiny: TinyModels, text_data: Path, squad_data: Path, tmp_path: Path, task: str
) -> None:
    data = text_data if task == "text-classification" else squad_data
    recipe = recipe_for(tiny("bert"), data, epochs=1) | {"task": task, "output": {}}
    recipe["strategy"] = {"kind": "fine-tune", "unfreeze": 1}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    page = _page(result.folder)
    shown = "wanted:" if task == "question-answering" else "right"
    assert missing_words(page, (shown, "Time and memory")) == []
    assert result.metrics["seconds"]["report"] >= 0


def test_a_run_may_go_without_a_page(tiny: TinyModels, tmp_path: Path) -> None:
    rows = [(picture(color, seed), color) for color in list(COLORS)[:2] for seed in range(8)]
    recipe = recipe_for(tiny("resnet"), "memory") | {"output": {"report": False}}
    result = run(recipe, data=rows, out=tmp_path / "run", progress=SILENT)
    assert not (result.folder / "report.html").exists()


def _is_whole(page: Any) -> bool:
    return bool(page.execute_script("return document.readyState === 'complete'"))


def test_a_browser_shows_it_without_a_fault_and_without_a_request(finished: Any) -> None:
    pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.support.ui import WebDriverWait

    with browser() as driver:
        driver.get((finished("resnet").folder / "report.html").resolve().as_uri())
        WebDriverWait(driver, 30).until(_is_whole)
        sizes = driver.execute_script("return [...document.images].map(image => image.naturalWidth)")
        assert len(sizes) > 10
        assert min(sizes) > 0
        asked = driver.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
        assert [name for name in asked if not name.startswith("data:")] == []
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        driver.set_window_size(400, 800)
        wide = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 1
