"""What labelling tools and spreadsheets write, read as it is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.pictures import IMAGES
from hftransfer.data.reading import Reader
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.texts import TEXTS
from tests.builders import picture


def read(path: Path, content: Any, reader: Reader = TEXTS) -> Found:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return find_rows(DataSettings(source=str(path)), Progress(None), reader)


def texts(found: Found) -> list[tuple[str, Any]]:
    return [(row.content.text, row.target) for row in found["all"]]  # type: ignore[attr-defined]


def task(text: str, *choices: list[str], **more: Any) -> dict[str, Any]:
    """A task of Label Studio, labelled once with each of these choices."""
    results = [[{"type": "choices", "from_name": "topic", "value": {"choices": own}}] for own in choices]
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": result, **more} for result in results]}


def test_choices_of_label_studio_are_labels(tmp_path: Path) -> None:
    export = [
        task("a film", ["good"]),
        task("another", ["bad"]),
        task("skipped", ["bad"], was_cancelled=True),
        task("new"),
    ]
    found = read(tmp_path / "project-1.json", export)
    assert texts(found) == [("a film", "good"), ("another", "bad")]
    assert found.notes[0].endswith(
        "a Label Studio export; its choices are the labels; 2 tasks without a choice left out"
    )


def test_several_choices_of_one_task_are_several_labels(tmp_path: Path) -> None:
    found = read(tmp_path / "p.json", [task("a film", ["good", "long"]), task("b", ["bad"])])
    assert texts(found) == [("a film", ("good", "long")), ("b", ("bad",))]


def test_people_who_do_not_agree_are_told(tmp_path: Path) -> None:
    alike = [task("a film", ["good"], ["good"]), task("b", ["bad"])]
    assert texts(read(tmp_path / "p.json", alike)) == [("a film", "good"), ("b", "bad")]
    with pytest.raises(
        DataError, match=r"p.json:1: the choices must be the same from all annotators; got 'good', 'bad'"
    ):
        read(tmp_path / "p.json", [task("a film", ["good"], ["bad"]), task("b", ["bad"])])


def test_an_export_of_regions_is_for_another_task(tmp_path: Path) -> None:
    boxes = {"data": {"image": "a.png"}, "annotations": [{"result": [{"value": {"rectanglelabels": ["cat"]}}]}]}
    with pytest.raises(DataError, match="a Label Studio export with choices"):
        read(tmp_path / "p.json", [boxes], IMAGES)
    coco = {
        "images": [{"file_name": "a.png"}],
        "annotations": [{"bbox": [0, 0, 1, 1]}],
        "categories": [{"name": "cat"}],
    }
    with pytest.raises(DataError, match="boxes or masks in COCO's form"):
        read(tmp_path / "coco.json", coco, IMAGES)


@pytest.mark.parametrize("form", ["accept", "label"])
def test_what_prodigy_accepted_is_the_label(tmp_path: Path, form: str) -> None:
    def example(text: str, label: str, answer: str) -> dict[str, Any]:
        return {"text": text, form: [label] if form == "accept" else label, "answer": answer, "_input_hash": 1}

    rows = [
        example("a", "x", "accept"),
        example("b", "y", "reject"),
        example("c", "y", "accept"),
        example("d", "x", "ignore"),
    ]
    found = read(tmp_path / "p.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert texts(found) == [("a", "x"), ("c", "y")]
    assert "rejected or ignored and left out: 2 examples" in found.notes[0]
    assert [row.id for row in found["all"]] == ["p.jsonl:1", "p.jsonl:3"]


def test_a_label_in_a_list_of_one_is_a_label(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "a", "label": ["x"]}, {"id": 2, "text": "b", "label": ["y"]}]  # doccano
    assert texts(read(tmp_path / "d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))) == [
        ("a", "x"),
        ("b", "y"),
    ]
    rows[1]["label"] = ["x", "y"]
    several = read(tmp_path / "d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert texts(several) == [("a", ("x",)), ("b", ("x", "y"))]
    rows[1]["label"] = []
    with pytest.raises(DataError, match=r"d.jsonl:2: column 'label' must be a label; got nothing.*labels=multi"):
        read(tmp_path / "d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_lists_of_class_ids_are_lists_of_names() -> None:
    names = datasets.List(datasets.ClassLabel(names=["joy", "anger"]))
    features = datasets.Features({"text": datasets.Value("string"), "labels": names})
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "labels": [[1], [0]]}, features=features)
    found = rows_from_python(rows, DataSettings(source="memory"), TEXTS)
    assert texts(found) == [("a", "anger"), ("b", "joy")]


def test_a_column_for_each_class_is_read_as_roboflow_writes_it(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        for n in range(2):
            picture(seed=n).save(tmp_path / split / f"{n}.png")
        (tmp_path / split / "_classes.csv").write_text("filename, cat, dog\n0.png, 1, 0\n1.png, 0, 1\n")
    (tmp_path / "README.roboflow.txt").write_text("exported")
    found = find_rows(DataSettings(source=str(tmp_path)), Progress(None))
    assert {name: [row.target for row in rows] for name, rows in found.items()} == {
        key: ["cat", "dog"] for key in found
    }
    assert set(found) == {"train", "validation", "test"}
    (tmp_path / "test" / "_classes.csv").write_text("filename, cat, dog\n0.png, 1, 1\n1.png, 0, maybe\n")
    with pytest.raises(DataError, match=r"_classes.csv:3: column 'dog' must be 0 or 1; got 'maybe'"):
        find_rows(DataSettings(source=str(tmp_path)), Progress(None))


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n'])
def test_the_line_that_tells_spreadsheets_of_the_separator_is_no_header(tmp_path: Path, first: str) -> None:
    found = read(tmp_path / "t.csv", f"{first}text; label\na, b;x\nc;y\n;\n;\n")
    assert texts(found) == [("a, b", "x"), ("c", "y")]
    assert [row.id for row in found["all"]] == ["t.csv:3", "t.csv:4"]


@pytest.mark.parametrize(
    ("name", "remedy"), [("t.xlsx", "Save the sheet as CSV"), ("train.csv.zip", "Unpack it first")]
)
def test_sheets_and_archives_are_told_what_to_do(tmp_path: Path, name: str, remedy: str) -> None:
    with pytest.raises(DataError, match=remedy):
        read(tmp_path / name, "PK")


def test_columns_with_usual_names_that_are_passed_over_are_told(tmp_path: Path) -> None:
    found = read(tmp_path / "t.csv", "title,text,category,label\nA,a film,drama,good\nB,another,comedy,bad\n")
    assert found.notes == [
        "texts are those in the column 'text', not 'title'",
        "labels are those in the column 'label', not 'category'",
    ]
    named = DataSettings(source=str(tmp_path / "t.csv"), text_column="title", label_column="category")
    assert find_rows(named, Progress(None), TEXTS).notes == []


def test_answers_that_are_not_prodigys_are_columns_like_others(tmp_path: Path) -> None:
    rows = [{"text": f"paper {n}", "label": "xy"[n % 2], "answer": ["accept", "reject"][n % 3 == 0]} for n in range(6)]
    assert len(read(tmp_path / "r.jsonl", "".join(json.dumps(row) + "\n" for row in rows))["all"]) == 6


def test_one_label_accepted_or_rejected_is_told(tmp_path: Path) -> None:
    rows = [{"text": f"t {n}", "label": "x", "answer": ["accept", "reject"][n % 2], "_task_hash": n} for n in range(6)]
    with pytest.raises(DataError, match=r"two labels or more; got one, x, accepted or rejected"):
        read(tmp_path / "p.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
