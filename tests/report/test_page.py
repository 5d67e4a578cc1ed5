"""The page of a run: whole in one file, harmless whatever names and texts it shows, and looked at by a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hftransfer.base.progress import Progress
from hftransfer.jobs.examples import divided, in_turns
from hftransfer.jobs.run import run
from hftransfer.metrics.metric import Metric, metric_words
from hftransfer.report.charts import Axis, Bars, Chart, Series
from hftransfer.report.headline import in_short
from hftransfer.report.page import MOST_BYTES, Group, Picture, RunPage, Said
from hftransfer.report.rendering import Marked, sentence
from hftransfer.report.run_charts import matrix_of
from hftransfer.report.tables import duration, seconds_of
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
        "Correct and most confident",
        "What it learned from",
        "How to use the model",
        "hftransfer run recipe.yaml",
        "peak memory",
        "<td>12</td>",
    )
    assert missing_words(page, words) == []
    assert page.count('src="data:image/') >= 3 + 12
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
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
    heads = re.search(r"<h2 id=\"classes\">Classes</h2>.*?</thead>", page.html(), re.DOTALL)
    assert heads is not None
    titles = re.findall(r"<th scope=\"col\">(.*?)</th>", heads[0])
    assert titles == ["Class", "Test", "IoU", "Precision", "Recall", "F1"]  # nobody counted these in training


def test_how_well_an_unseen_class_is_told_stands_beside_its_scores() -> None:
    page = _made(metrics={"unseen_class_auroc": 0.91, "unseen_class_auroc_by_class": {"b": 0.9123}})
    assert [row["unseen"] for row in page._classes()] == ["", "0.9123"]
    html = page.html()
    assert '<th scope="col">AUROC unseen</th>' in html
    assert "AUROC of unseen classes" in html


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
        "chance": {"accuracy": {"score": 0.6, "words": "always answering 'b'"}},
    }
    counts = {split: [4, 6] for split in ("train", "validation", "test")}
    said = {"device": "cpu", "precision": "fp32", "threads": 1, "versions": {}}
    return RunPage(EVIL, TASKS["text-classification"], told, [EVIL, "b"], counts, EVIL, EVIL, EVIL, EVIL, said, **more)


def test_names_and_texts_are_shown_and_never_obeyed() -> None:
    groups = [
        Group(
            EVIL,
            "wrong",
            EVIL,
            texts=[Said(EVIL, [Marked(EVIL, 0.5), Marked("fine", -1.0), Marked("plain")], EVIL, EVIL)],
            key=[(EVIL, EVIL)],
        ),
        Group("b", pictures=[Picture(Image.new("RGB", (4, 4)), EVIL, EVIL, Image.new("RGB", (4, 4)), EVIL)]),
    ]
    names = [EVIL] * 20
    axis = Axis(EVIL, names=[EVIL])
    charts = [Chart(EVIL, axis, Axis(EVIL), [Series(EVIL, [0], [1.0]), Series("b", [0], [2.0])], EVIL)]
    bars = Bars(EVIL, [EVIL], [1.0], [EVIL], EVIL, EVIL)
    matrices = [matrix_of(np.eye(n) + 1, names[:n], EVIL, (EVIL, EVIL), by_row=True, told="{}, {}") for n in (3, 20)]
    page = _made(groups=groups, charts=[*charts, bars], matrices=matrices, date=EVIL).html()
    assert page.count("<script") == 1  # the page's own
    assert "alert(1)</script>" not in page
    assert page.count("&lt;script&gt;") >= 40


def test_the_policy_of_a_page_names_its_one_script() -> None:
    page = _made().html()
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'\"" in page


def test_the_first_screen_has_the_score_its_spread_and_what_chance_reaches() -> None:
    page = _made(metrics={"accuracy": 0.7, "accuracy_interval": [0.62, 0.78]}, date="2026-01-02 03:04").html()
    first = page[page.index("<header") : page.index("</header>")]
    words = ("70 %", "± 8", "60.0 %", f"Always answering &#39;{'b'}&#39;", "2026-01-02 03:04", "LoRA", "1.0 s")
    assert missing_words(first, words) == []
    assert "compared with other strategies" not in page
    of_a_study = _made(comparison="../../comparison.html").html()
    assert '<a href="../../comparison.html">compared with other strategies</a>' in of_a_study


@pytest.mark.parametrize(
    ("metric", "score", "interval", "told"),
    [
        (Metric("accuracy", is_share=True), 0.88, (0.84, 0.92), ("88 %", "± 4")),
        (Metric("accuracy", is_share=True), 0.995, (0.9722, 0.9991), ("99.5 %", "97.2 to 99.9")),
        (Metric("accuracy", is_share=True), 0.5, None, ("50.0 %", "")),
        (Metric("f1"), 0.8263, (0.7353, 0.8890), ("0.83", "± 0.08")),
        (Metric("mean_iou"), 0.8596, (0.8452, 0.8735), ("0.860", "± 0.014")),
        (Metric("r2", is_bounded=False), -0.5, (-1.5, 0.5), ("-0.5", "± 1.0")),
        (Metric("perplexity", is_bounded=False), 12345.6, (12000.0, 12700.0), ("12,346", "± 350")),
        (Metric("accuracy", is_share=True), 1.0, (1.0, 1.0), ("100.0 %", "")),
    ],
)
def test_a_score_is_told_as_exactly_as_it_is_known(
    metric: Metric, score: float, interval: tuple[float, float] | None, told: tuple[str, str]
) -> None:
    assert in_short(metric, score, interval) == told


def test_the_cells_of_the_confusion_matrix_are_those_of_the_examples(finished: Any) -> None:
    page = _page(finished("resnet").folder)
    cells = set(re.findall(r'<td data-cell="(\d-\d)"', page))
    shown = re.findall(r'<figure[^>]* data-cell="(\d-\d)"', page)
    assert cells == {f"{row}-{column}" for row in range(3) for column in range(3)}
    assert set(shown) <= cells
    assert len(shown) >= 6


def test_a_page_with_many_large_pictures_stays_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    picture = Picture(Image.fromarray(noise), "noise")
    page = _made(groups=[Group("all", pictures=[picture] * 80)]).html()
    assert len(page) <= MOST_BYTES
    assert page.count("<figure>") == 81  # one on the first screen


def test_stages_and_the_rest_come_to_the_total() -> None:
    told = seconds_of({"data": 1.0, "train": 2.0, "total": 4.5})
    assert told == {"data": 1.0, "train": 2.0, "other": 1.5, "total": 4.5}
    assert sum(value for name, value in told.items() if name != "total") == told["total"]
    assert "other" not in seconds_of({"data": 1.0, "total": 1.001})
    assert [duration(value) for value in (0.31, 35, 250, 3725)] == ["0.3 s", "35 s", "4 min 10 s", "1 h 2 min"]


@pytest.mark.parametrize(
    ("given", "told"),
    [("labels were not judged", "Labels were not judged"), ("cells/a-1 failed", "cells/a-1 failed"), ("", "")],
)
def test_notes_begin_as_sentences_do(given: str, told: str) -> None:
    assert sentence(given) == told


def test_a_divider_stands_between_the_texts_of_a_pair() -> None:
    page = _made(groups=[Group("pairs", texts=[Said("a", divided(["first text", "second text"]))])]).html()
    assert re.search(r"first text</span> <hr class=\"between\"><span[^>]*>second text", page)


def test_no_cell_fills_a_group_alone() -> None:
    cells = ["a", "a", "a", "a", "b", "a", "c"]
    assert in_turns(range(7), cells, 4) == [0, 1, 4, 6]
    assert in_turns([6, 5, 4, 3, 2, 1, 0], cells, 3) == [6, 5, 4]
    assert in_turns(range(7), cells, 20) == list(range(7))


@pytest.mark.parametrize("task", ["text-classification", "question-answering"])
def test_texts_and_answers_are_shown(
    tiny: TinyModels, text_data: Path, squad_data: Path, tmp_path: Path, task: str
) -> None:
    data = text_data if task == "text-classification" else squad_data
    recipe = recipe_for(tiny("bert"), data, epochs=1) | {"task": task, "output": {}}
    recipe["strategy"] = {"kind": "fine-tune", "unfreeze": 1}
    result = run(recipe, out=tmp_path / "run", progress=SILENT)
    page = _page(result.folder)
    shown = "expected:" if task == "question-answering" else "right"
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


def test_metrics_have_the_names_that_people_write() -> None:
    names = {"mean_iou": "mean IoU", "macro_f1": "macro F1", "roc_auc": "ROC AUC", "r2": "R²", "accuracy": "accuracy"}
    assert {name: metric_words(name) for name in names} == names
    assert sentence(metric_words("log_loss")) == "Log loss"
    assert metric_words("set_coverage_90") == "coverage of 90 % prediction sets"
