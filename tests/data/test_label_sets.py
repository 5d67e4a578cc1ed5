"""Several labels a row: as they are written, as they are told, held out and encoded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest

from hftransfer.base.errors import DataError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.data.label_sets import LABEL_SETS
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row, TextContent
from hftransfer.data.settings import DataSettings, settings_from_words, settings_of
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import build_splits
from hftransfer.data.texts import TEXTS
from tests.builders import faults_of

TEXT = ["one", "two", "three", "four"]


def _targets(found: Found, split: str = "all") -> list[Any]:
    return [row.target for row in found[split]]


def _from_csv(folder: Path, header: str, *lines: str, **settings: Any) -> Found:
    (folder / "rows.csv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return find_rows(settings_of(str(folder / "rows.csv"), settings), Progress(None), TEXTS)


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        ([["a"], ["b", "a"], [], ["c"]], "lists"),
        (["a|b", "b", "", "c|a"], "joined by '|'"),
        (["a;b", "b", "a", "c"], "joined by ';'"),
        (["['a', 'b']", "['b']", "[]", "['c']"], "lists, written as text"),
        ([("a", "b"), ("b",), (), ("c",)], "lists"),
        ([np.array(["a", "b"]), np.array(["b"]), np.array([]), np.array(["c"])], "lists"),
    ],
)
def test_cells_with_several_labels_are_found_and_told(cells: list[Any], form: str) -> None:
    rows = [{"text": text, "labels": cell} for text, cell in zip(TEXT, cells, strict=True)]
    found = rows_from_python(rows, DataSettings(source="memory"), TEXTS)
    targets = _targets(found)
    assert targets[0] in (("a", "b"), ("a",))
    assert all(isinstance(target, tuple) for target in targets)
    assert any(f"several labels per row ({form})" in note for note in found.notes)


def test_one_label_a_row_stays_one_label() -> None:
    rows = [{"text": "x", "labels": ["a"]}, {"text": "y", "labels": ["b"]}]
    assert _targets(rows_from_python(rows, DataSettings(source="memory"), TEXTS)) == ["a", "b"]
    names = [{"text": "x", "label": "Rock|Roll"}, {"text": "y", "label": "R&B|Soul"}]
    assert _targets(rows_from_python(names, DataSettings(source="memory"), TEXTS)) == ["Rock|Roll", "R&B|Soul"]


def test_what_one_split_shows_holds_for_all() -> None:
    data = {
        "train": [("x", ["a", "b"]), ("y", ["b"])],
        "validation": [("z", ["a"]), ("v", ["b"])],
        "test": [("w", []), ("u", ["b"])],
    }
    found = rows_from_python(data, DataSettings(source="memory"), TEXTS)
    assert _targets(found, "validation") == [("a",), ("b",)]
    assert _targets(found, "test") == [(), ("b",)]


def test_the_settings_say_it_where_cells_do_not() -> None:
    rows = [("x", "a|b"), ("y", "c")]
    assert _targets(rows_from_python(rows, DataSettings(source="memory", labels="multi"), TEXTS)) == [
        ("a", "b"),
        ("c",),
    ]
    joint = [("x", "a|b"), ("y", "b")]
    assert _targets(rows_from_python(joint, DataSettings(source="memory", labels="one"), TEXTS)) == ["a|b", "b"]
    with pytest.raises(DataError) as told:
        rows_from_python([("x", ["a", "b"])], DataSettings(source="memory", labels="one"), TEXTS)
    assert "data.labels: multi learns each of them separately" in faults_of(told)


def test_columns_of_0_and_1(tmp_path: Path) -> None:
    lines = ("one,1,0,0", "two,0,1,1", "three,0,0,0")
    found = _from_csv(tmp_path, "text,toxic,rude,a threat", *lines, label_columns=["toxic", "rude", "a threat"])
    assert _targets(found) == [("toxic",), ("rude", "a threat"), ()]


def test_columns_of_a_frame_and_of_a_data_set() -> None:
    columns = {"text": ["x", "y"], "rude": [True, False], "toxic": [1.0, 1.0]}
    settings = DataSettings(source="memory", label_columns=["rude", "toxic"])
    for data in (pandas.DataFrame(columns), datasets.Dataset.from_dict(columns)):
        assert _targets(rows_from_python(data, settings, TEXTS)) == [("rude", "toxic"), ("toxic",)]


def test_lists_of_class_ids_are_names() -> None:
    labels = datasets.List(datasets.ClassLabel(names=["no", "yes"]))
    feature = datasets.Features({"text": datasets.Value("string"), "labels": labels})
    data = datasets.Dataset.from_dict({"text": ["x", "y"], "labels": [[0, 1], []]}, features=feature)
    assert _targets(rows_from_python(data, DataSettings(source="memory"), TEXTS)) == [("no", "yes"), ()]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("one,1,2",), ("rows.csv:2: column 'rude' must be 0 or 1, or yes or no; got '2'",)),
        (("one,,1",), ("column 'toxic' must be 0 or 1, or yes or no; got nothing",)),
    ],
)
def test_other_cells_are_told_by_their_place(tmp_path: Path, lines: tuple[str, ...], told: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        _from_csv(tmp_path, "text,toxic,rude", *lines, label_columns=["toxic", "rude"])
    assert all(words in faults_of(caught) for words in told)


def test_rows_that_nobody_labelled_whole_are_left_out(tmp_path: Path) -> None:
    lines = [f"text {number},1,{number % 2}" for number in range(60)]
    wanted = {"label_columns": ["toxic", "rude"], "on_error": "skip"}
    found = _from_csv(tmp_path, "text,toxic,rude", *lines, "last,,1", **wanted)
    assert len(_targets(found)) == 60
    assert [one.reason for one in found.left_out] == [
        "rows.csv:62: column 'toxic' must be 0 or 1, or yes or no; got nothing."
    ]
    with pytest.raises(DataError, match="column 'rude' must be 0 or 1, or yes or no; got 'maybe'"):
        _from_csv(tmp_path, "text,toxic,rude", *lines, "last,1,maybe", **wanted)


def test_why_all_rows_are_left_out_is_told(tmp_path: Path) -> None:
    found = _from_csv(tmp_path, "text,toxic,rude", "a,,1", "b,,0", label_columns=["toxic", "rude"], on_error="skip")
    with pytest.raises(DataError) as told:
        build_splits(found, DataSettings(source="memory", on_error="skip"), 0, Progress(None), TEXTS, LABEL_SETS)
    assert "what data.on_error: skip leaves out must be at most 5% of all rows; got 2 of 2" in faults_of(told)
    assert "rows.csv:2: column 'toxic' must be 0 or 1" in faults_of(told)


def test_a_column_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.label_columns must be columns of .*; got 'toxi'.*toxic"):
        _from_csv(tmp_path, "text,toxic,rude", "one,1,0", label_columns=["toxi", "rude"])


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([["a", 1], ["b", "a"]], "of one type: str, as in the rows before; got 1 (int)"),
        ([["a", ""], ["b", "a"]], "names of labels; got nothing (an empty name, null or NaN)"),
        ([["a", None], ["b", "a"]], "names of labels; got nothing (an empty name, null or NaN)"),
        ([["a", 0.5], ["b", "a"]], "a name or a whole number; got 0.5 (float)"),
    ],
)
def test_what_is_no_name_among_labels_is_told(cells: list[Any], told: str) -> None:
    rows = [{"text": "x", "labels": cell} for cell in cells]
    with pytest.raises(DataError) as caught:
        rows_from_python(rows, DataSettings(source="memory"), TEXTS)
    assert "row[0]: column 'labels'" in faults_of(caught)
    assert told in faults_of(caught)


# --- as targets ------------------------------------------------------------------------------------------------------


def _rows(sets: Sequence[tuple[str, ...]]) -> list[Row]:
    return [Row(f"row[{i}]", TextContent(f"text {i}"), own) for i, own in enumerate(sets)]


def test_labels_are_held_out_in_their_shares() -> None:
    random = np.random.default_rng(0)
    names = ("often", "seldom", "rare")
    sets = [tuple(n for n, p in zip(names, (0.6, 0.15, 0.03), strict=True) if random.random() < p) for _ in range(400)]
    kept, held = LABEL_SETS.hold_out(_rows(sets), 0.2, 0, "test")
    assert len(held) == 80
    assert len(kept) == 320
    for name in names:
        whole, part = sum(name in own for own in sets), sum(name in row.target for row in held)
        assert part / whole == pytest.approx(0.2, abs=0.06)
    assert LABEL_SETS.hold_out(_rows(sets), 0.2, 0, "test")[1] == held
    assert LABEL_SETS.hold_out(_rows(sets), 0.2, 1, "test")[1] != held


def test_a_label_on_one_row_stays_to_be_learned() -> None:
    sets = [("a",), ("b",)] * 10 + [("once",)]
    for seed in range(5):
        kept, _ = LABEL_SETS.hold_out(_rows(sets), 0.3, seed, "test")
        assert ("once",) in [row.target for row in kept]


def test_labels_are_encoded_and_told() -> None:
    rows = _rows([("b", "a"), (), ("c",), ("a",)])
    names = LABEL_SETS.class_names(rows)
    assert names == ("a", "b", "c")
    assert LABEL_SETS.encode(rows, names).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert LABEL_SETS.counts(LABEL_SETS.encode(rows, names), names) == [2, 1, 1]
    notes = LABEL_SETS.notes(rows)
    assert notes[0] == "labels a row: 1.00 on average, 2 at most; 1 row without any"
    assert notes[1] == "most often together: a + b 1"
    assert [LABEL_SETS.in_words(row.target) for row in rows] == ["b, a", "(no label)", "c", "a"]


def test_one_label_alone_and_labels_never_trained_on_are_told() -> None:
    def splits(train: list[Any], test: list[Any]) -> Any:
        found = rows_from_python({"train": train, "test": test, "validation": test}, settings, TEXTS)
        return build_splits(found, settings, 0, Progress(None), TEXTS, LABEL_SETS)

    settings = DataSettings(source="memory", labels="multi")
    with pytest.raises(DataError, match="two or more; got one label, 'a', in all rows"):
        splits([("x", ["a"]), ("y", ["a"])], [("z", ["a"])])
    with pytest.raises(DataError) as caught:
        splits([("x", ["anger"]), ("y", ["joy"])], [("z", ["angr"])])
    assert "the label 'angr' of the test split (1 row)" in faults_of(caught)
    assert "anger" in faults_of(caught)


def test_a_label_on_every_row_is_a_warning() -> None:
    notes = LABEL_SETS.notes(_rows([("a", "b"), ("a",)]))
    assert any("warning: 'a': on every row" in note for note in notes)


def test_tables_keep_lists(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "labels": ["x", "y"][: i % 3]}) for i, text in enumerate(TEXT)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = find_rows(DataSettings(source=str(tmp_path)), Progress(None), TEXTS)
    assert _targets(found, "train") == [(), ("x",), ("x", "y"), ()]


def test_names_that_commas_join_are_a_warning() -> None:
    notes = LABEL_SETS.notes(_rows([("billing, login",), ("login",), ("urgent",)]))
    assert any("'billing, login' is one label here: separate several by | or ;" in note for note in notes)
    assert not any("is one label" in note for note in LABEL_SETS.notes(_rows([("Ghent, Belgium",), ("Oslo",)])))


def test_settings_may_be_maps() -> None:
    found = settings_from_words("x", ['classes={"#808080": sky, 255: null}'])
    assert found.classes == {"#808080": "sky", "255": None}
    with pytest.raises(RecipeError, match=r"data\.classes must be a map, as in \{0: road, 255: null\}"):
        settings_from_words("x", ["classes={a: [b"])


def test_columns_are_listed_on_the_command_line() -> None:
    found = settings_from_words("x.csv", ["label_columns=[toxic, rude]"])
    assert found.label_columns == ["toxic", "rude"]


def test_a_cell_without_a_list_is_counted() -> None:
    rows = [{"text": "x", "labels": cell} for cell in (["a", "b"], None, ["a"], [])]
    notes = rows_from_python(rows, DataSettings(source="memory"), TEXTS).notes
    assert any("holds nothing, and no list, in 1 row: read as rows without any label" in note for note in notes)
