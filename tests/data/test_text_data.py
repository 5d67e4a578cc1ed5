"""Rows of texts and of questions: as they stand, from wherever they lie, and what is wrong with them told."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.pictures import IMAGES
from hftransfer.data.questions import QUESTIONS
from hftransfer.data.roles import Found
from hftransfer.data.rows import QuestionContent, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import build_splits, labelled_split
from hftransfer.data.tables import read_table
from hftransfer.data.targets import SPANS
from hftransfer.data.texts import TEXTS
from tests.builders import faults_of, missing_words, question, write_classes

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
    return find_rows(_settings(path, **given), SILENT, TEXTS)


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
    assert labelled_split([row], ["x"], TEXTS).digests[0]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ("sentence,label", "t1"),
        ("Review,Label", "t1"),
        ("label,text", None),
        ("sentence1,sentence2,label", ("t1", "t2")),
        ("premise,hypothesis,label", ("t1", "t2")),
        ("question,sentence,label", ("t1", "t2")),
        ("text,text_pair,label", ("t1", "t2")),
        ("sentence_A,sentence_B,label", ("t1", "t2")),
    ],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, columns: str, wanted: Any) -> None:
    cells = ["t1", "t2", "yes"][-columns.count(",") - 1 :] if columns.count(",") == 2 else ["t1", "yes"]
    if columns == "label,text":
        cells, wanted = ["yes", "t1"], "t1"
    path = _written(tmp_path / "d.csv", f"{columns}\n{','.join(cells)}\n")
    found = _found(path)
    assert _texts(found) == [wanted]
    assert found["all"][0].target == "yes"


def test_named_columns_win(tmp_path: Path) -> None:
    path = _written(tmp_path / "d.csv", "text,body,note,stars\na,b,c,5\n")
    found = _found(path, text_column="body", text_pair_column="note", label_column="stars")
    assert _texts(found) == [("b", "c")]
    assert found["all"][0].target == "5"


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
        find_rows(_settings("bundled/drawn-pets"), SILENT, TEXTS)
    with pytest.raises(DataError, match="which holds texts"):
        find_rows(_settings("bundled/short-reviews"), SILENT, IMAGES)


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
    found = rows_from_python(data, _settings(), TEXTS)
    assert _texts(found) == ["loved it", "a bore"]
    assert [row.target for row in found["all"]] == ["pos", "neg"]


@pytest.mark.parametrize("record", [(("a", "b"), "x"), ("a", "b", "x")])
def test_pairs_come_as_tuples(record: Any) -> None:
    assert _texts(rows_from_python([record], _settings(), TEXTS)) == [("a", "b")]


def test_paths_serve_as_python_data(tmp_path: Path) -> None:
    path = _written(tmp_path / "d.csv", "text,label\nhello,a\n")
    assert _texts(rows_from_python({"train": path, "test": str(path)}, _settings(), TEXTS), "test") == ["hello"]


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
        build_splits(rows_from_python(data, _settings(), TEXTS), _settings(), 0, SILENT, TEXTS)

    with pytest.raises(DataError) as error:
        built()
    assert missing_words(faults_of(error), words) == []


def test_a_label_unseen_in_training_is_told() -> None:
    settings = _settings()
    found = rows_from_python({"train": ROWS * 4, "test": [("so so", "meh")]}, settings, TEXTS)
    with pytest.raises(DataError, match="a class never trained on"):
        build_splits(found, settings, 0, SILENT, TEXTS)


def test_texts_in_two_splits_are_noted() -> None:
    settings = _settings()
    found = rows_from_python({"train": ROWS * 4, "validation": ROWS, "test": ROWS}, settings, TEXTS)
    notes = build_splits(found, settings, 0, SILENT, TEXTS).notes
    assert any("texts are in both train and test" in note for note in notes)


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"question": "q", "text": "t"}, "t"),
        ({"sentence": "t", "question": "q"}, ("q", "t")),
        ({"sentence2": "s", "sentence": "t"}, "t"),
        ({"premise": "t"}, "t"),
        ({"title": "head", "body": "t"}, "t"),
        ({"Question1": "a", "QUESTION2": "b"}, ("a", "b")),
        ({"hypothesis": "b", "text": "t", "premise": "a"}, ("a", "b")),
    ],
)
def test_a_pair_is_found_only_where_both_of_its_columns_are(record: dict[str, str], wanted: Any) -> None:
    assert _texts(rows_from_python([{**record, "label": "x"}], _settings(), TEXTS)) == [wanted]


def test_a_pair_lacking_in_one_row_is_told_whichever_row_comes_first() -> None:
    records = [{"sentence1": "a", "label": "x"}, {"sentence1": "a", "sentence2": "b", "label": "y"}]
    for index, order in ((0, records), (1, records[::-1])):
        with pytest.raises(DataError, match=rf"row\[{index}\]: column 'sentence2' must be a text; got nothing"):
            rows_from_python(order, _settings(), TEXTS)


def test_one_column_is_not_both_texts() -> None:
    with pytest.raises(DataError, match="a different column from that of the text; got 'text'"):
        rows_from_python([{"text": "a", "label": "x"}], _settings(text_pair_column="text"), TEXTS)


def test_named_columns_are_not_asked_of_tuples() -> None:
    named = _settings(text_column="review", label_column="stars", text_pair_column="other")
    assert _texts(rows_from_python(ROWS, named, TEXTS)) == ["loved it", "a bore"]


@pytest.mark.parametrize("nothing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT], ids=repr)
def test_a_value_that_is_nothing_is_no_text(nothing: Any) -> None:
    with pytest.raises(DataError) as error:
        rows_from_python([{"text": nothing, "label": "x"}], _settings(), TEXTS)
    assert missing_words(faults_of(error), ("row[0]", "got nothing", "keep_default_na=False")) == []


@pytest.mark.parametrize("value", [3, 2.5, True, ["a"], {"a": 1}, b"a", np.array([1, 2])], ids=repr)
def test_a_value_of_another_type_is_no_text(value: Any) -> None:
    with pytest.raises(DataError, match=rf"row\[0\]: column 'text' must be a text; got .*{type(value).__name__}"):
        rows_from_python([{"text": value, "label": "x"}], _settings(), TEXTS)


def test_all_values_that_are_no_texts_are_told_at_once() -> None:
    with pytest.raises(DataError) as error:
        rows_from_python([(3, "x"), ("fine", "y"), (None, "x")], _settings(), TEXTS)
    assert [fault[:6] for fault in error.value.faults] == ["row[0]", "row[2]"]


def test_texts_of_a_frame_stay_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    pd.DataFrame({"text": ODD[:6], "label": "a"}).to_csv(path, index=False)
    kept = pd.read_csv(path, keep_default_na=False)
    assert _texts(rows_from_python(kept, _settings(), TEXTS)) == ODD[:6]
    with pytest.raises(DataError, match="got nothing"):
        rows_from_python(pd.read_csv(path), _settings(), TEXTS)


@pytest.mark.parametrize(
    ("content", "line"), [('text,label\nfine,a\n"open,b\nmore,a\n', 3), ('text,label\n"a"b,c\nfine,a\n', 2)]
)
def test_quotes_that_do_not_fit_are_told_with_their_line(tmp_path: Path, content: str, line: int) -> None:
    path = _written(tmp_path / "d.csv", content)
    with pytest.raises(DataError, match=f"d.csv:{line} must be a record with matching quotes"):
        read_table(path)


def test_cells_of_a_megabyte_are_read_and_the_limit_of_other_readers_stays(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = _written(tmp_path / "d.tsv", f"text\tlabel\n{'x' * 1_000_000}\ta\n")
    assert [len(text) for text in _texts(_found(path))] == [1_000_000]
    assert csv.field_size_limit() == before


def test_two_halves_of_a_character_are_another_text_than_the_character() -> None:
    first, second = (TextContent(text).read() for text in ("\U0001f600", "\ud83d\ude00"))
    assert first != second


def test_a_pair_is_another_text_than_its_texts_joined() -> None:
    assert len({TextContent(*texts).read() for texts in (("a", "b"), ("a b",), ("a", None), ("a", ""))}) == 4


def test_half_a_character_is_no_label() -> None:
    with pytest.raises(DataError, match="a name in Unicode"):
        rows_from_python([("a", "\ud800"), ("b", "y")], _settings(), TEXTS)


@pytest.mark.parametrize("column", ["sentiment", "Sentiment"])
def test_the_only_column_of_classes_has_the_labels(column: str) -> None:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            column: datasets.ClassLabel(names=["neg", "pos"]),
            "n": datasets.Value("int8"),
        }
    )
    data = datasets.Dataset.from_dict({"text": ["a", "b"], column: [1, 0], "n": [1, 2]}, features=features)
    assert [row.target for row in rows_from_python(data, _settings(), TEXTS)["all"]] == ["pos", "neg"]


def test_saved_data_sets_keep_their_splits(tmp_path: Path) -> None:
    part = datasets.Dataset.from_list([{"text": text, "label": label} for text, label in ROWS])
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(str(tmp_path / "saved"))
    found = _found(tmp_path / "saved")
    assert sorted(found) == ["test", "train"]
    assert _texts(found, "test") == ["loved it", "a bore"]


def test_a_path_for_one_split_holds_one_split(tmp_path: Path) -> None:
    for name in ("train", "test"):
        _written(tmp_path / f"{name}.csv", "text,label\na,x\n")
    with pytest.raises(DataError, match="the train split of data must be one split"):
        rows_from_python({"train": tmp_path}, _settings(), TEXTS)
    assert sorted(rows_from_python(str(tmp_path), _settings(), TEXTS)) == ["test", "train"]


# --- the wrong kind of data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "columns", "words"),
    [
        (IMAGES, ["sentence", "label"], ("a table of images; got what looks like texts", "text-classification")),
        (TEXTS, ["image", "label"], ("a table of texts; got what looks like images", "image-classification")),
        (TEXTS, ["question", "context", "answers"], ("looks like questions", "question-answering")),
        (QUESTIONS, ["sentence", "label"], ("a table of questions; got what looks like texts",)),
        (IMAGES, ["question", "context", "answers"], ("a table of images; got what looks like questions",)),
    ],
)
@pytest.mark.parametrize("form", ["table", "dataset"])
def test_a_table_for_another_task_is_told(
    tmp_path: Path, kind: Any, columns: list[str], words: tuple[str, ...], form: str
) -> None:
    record = dict.fromkeys(columns, "a")
    path = _written(tmp_path / "d.jsonl", json.dumps(record) + "\n")
    data = datasets.Dataset.from_list([record]) if form == "dataset" else path
    with pytest.raises(DataError) as error:
        rows_from_python(data, _settings(), kind)
    assert missing_words(faults_of(error), words) == []


def test_a_missing_label_column_alone_is_not_taken_for_another_task() -> None:
    with pytest.raises(DataError) as error:
        rows_from_python([{"text": "a", "image": "b"}], _settings(), TEXTS)
    assert "looks like" not in faults_of(error)


# --- folders of text files -------------------------------------------------------------------------------------------


def _text_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_text_files_without_splits_are_split_later(tmp_path: Path) -> None:
    files = {f"{label}/{n}.txt": f"{label} {n}".encode() for label in ("pos", "neg") for n in range(10)}
    found = _found(_text_folder(tmp_path, files))
    assert [row.id for row in found["all"]] == sorted(files)
    assert build_splits(found, _settings(), 0, SILENT, TEXTS).sizes() == {"train": 14, "validation": 2, "test": 4}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a/1.txt": b"x", "b/1.jpg": b"x"}, ("b/1.jpg must be a .txt file", "task image-classification")),
        ({"a/1.txt": b"x", "b/1.txt": b"\xff"}, ("b/1.txt must be a UTF-8 text file; got byte 0",)),
        ({"a/1.md": b"x", "b/1.txt": b"\xff"}, ("a/1.md must be a .txt file", "b/1.txt must be a UTF-8")),
        ({"1.txt": b"x"}, ("Put the texts of each class in a folder named after the class",)),
        ({"a/1.log": b"x"}, ("must be a CSV, TSV, JSONL or Parquet file of texts", "a folder without tables")),
        ({}, ("got an empty folder",)),
    ],
)
def test_what_is_wrong_with_a_folder_of_texts_is_told(
    tmp_path: Path, files: dict[str, bytes], words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        _found(_text_folder(tmp_path, files))
    assert missing_words(faults_of(error), words) == []


# --- splits of texts -------------------------------------------------------------------------------------------------


def test_texts_are_held_out_of_every_class_by_seed() -> None:
    found = rows_from_python([(f"{label} {n}", label) for n in range(20) for label in "ab"], _settings(), TEXTS)
    first, again, other = (build_splits(found, _settings(), seed, SILENT, TEXTS) for seed in (0, 0, 1))
    assert first.counts() == {"train": [14, 14], "validation": [2, 2], "test": [4, 4]}
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_splits_of_texts_are_all_pairs_or_none() -> None:
    data = {"train": [("a", "b", "x"), ("c", "d", "y")] * 4, "test": [("a", "x")]}
    with pytest.raises(
        DataError, match="the test split must be made of pairs of texts, like the training split; got single"
    ):
        build_splits(rows_from_python(data, _settings(), TEXTS), _settings(), 0, SILENT, TEXTS)


def test_a_limit_is_of_each_class() -> None:
    settings = _settings(limit=2)
    splits = build_splits(rows_from_python(ROWS * 20, settings, TEXTS), settings, 0, SILENT, TEXTS)
    assert splits.counts() == {"train": [2, 2], "validation": [2, 2], "test": [2, 2]}


def test_the_texts_of_sst2_are_read_whole() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "sst2"
    if not path.exists():
        pytest.skip("needs ../shared/data/sst2")
    splits = build_splits(_found(path), _settings(path), 0, SILENT, TEXTS)
    assert splits.sizes() == {"train": 6920, "validation": 872, "test": 1821}
    assert splits.class_names == ("negative", "positive")


# --- questions -------------------------------------------------------------------------------------------------------


def _questions(records: list[dict[str, Any]], **given: Any) -> Found:
    return rows_from_python(records, _settings(**given), QUESTIONS)


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
    (answer,) = row.target
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
    with pytest.raises(DataError, match="the id 'q1' must be used by one question only; got 2"):
        _questions([question(1, "good"), question(1, "bad")])


def test_held_out_questions_share_no_article_with_those_trained_on() -> None:
    settings = _settings()
    records = [question(number, "good", f"article {number % 10}") for number in range(50)]
    splits = build_splits(_questions(records), settings, 0, SILENT, QUESTIONS, SPANS)
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
    with pytest.raises(DataError, match="number of articles"):
        build_splits(_questions([question(n, "good", "a") for n in range(5)]), settings, 0, SILENT, QUESTIONS, SPANS)
