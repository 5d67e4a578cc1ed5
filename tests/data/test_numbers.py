"""Numbers as targets: as they are written in cells, held out, and told of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.data.numbers import NUMBERED_TEXTS, Numbers, number_of
from hftransfer.data.rows import Row, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from tests.builders import TinyModels, faults_of, missing_words, picture

SILENT = Progress(None)


@pytest.mark.parametrize(
    ("cell", "number"),
    [(3, 3.0), (3.8, 3.8), ("3.8", 3.8), (" -1e-3 ", -0.001), (".5", 0.5), (np.float32(3.8), 3.8), (np.int64(7), 7.0)],
)
def test_cells_with_numbers(cell: Any, number: float) -> None:
    assert number_of(cell, "here") == number


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("3,8", ("a number with a decimal point; got '3,8'", "Write 3.8")),
        ("good", ("a number; got 'good'", "use a classification task")),
        ("nan", ("a finite number; got 'nan'", "on_error: skip")),
        ("-Infinity", ("a finite number",)),
        (float("nan"), ("a finite number; got nan",)),
        (float("inf"), ("a finite number; got inf",)),
        (10**400, ("a finite number",)),
        (-1e300, ("between -1e+15 and 1e+15; got -1e+300", "on_error: skip")),
        (None, ("a number; got nothing", "on_error: skip")),
        ("", ("a number; got nothing",)),
        (True, ("a number; got True (bool)",)),
        ([1, 2], ("a number; got [1, 2] (list)",)),
        ("1_000", ("a number; got '1_000'",)),
        ("12 %", ("a number; got '12 %'",)),
    ],
)
def test_cells_without_numbers_are_told(cell: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as told:
        number_of(cell, "t.csv:7: column 'score'")
    assert missing_words(faults_of(told), ("t.csv:7: column 'score' must be ", *words)) == []


def _rows(numbers: list[Any]) -> list[dict[str, Any]]:
    return [{"text": f"text {place}", "score": number} for place, number in enumerate(numbers)]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_all_faults_of_a_table_are_told_with_their_lines(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.jsonl", _rows([1.5, "good", 2.5, None]))
    with pytest.raises(DataError) as told:
        find_rows(DataSettings(source=str(table)), SILENT, NUMBERED_TEXTS)
    assert missing_words(faults_of(told), ("t.jsonl:2: column 'score'", "t.jsonl:4: column 'score'", "'good'")) == []


def test_rows_without_a_number_can_be_left_out(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.jsonl", _rows([*np.linspace(0, 5, 60).tolist(), None, float("nan")]))
    found = find_rows(DataSettings(source=str(table), on_error="skip"), SILENT, NUMBERED_TEXTS)
    assert len(found["all"]) == 60
    assert [one.id for one in found.left_out] == ["t.jsonl:61", "t.jsonl:62"]
    assert found.target_column == "score"


def test_equal_numbers_are_nothing_to_learn(tiny: TinyModels) -> None:
    recipe = {"task": "text-regression", "model": str(tiny("bert")), "data": "memory"}
    with pytest.raises(DataError, match=r"the numbers of the training data must be different .*got 2 in all"):
        ht.check(recipe, data=_rows([2.0] * 30), progress=SILENT)


@pytest.mark.parametrize("seed", range(3))
def test_each_part_of_a_hold_out_has_numbers_of_all_sizes(seed: int) -> None:
    numbers = np.random.default_rng(seed).exponential(10, 100).tolist()
    rows = [Row(str(i), TextContent(str(i)), number) for i, number in enumerate(numbers)]
    kept, held = Numbers().hold_out(rows, 0.2, seed, "test")
    assert (len(kept), len(held)) == (80, 20)
    ordered = sorted(numbers)
    for place, row in enumerate(sorted(held, key=lambda one: one.target)):
        assert ordered[5 * place] <= row.target <= ordered[5 * place + 4]
    assert held == Numbers().hold_out(rows, 0.2, seed, "test")[1]
    assert held != Numbers().hold_out(rows, 0.2, seed + 1, "test")[1]
    with pytest.raises(DataError, match=r"data.test_fraction must be such that both parts of 1 row have some"):
        Numbers().hold_out(rows[:1], 0.1, 0, "test")
    assert [len(part) for part in Numbers().hold_out(rows[:3], 0.1, 0, "test")] == [2, 1]


def test_numbers_are_told_of_by_split(tiny: TinyModels) -> None:
    recipe = {"task": "text-regression", "model": str(tiny("bert")), "data": "memory"}
    splits = ht.check(recipe, data=_rows([*range(1, 6)] * 12), progress=SILENT)
    told = "\n".join(splits.notes)
    words = ("score, train: 1 to 5, median 3", "score, test: 1 to 5", "the numbers are 1, 2, 3, 4, 5 alone")
    assert missing_words(told, (*words, "that is task text-classification")) == []


def test_steps_of_a_scale_are_asked_about_as_classes(tiny: TinyModels) -> None:
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "data": {"source": "memory"}}
    rows = [{"text": f"text {i}", "label": i % 5 + 1} for i in range(60)]
    told = "\n".join(ht.check(recipe, data=rows, progress=SILENT).notes)
    assert missing_words(told, ("the numbers 1, 2, 3, 4, 5: here each is a class", "use task text-regression")) == []
    ids = [{"text": f"text {i}", "label": i % 4} for i in range(60)]
    assert not any("regression" in note for note in ht.check(recipe, data=ids, progress=SILENT).notes)


def test_fractions_given_to_a_classification_are_told_where_they_belong(tiny: TinyModels) -> None:
    recipe = {"task": "text-classification", "model": str(tiny("bert")), "data": {"source": "memory"}}
    rows = [{"text": f"text {i}", "label": i / 7} for i in range(20)]
    with pytest.raises(DataError, match=r"a whole number; got .*To predict numbers, use task text-regression"):
        ht.check(recipe, data=rows, progress=SILENT)


def test_a_draft_finds_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "score": i % 11 / 2} for i in range(60)]
    _write(tmp_path / "pairs.jsonl", rows)
    done = CliRunner().invoke(app, ["init", "--data", "pairs.jsonl", "--model", "some/model"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert missing_words(text, ("task: text-regression", "60 all")) == []
    _write(tmp_path / "stars.jsonl", [{"text": f"a {i}", "stars": i % 5 + 1} for i in range(60)])
    assert CliRunner().invoke(app, ["init", "--data", "stars.jsonl", "--out", "stars.yaml"]).exit_code == 0
    text = (tmp_path / "stars.yaml").read_text(encoding="utf-8")
    assert missing_words(text, ("task: text-regression", "1, 2, 3, 4, 5 alone", "task text-classification")) == []


def test_folders_named_by_numbers_hold_images_with_these(tmp_path: Path) -> None:
    from hftransfer.data.numbers import NUMBERED_IMAGES

    for age in ("3", "27"):
        (tmp_path / "ages" / age).mkdir(parents=True)
        picture("red", int(age)).save(tmp_path / "ages" / age / "a.png")
    found = find_rows(DataSettings(source=str(tmp_path / "ages")), SILENT, NUMBERED_IMAGES)
    assert sorted(row.target for row in found["all"]) == [3.0, 27.0]
    (tmp_path / "ages" / "old").mkdir()
    picture("blue", 1).save(tmp_path / "ages" / "old" / "a.png")
    with pytest.raises(DataError, match=r"a number; got 'old'"):
        find_rows(DataSettings(source=str(tmp_path / "ages")), SILENT, NUMBERED_IMAGES)


def test_rows_of_python() -> None:
    found = rows_from_python([("a", 1.5), (("a", "b"), 2)][:1], DataSettings(source="memory"), NUMBERED_TEXTS)
    assert found["all"][0].target == 1.5
    found = rows_from_python([(("a", "b"), "2.5"), ("c", "d", 3)], DataSettings(source="memory"), NUMBERED_TEXTS)
    assert [row.target for row in found["all"]] == [2.5, 3.0]


@pytest.mark.parametrize(("offset", "told"), [(0.0, False), (1e6, False), (1.7e9, True), (-1.7e9, True)])
def test_numbers_closer_than_float32_can_tell_are_refused(offset: float, told: bool) -> None:
    values = offset + 100 * np.random.default_rng(0).normal(size=50)
    rows = rows_from_python(
        [(f"a {i}", value) for i, value in enumerate(values)], DataSettings(source="m"), NUMBERED_TEXTS
    )
    if not told:
        Numbers().require(rows["all"])
        return
    with pytest.raises(DataError, match=rf"lie 128 apart. Subtract {values.min():.0f} from all of them"):
        Numbers().require(rows["all"])
