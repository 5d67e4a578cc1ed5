"""Rows of texts and of questions: as they stand, from wherever they lie, and what is wrong with them told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from hftransfer.data.rows import QuestionContent, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import Found, find_rows, rows_from_python
from hftransfer.data.splits import build_splits, labelled_split
from hftransfer.errors import DataError
from hftransfer.progress import Progress
from tests.conftest import faults_of, missing_words, question, write_classes

SILENT = Progress(None)


def _settings(source: Path | str = "memory", **given: Any) -> DataSettings:
    return DataSettings(source=str(source), **given)


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _texts(found: Found, part: str = "all") -> list[Any]:
    contents = [row.content for row in found[part]]
    assert all(isinstance(content, TextContent) for content in contents)
    return [(c.text, c.pair) if c.pair is not None else c.text for c in contents if isinstance(c, TextContent)]


def _found(path: Path, **given: Any) -> Found:
    return find_rows(_settings(path, **given), SILENT, "texts")


ODD = ["NA", "null", "None", "nan", "", "  ", "a\u0000b", "emoji 😀", "x" * 300_000]


def test_odd_texts_of_a_csv_stay_as_they_stand(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ODD, "label": ["a", "b", *["a"] * (len(ODD) - 2)]})
    frame.to_csv(tmp_path / "data.csv", index=False)
    assert _texts(_found(tmp_path / "data.csv")) == ODD


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_odd_texts_of_other_tables_stay_too(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"sentence": ODD, "label": ["a"] * len(ODD)})
    path = tmp_path / f"data.{suffix}"
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    assert _texts(_found(path)) == ODD


def test_a_lone_surrogate_is_kept_and_has_a_digest(tmp_path: Path) -> None:
    path = _written(tmp_path / "data.jsonl", '{"text": "a \\ud800 b", "label": "x"}\n')
    (row,) = _found(path)["all"]
    assert isinstance(row.content, TextContent)
    assert row.content.text == "a \ud800 b"
    assert labelled_split([row], ["x"]).digests[0]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ("sentence,label", "t1"),
        ("Review,Label", "t1"),
        ("label,text", None),
        ("sentence1,sentence2,label", ("t1", "t2")),
        ("premise,hypothesis,label", ("t1", "t2")),
        ("question,sentence,label", ("t1", "t2")),
    ],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, columns: str, wanted: Any) -> None:
    cells = ["t1", "t2", "yes"][-columns.count(",") - 1 :] if columns.count(",") == 2 else ["t1", "yes"]
    if columns == "label,text":
        cells, wanted = ["yes", "t1"], "t1"
    path = _written(tmp_path / "d.csv", f"{columns}\n{','.join(cells)}\n")
    found = _found(path)
    assert _texts(found) == [wanted]
    assert found["all"][0].label == "yes"


def test_named_columns_win(tmp_path: Path) -> None:
    path = _written(tmp_path / "d.csv", "text,body,note,stars\na,b,c,5\n")
    found = _found(path, text_column="body", text_pair_column="note", label_column="stars")
    assert _texts(found) == [("b", "c")]
    assert found["all"][0].label == "5"


@pytest.mark.parametrize(
    ("name", "text", "given", "words"),
    [
        ("d.csv", "x,y\n1,2\n", {}, ("a column such as", "data.text_column", "data.label_column")),
        ("d.csv", "text,label\na,b\n", {"text_column": "txt"}, ("data.text_column", "Did you mean 'text'?")),
        ("d.csv", "text,label\na,b\n", {"text_pair_column": "p"}, ("data.text_pair_column", "'p'")),
        ("d.jsonl", '{"text": 3, "label": "a"}\n', {}, ("d.jsonl:1: column 'text' must be a text", "3 (int)")),
        ("d.jsonl", '{"text": null, "label": "a"}\n', {}, ("d.jsonl:1", "got nothing")),
        ("d.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": 1}\n', {}, ("d.jsonl:2", "of one type")),
        ("d.csv", "text,label\n", {}, ("a table with rows",)),
    ],
)
def test_what_is_wrong_with_a_table_of_texts_is_told(
    tmp_path: Path, name: str, text: str, given: Any, words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        _found(_written(tmp_path / name, text), **given)
    assert missing_words(faults_of(error), words) == []


def test_a_folder_of_images_is_no_source_of_texts(tmp_path: Path) -> None:
    write_classes(tmp_path, {"red": 1, "blue": 1})
    with pytest.raises(DataError, match="Images are for task image-classification"):
        _found(tmp_path)


def test_drawn_pets_are_no_texts_and_reviews_no_images() -> None:
    with pytest.raises(DataError, match="which holds images"):
        find_rows(_settings("bundled/drawn-pets"), SILENT, "texts")
    with pytest.raises(DataError, match="which holds texts"):
        find_rows(_settings("bundled/short-reviews"), SILENT, "images")


def test_text_files_in_class_folders_are_read(tmp_path: Path) -> None:
    for label in ("pos", "neg"):
        (tmp_path / "train" / label).mkdir(parents=True)
        _written(tmp_path / "train" / label / "1.txt", f"a {label} text\n")
    found = _found(tmp_path)
    assert sorted(_texts(found, "train")) == ["a neg text\n", "a pos text\n"]


ROWS = [("loved it", "pos"), ("a bore", "neg")]


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        [{"text": text, "label": label} for text, label in ROWS],
        pd.DataFrame(ROWS, columns=["text", "label"]),
        datasets.Dataset.from_dict({"text": [t for t, _ in ROWS], "label": [label for _, label in ROWS]}),
        datasets.Dataset.from_dict(
            {"text": [t for t, _ in ROWS], "label": [1, 0]},
            features=datasets.Features(
                {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
            ),
        ),
    ],
    ids=["tuples", "dicts", "frame", "dataset", "class labels"],
)
def test_python_objects_give_the_same_rows(data: Any) -> None:
    found = rows_from_python(data, _settings(), "texts")
    assert _texts(found) == ["loved it", "a bore"]
    assert [row.label for row in found["all"]] == ["pos", "neg"]


@pytest.mark.parametrize("record", [(("a", "b"), "x"), ("a", "b", "x")])
def test_pairs_come_as_tuples(record: Any) -> None:
    assert _texts(rows_from_python([record], _settings(), "texts")) == [("a", "b")]


def test_paths_serve_as_python_data(tmp_path: Path) -> None:
    path = _written(tmp_path / "d.csv", "text,label\nhello,a\n")
    assert _texts(rows_from_python({"train": path, "test": str(path)}, _settings(), "texts"), "test") == ["hello"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([("a",)], ("row[0]", "(text, label)")),
        ([3], ("row[0]", "got int")),
        ([(3, "x")], ("row[0]", "must be a text")),
        ([], ("no rows",)),
        ([("a", "x"), ("b", "x")], ("two or more classes",)),
    ],
)
def test_objects_that_are_no_texts_are_told(data: Any, words: tuple[str, ...]) -> None:
    def built() -> None:
        build_splits(rows_from_python(data, _settings(), "texts"), _settings(), 0, SILENT, "texts")

    with pytest.raises(DataError) as error:
        built()
    assert missing_words(faults_of(error), words) == []


def test_a_label_unseen_in_training_is_told() -> None:
    settings = _settings()
    found = rows_from_python({"train": ROWS * 4, "test": [("so so", "meh")]}, settings, "texts")
    with pytest.raises(DataError, match="a class never trained on"):
        build_splits(found, settings, 0, SILENT, "texts")


def test_texts_in_two_splits_are_noted() -> None:
    settings = _settings()
    found = rows_from_python({"train": ROWS * 4, "validation": ROWS, "test": ROWS}, settings, "texts")
    notes = build_splits(found, settings, 0, SILENT, "texts").notes
    assert any("texts are in both train and test" in note for note in notes)


# --- questions -------------------------------------------------------------------------------------------------------


def _questions(records: list[dict[str, Any]], **given: Any) -> Found:
    return rows_from_python(records, _settings(**given), "questions")


@pytest.mark.parametrize("form", ["squad", "list", "json"])
def test_answers_come_in_three_forms(form: str) -> None:
    record = question(1, "good")
    answers: Any = record["answers"]
    if form == "list":
        answers = [{"text": "good", "answer_start": answers["answer_start"][0]}]
    if form == "json":
        answers = json.dumps(answers)
    (row,) = _questions([{**record, "answers": answers}])["all"]
    assert isinstance(row.content, QuestionContent)
    (answer,) = row.content.answers
    assert row.content.context[answer.start :].startswith(answer.text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answers": {"text": ["good"], "answer_start": [0]}}, ("row[0]: answer_start", "It is at 21.")),
        ({"answers": {"text": ["nowhere"], "answer_start": [3]}}, ("It is nowhere in the context",)),
        ({"answers": {"text": ["good"], "answer_start": [-1]}}, ("answer_start",)),
        ({"answers": {"text": ["good"], "answer_start": []}}, ("the answers must be",)),
        ({"answers": 3}, ("the answers must be",)),
        ({"question": "  "}, ("column 'question' must be a text", "an empty text")),
        ({"context": None}, ("column 'context' must be a text",)),
    ],
)
def test_what_is_wrong_with_a_question_is_told(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        _questions([{**question(1, "good"), **change}])
    assert missing_words(faults_of(error), words) == []


def test_an_id_is_given_once() -> None:
    with pytest.raises(DataError, match="the id 'q1' must be of one question; got 2"):
        _questions([question(1, "good"), question(1, "bad")])


def test_held_out_questions_share_no_article_with_those_trained_on() -> None:
    settings = _settings()
    records = [question(number, "good", f"article {number % 10}") for number in range(50)]
    splits = build_splits(_questions(records), settings, 0, SILENT, "questions")
    groups = [
        {row.content.group for row in split.rows if isinstance(row.content, QuestionContent)}
        for _, split in splits.items()
    ]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert splits.class_names == ()
    assert splits.counts()["train"] == []
    assert sum(splits.sizes().values()) == 50
    assert 5 <= splits.sizes()["test"] <= 15


def test_one_article_alone_cannot_be_split() -> None:
    settings = _settings()
    with pytest.raises(DataError, match="articles to hold"):
        build_splits(_questions([question(n, "good", "a") for n in range(5)]), settings, 0, SILENT, "questions")
