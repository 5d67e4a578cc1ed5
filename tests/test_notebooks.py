"""Results in notebooks: what they show of themselves, how far work is, and the notebook of the documentation."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import hftransfer as ht
from hftransfer.attribution.explanation import ImageExplanation
from hftransfer.auditing.audit import Audit
from hftransfer.auditing.findings import Finding
from hftransfer.base import notebooks
from hftransfer.base.errors import OutputError
from hftransfer.base.notebooks import Displayed
from hftransfer.base.progress import Progress
from tests.builders import TinyModels, browser, load_dual_model, load_model, picture, recipe_for

SILENT = Progress(None)
NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
EVIL = "<script>alert(1)</script>\u202e & \"'"


class Tags(HTMLParser):
    """The tags of a page, its addresses and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(result: Any) -> Tags:
    """What a notebook shows of a result; it asks for nothing from elsewhere and runs nothing."""
    page = Tags(result._repr_html_())
    assert "script" not in page.tags
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "url(" not in result._repr_html_()
    return page


def test_a_run_shows_its_score_and_a_picture(finished: Any, tmp_path: Path) -> None:
    result = ht.Result(tmp_path / "run", finished("vit").metrics)
    shutil.copytree(finished("vit").folder, result.folder)
    (result.folder / "figures").mkdir(exist_ok=True)
    picture("red").save(result.folder / "figures" / "confusion_matrix.png")
    assert re.fullmatch(r"Result\(accuracy \d\.\d{4} \(.+ to .+\), '.+'\)", repr(result))
    page = shown(result)
    assert {"table", "img"} <= set(page.tags)
    assert f"accuracy {result.metrics['test']['accuracy']:.4f}" in page.text
    assert (result._repr_png_() or b"").startswith(b"\x89PNG")
    assert (result.report.name, result.figures[0].stem) == ("report.html", "confusion_matrix")
    assert result.model is result.model
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert "model" not in again.__dict__


def test_a_model_is_called_and_pickled(finished: Any, folder_data: Path) -> None:
    model = load_model(finished("vit").folder)
    photo = next((folder_data / "test").rglob("*.png"))
    one = model(photo)
    assert isinstance(one, ht.Prediction)
    assert model([photo]) == [one]
    assert len(model(list(np.zeros((3, 8, 8, 3), np.uint8)))) == 3
    assert len(model(cast(Any, np.zeros((3, 8, 8, 3), np.uint8)))) == 3
    again = pickle.loads(pickle.dumps(model))
    assert again(photo) == one
    assert again.metrics == model.metrics
    assert repr(again) == repr(model)
    assert repr(model).startswith("Predictor(image-classification: blue, green, red; accuracy ")
    assert "accuracy" in shown(model).text


@pytest.mark.parametrize("strategy", ["linear-probe", "lora"])
def test_models_of_texts_are_pickled_and_saved_anywhere(strategy: str, tiny: TinyModels, tmp_path: Path) -> None:
    rows = [("a good film", "pos"), ("a bad film", "neg")] * 6
    more: dict[str, Any] = {"epochs": 1} if strategy == "lora" else {}
    base = str(tiny("bert"))
    model = ht.fit("text-classification", model=base, train=rows, strategy=strategy, progress=SILENT, **more)
    again = pickle.loads(pickle.dumps(model))
    assert again("a good film").scores == pytest.approx(model("a good film").scores, abs=1e-6)
    elsewhere = pickle.loads(pickle.dumps(load_model(again.save(tmp_path / "further" / "down"))))
    assert elsewhere("a good film").scores == pytest.approx(model("a good film").scores, abs=1e-6)


def test_predictions_stand_beside_their_inputs(finished: Any, folder_data: Path, tiny: TinyModels) -> None:
    model = load_model(finished("vit").folder)
    photos = sorted((folder_data / "test").rglob("*.png"))[:3]
    found = model.predict(photos)
    assert shown(found).tags.count("img") == 3
    assert found[0].label in shown(found).text
    assert type(pickle.loads(pickle.dumps(found))) is list
    assert "table" in shown(found[0]).tags
    rows = [("a good film", EVIL), ("a bad film", "neg")] * 6
    texts = ht.fit("text-classification", model=str(tiny("bert")), train=rows, progress=SILENT)
    assert EVIL.replace("\u202e", "\\u202e") in shown(texts(["a good film", EVIL])).text
    assert shown(texts(rows[0][0])).tags.count("tr") == 3


def test_rows_of_splits_are_inputs(finished: Any, tiny: TinyModels, folder_data: Path) -> None:
    splits = ht.check(recipe_for(tiny("vit"), folder_data), progress=SILENT)
    model = load_model(finished("vit").folder)
    assert len(model(splits.test.rows[:2])) == 2
    assert isinstance(model(splits.test.rows[0]), ht.Prediction)
    page = shown(splits)
    assert "36 train" in repr(splits)
    assert {"table", "img"} <= set(page.tags)


def test_a_dual_encoder_is_called_and_pickled(tiny: TinyModels) -> None:
    model = load_dual_model(tiny("clip-dual"))
    one = model(picture("red"), ["film", "story"])
    assert isinstance(one, ht.Prediction)
    assert pickle.loads(pickle.dumps(model))([picture("red")], ["film", "story"]) == [one]
    assert "DualPredictor" in shown(model).text


def test_explanations_show_and_save_themselves(finished: Any, tmp_path: Path) -> None:
    model = load_model(finished("vit").folder)
    one = ht.explain(model, picture("red"))
    assert isinstance(one, ImageExplanation)
    assert repr(one).startswith(f"ImageExplanation({one.label} {one.score:.4f}")
    assert len(repr(one)) < 200
    assert "img" in shown(one).tags
    assert one.save(tmp_path / "why.png").read_bytes() == one._repr_png_()
    assert "<script>alert" not in one.save(tmp_path / "why.html", EVIL).read_text()
    assert json.loads(one.save(tmp_path / "why.json").read_text())["label"] == one.label
    with pytest.raises(OutputError, match=r"one that ends in \.html or \.json or \.png; got 'why.txt'"):
        one.save(tmp_path / "why.txt")
    several = ht.explain(model, [picture("red"), picture("blue")])
    assert shown(several).tags.count("img") == 2
    assert pickle.loads(pickle.dumps(several))[1].title == several[1].title


def test_texts_are_explained_in_colour(tiny: TinyModels) -> None:
    rows = [("a good film", EVIL), ("a bad film", "neg")] * 6
    model = ht.fit("text-classification", model=str(tiny("bert")), train=rows, progress=SILENT)
    page = shown(ht.explain(model, "a good <b>film</b>"))
    assert "b" not in page.tags
    assert "span" in page.tags


def test_an_audit_shows_and_saves_itself(tmp_path: Path) -> None:
    findings = tuple(Finding("oddity", "train", f"{EVIL}{number}", EVIL, "odd") for number in range(20))
    audit = Audit(40, findings, ("a note",))
    assert repr(audit) == "Audit(40 rows: 20 odd in themselves)"
    page = shown(audit)
    assert "8 more" in page.text
    assert (audit.save(tmp_path / "audit") / "audit.csv").is_file()
    with pytest.raises(OutputError, match="new or empty"):
        audit.save(tmp_path / "audit")
    assert pickle.loads(pickle.dumps(audit)) == audit


def test_a_comparison_shows_itself(tiny: TinyModels, folder_data: Path, tmp_path: Path) -> None:
    study = ht.compare(
        recipe_for(tiny("resnet"), folder_data, epochs=1),
        strategies=["linear-probe", "fine-tune:1"],
        seeds=[0],
        out=tmp_path / "study",
        progress=SILENT,
    )
    assert repr(study).startswith("Study(accuracy: ")
    assert len(repr(study)) < 300
    page = shown(study)
    assert {"table", "img"} <= set(page.tags)
    assert study.advice[:40] in page.text
    assert study.report.is_file()
    assert pickle.loads(pickle.dumps(study)).table == study.table


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[Displayed]:
    """What a notebook's cell shows, at last the newest."""
    drawn: list[Displayed] = []

    def display(shown: Displayed, *, display_id: bool) -> Any:
        assert display_id
        drawn.append(shown)
        return SimpleNamespace(update=drawn.append)

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("hftransfer.base.progress.in_notebook", lambda: True)
    return drawn


def test_progress_is_one_output_of_a_cell_and_none_of_standard_error(
    kernel: list[Displayed], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    progress = Progress(sys.stderr)
    progress.line(f"it begins {EVIL}")
    with progress.stage("activations", 3) as advance:
        advance(1)
        assert "activations: 0/3" in repr(kernel[-1])
        assert "progress" in Tags(kernel[-1]._repr_html_()).tags
    progress.parts("an example: ", [("one", True), (" two", False)])
    aside = progress.aside()
    aside.line("not told")
    with aside.stage("epoch 1 of 1", 2) as advance:
        advance(2)
    told = repr(kernel[-1])
    assert "it begins" in told
    assert "an example: [one] two" in told
    assert "epoch 1 of 1: 2 in " in told
    assert "not told" not in told
    assert "script" not in Tags(kernel[-1]._repr_html_()).tags
    assert capsys.readouterr() == ("", "")


def test_there_is_no_notebook_without_a_kernel() -> None:
    assert not notebooks.in_notebook()


def test_pages_of_fragments_are_read_on_a_phone_light_and_dark(finished: Any, tmp_path: Path) -> None:
    """In a page of either colour, at 390 pixels, text is as dark or light as the page's own, and nothing is wider."""
    result = ht.Result(finished("vit").folder, finished("vit").metrics)
    for name, colors in {"light": ("#fff", "#111"), "dark": ("#111", "#eee")}.items():
        page = tmp_path / f"{name}.html"
        body = f'<body style="background:{colors[0]};color:{colors[1]};margin:8px">{result._repr_html_()}</body>'
        page.write_text(f'<meta name="viewport" content="width=device-width">{body}', encoding="utf-8")
    pytest.importorskip("selenium.webdriver")
    with browser() as driver:
        for name, wanted in {"light": "rgb(17, 17, 17)", "dark": "rgb(238, 238, 238)"}.items():
            driver.set_window_size(500, 900)
            driver.get((tmp_path / f"{name}.html").as_uri())
            cell = "getComputedStyle(document.querySelector('.hftransfer td')).color"
            assert driver.execute_script(f"return {cell}") == wanted
            assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def outputs_of(cell: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in cell["outputs"] if one["output_type"] == kind]


def require_shown(notebook: dict[str, Any]) -> None:
    """Each cell of code shows a picture or a table, and nothing goes to standard error."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 6
    for cell in cells:
        assert not outputs_of(cell, "error")
        assert not outputs_of(cell, "stream")
        (result,) = outputs_of(cell, "execute_result")
        assert {"img", "table"} & set(Tags("".join(result["data"]["text/html"])).tags)


def test_the_notebook_keeps_small_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    require_shown(notebook)
    assert NOTEBOOK.stat().st_size < 300_000


@pytest.mark.slow
@pytest.mark.bundled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    root = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, 4)
    client = NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    require_shown(notebook)
