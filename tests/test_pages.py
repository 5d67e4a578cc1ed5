"""Every kind of page, looked at in a real browser: on a phone and a screen, light and dark, with axe-core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hftransfer as ht
from hftransfer.base.progress import Progress
from tests.builders import (
    Finished,
    TinyModels,
    browser,
    load_model,
    picture,
    question,
    write_classes,
    write_tiny_writer,
)
from tests.pages import MOST_BYTES, axe_source, faults_of_page
from tests.predictors.test_server import running

pytestmark = pytest.mark.slow
SILENT = Progress(None)


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path | str], None]]:
    """Asserts that nothing is wrong with a page, in one browser for all of them."""
    axe = axe_source(tmp_path_factory.mktemp("npm"))
    with browser() as driver:
        driver.set_script_timeout(60)

        def look(page: Path | str) -> None:
            if isinstance(page, Path):
                assert page.stat().st_size <= MOST_BYTES
                page = page.resolve().as_uri()
            assert faults_of_page(driver, page, axe) == []

        yield look


PROBE, TUNE = {"kind": "linear-probe"}, {"kind": "fine-tune", "unfreeze": 1}


def _run(out: Path, task: str, model: Path, data: Any, strategy: object, *, of_data: Any = None, **more: Any) -> Path:
    """The page of a run on a source's name or path, or on rows."""
    train = {"precision": "fp32", **({"epochs": 2, "batch_size": 8} if strategy is not None else {})}
    recipe = {"task": task, "model": str(model), "train": train, **more}
    if strategy is not None:
        recipe["strategy"] = strategy
    is_named = isinstance(data, str | Path)
    recipe["data"] = {**({"source": str(data)} if is_named else {}), **(of_data or {})}
    return ht.run(recipe, data=None if is_named else data, out=out, progress=SILENT).report


def _numbers(count: int) -> list[tuple[str, float]]:
    return [(f"a flat of {2 + number % 5} rooms", 300.0 * (2 + number % 5) + number) for number in range(count)]


def _pairs(count: int) -> list[tuple[tuple[str, str], str]]:
    words = ("good", "bad")
    return [((f"the film was {words[i % 2]}", "was it good ?"), ("yes", "no")[i % 2]) for i in range(count)]


def _masks(count: int) -> list[tuple[Image.Image, np.ndarray]]:
    from hftransfer.tasks import head_task

    found: list[tuple[Image.Image, np.ndarray]] = head_task("image-segmentation").made_up(count)
    return found


def test_pages_of_images(
    finished: Finished, flat_data: Path, tiny: TinyModels, tmp_path: Path, looked_at: Callable[[Path | str], None]
) -> None:
    looked_at(finished("resnet").report)
    many = write_classes(tmp_path / "many", {"red": 30, "sand": 30}, first_seed=5)
    for number in range(20):
        folder = many / f"class of a rather long name {number}"
        folder.mkdir()
        for seed in range(6):
            picture("blue", 100 * number + seed).save(folder / f"{seed}.png")
    looked_at(_run(tmp_path / "of-many", "image-classification", tiny("vit"), many, PROBE))
    looked_at(_run(tmp_path / "folds", "image-classification", tiny("timm"), flat_data, PROBE, of_data={"folds": 3}))


@pytest.mark.parametrize(
    ("task", "family", "data", "strategy"),
    [
        ("text-classification", "bert", "bundled/short-reviews", PROBE),
        ("text-classification", "bert", "bundled/film-topics", PROBE),
        ("text-classification", "bert", _pairs(60), TUNE),
        ("text-regression", "bert", _numbers(60), TUNE),
        ("token-classification", "bert", "bundled/short-notes", TUNE),
        ("question-answering", "bert", [question(n, ("good", "bad")[n % 2]) for n in range(30)], TUNE),
        ("image-segmentation", "timm", _masks, PROBE),
        ("zero-shot-image-classification", "clip-dual", "bundled/drawn-pets", None),
    ],
    ids=["texts", "labels", "pairs", "numbers", "tags", "answers", "masks", "zero-shot"],
)
def test_pages_of_other_tasks(
    task: str,
    family: str,
    data: Any,
    strategy: object,
    tiny: TinyModels,
    tmp_path: Path,
    cache_of_all: Path,
    monkeypatch: pytest.MonkeyPatch,
    looked_at: Callable[[Path | str], None],
) -> None:
    monkeypatch.setenv("HFTRANSFER_CACHE", str(cache_of_all))
    rows = data(40) if callable(data) else data
    more: dict[str, Any] = {} if strategy is not None else {"prompts": "openai-7", "compare_prompts": True}
    looked_at(_run(tmp_path / "run", task, tiny(family), rows, strategy, **more))


def test_the_page_of_written_texts(tmp_path: Path, looked_at: Callable[[Path | str], None]) -> None:
    model = write_tiny_writer("gpt2", tmp_path / "model")
    data = {"max_new_tokens": 8, "written": 4, "max_tokens": 96}
    rows = [(f"name[{name}], food[{food}]", f"{name} serves {food}.") for name in "ABCDEF" for food in ("soup", "pie")]
    looked_at(_run(tmp_path / "run", "text-generation", model, rows, "lora", of_data=data))


def test_the_page_of_a_comparison(
    tiny: TinyModels, flat_data: Path, tmp_path: Path, looked_at: Callable[[Path | str], None]
) -> None:
    recipe = {"task": "image-classification", "model": str(tiny("resnet")), "data": {"source": str(flat_data)}}
    recipe |= {"train": {"precision": "fp32", "epochs": 1}}
    grid = {"strategies": ["linear-probe", "fine-tune:1", "lora:2"], "seeds": [0, 1], "shots": [2, 4]}
    study = ht.compare(recipe, **grid, out=tmp_path / "study", progress=SILENT)  # type: ignore[arg-type]
    looked_at(study.report)
    alone = ht.compare(recipe, strategies=["linear-probe"], seeds=[0], out=tmp_path / "alone", progress=SILENT)
    looked_at(alone.report)


def test_pages_of_explanations_and_audits(
    finished: Finished, tiny: TinyModels, text_data: Path, tmp_path: Path, looked_at: Callable[[Path | str], None]
) -> None:
    ht.explain(finished("resnet").folder, picture("red", 3)).save(tmp_path / "photo.html")
    looked_at(tmp_path / "photo.html")
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "data": {"source": str(text_data)}}
    folder = ht.run(recipe | {"train": {"precision": "fp32"}}, out=tmp_path / "texts", progress=SILENT).folder
    ht.explain(folder, "the film was great").save(tmp_path / "text.html")
    looked_at(tmp_path / "text.html")
    data = write_classes(tmp_path / "data", {"red": 12, "blue": 12})
    (data / "red" / "copy.png").write_bytes(next((data / "blue").glob("*.png")).read_bytes())
    images = {"task": "image-classification", "model": str(tiny("resnet")), "data": {"source": str(data)}}
    for name, of in (("images", images), ("of-texts", recipe)):
        ht.audit(of, progress=SILENT).save(tmp_path / name)
        looked_at(tmp_path / name / "audit.html")


def test_sheets_of_searches_and_suggestions_and_a_gallery(
    finished: Finished, tiny: TinyModels, tmp_path: Path, looked_at: Callable[[Path | str], None]
) -> None:
    photos = write_classes(tmp_path / "photos", {"red": 4, "green": 4, "blue": 4})
    found = ht.search("film", photos, model=tiny("clip-dual"), count=6, progress=SILENT)
    found.save(tmp_path, "search")
    looked_at(tmp_path / "search.html")
    chosen = ht.suggest(finished("resnet").folder, photos, count=4, progress=SILENT)
    chosen.save(tmp_path, "suggest")
    looked_at(tmp_path / "suggest.html")
    gallery: Any = load_model(finished("resnet").folder)(sorted(photos.rglob("*.png")))
    page = "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>told</title>"
    (tmp_path / "gallery.html").write_text(f"{page}<main><h1>told</h1>{gallery._repr_html_()}</main>")
    looked_at(tmp_path / "gallery.html")


def test_the_page_that_serves_a_model(finished: Finished, looked_at: Callable[[Path | str], None]) -> None:
    with running(load_model(finished("resnet").folder)) as port:
        looked_at(f"http://127.0.0.1:{port}/")


def test_cells_choose_examples_tables_sort_and_pictures_open(finished: Finished) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    with browser() as driver:
        driver.get(finished("resnet").report.resolve().as_uri())

        def seen(selector: str) -> list[Any]:
            return [one for one in driver.find_elements(By.CSS_SELECTOR, selector) if one.is_displayed()]

        everything = len(seen("figure[data-cell]"))
        cell = driver.find_element(By.CSS_SELECTOR, ".matrix td[data-cell] button")
        key = cell.find_element(By.XPATH, "..").get_attribute("data-cell")
        cell.send_keys(Keys.ENTER)
        shown = seen("figure[data-cell]")
        assert 0 < len(shown) < everything
        assert {one.get_attribute("data-cell") for one in shown} == {key}
        assert f"{len(shown)} of {cell.text} shown" in driver.find_element(By.ID, "filter").text
        driver.find_element(By.CSS_SELECTOR, "#filter button").click()
        assert len(seen("figure[data-cell]")) == everything

        head = driver.find_element(By.CSS_SELECTOR, "table.sortable thead th:nth-child(2)")
        head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
        assert head.get_attribute("aria-sort") == "descending"
        cells = driver.find_elements(By.CSS_SELECTOR, "table.sortable:first-of-type tbody td:nth-child(2)")
        column = [float(one.text) for one in cells[:5]]
        assert column == sorted(column, reverse=True)

        pictures = driver.find_elements(By.CSS_SELECTOR, ".zoom")
        pictures[0].send_keys(Keys.ENTER)
        dialog = driver.find_element(By.TAG_NAME, "dialog")
        first = dialog.text
        assert dialog.is_displayed()
        assert "test" in first
        driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        assert dialog.text != first
        driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert not dialog.is_displayed()
