"""Words with tags in all the forms in which people keep them, and what is told of those that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import Splits
from hftransfer.data.tags import WORD_TAGS, as_iob2, in_one_scheme, scheme_of
from hftransfer.data.tokens import TAGGED_TEXTS, joined, words_of
from hftransfer.tasks import TASKS
from tests.builders import faults_of, missing_words

SILENT = Progress(None)
TOKENS, TAGS = ["Ann", "Lee", "left", "Ghent"], ["B-PER", "I-PER", "O", "B-LOC"]
ROW = {"tokens": TOKENS, "ner_tags": TAGS}


def _settings(source: object = "memory", **given: Any) -> DataSettings:
    return DataSettings(source=str(source), **given)


def _python(data: Any, **given: Any) -> Found:
    return rows_from_python(data, _settings(**given), TAGGED_TEXTS)


def _rows(data: Any) -> list[Row]:
    return [row for part in _python(data).values() for row in part]


def _read(path: Path, **given: Any) -> Found:
    return find_rows(_settings(path, **given), SILENT, TAGGED_TEXTS)


def _plain(row: Row) -> tuple[list[str], list[str]]:
    content: Any = row.content
    return [content.text[start:end] for start, end in content.words], list(row.target)


def _split(found: Found, **given: Any) -> Splits:
    return TASKS["token-classification"].split(found, _settings(**given), 0, SILENT)


# --- forms -----------------------------------------------------------------------------------------------------------


def test_rows_of_python_in_all_forms_are_the_same() -> None:
    text = "Ann Lee left Ghent"
    spans = [(0, 7, "PER"), (13, 18, "LOC")]
    named = [{"start": start, "end": end, "label": label} for start, end, label in spans]
    forms: list[Any] = [
        [(TOKENS, TAGS)],
        [ROW],
        [(text, spans)],
        [{"text": text, "entities": named}],
        [{"sentence": text, "marks": named}],
        pd.DataFrame([ROW]),
    ]
    for form in forms:
        own = {"spans_column": "marks", "text_column": "sentence"} if "marks" in str(form) else {}
        (row,) = _python(form, **own)["all"]
        assert _plain(row) == (TOKENS, TAGS)
        assert row.content.texts == (text,)


def test_class_ids_of_datasets_are_names(tmp_path: Path) -> None:
    names = datasets.List(datasets.ClassLabel(names=["O", "B-PER", "I-PER", "B-LOC"]))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": names})
    made = datasets.Dataset.from_dict({"tokens": [TOKENS], "ner_tags": [[1, 2, 0, 3]]}, features=features)
    assert _plain(_python(made)["all"][0]) == (TOKENS, TAGS)
    made.save_to_disk(str(tmp_path / "saved"))
    assert _plain(_read(tmp_path / "saved")["all"][0]) == (TOKENS, TAGS)
    made.to_parquet(str(tmp_path / "train.parquet"))
    assert _plain(_read(tmp_path / "train.parquet")["all"][0]) == (TOKENS, TAGS)


@pytest.mark.parametrize(
    "cells", [(json.dumps(TOKENS), json.dumps(TAGS)), (str(TOKENS), str(TAGS)), (" ".join(TOKENS), " ".join(TAGS))]
)
def test_lists_in_cells_of_csv_are_read(tmp_path: Path, cells: tuple[str, str]) -> None:
    file = tmp_path / "rows.csv"
    pd.DataFrame([cells], columns=["words", "tags"]).to_csv(file, index=False)
    assert _plain(_read(file)["all"][0]) == (TOKENS, TAGS)


CONLL = {
    "spaces.conll": "-DOCSTART- -X- -X- O\n\nAnn NNP B-NP B-PER\nLee NNP I-NP I-PER\n"
    "left VBD B-VP O\nGhent NNP B-NP B-LOC\n",
    "tabs.tsv": "# id 1\nAnn\tB-PER\nLee\tI-PER\nleft\tO\nGhent\tB-LOC\n\n",
    "bare.txt": "\ufeffAnn B-PER\r\nLee I-PER\r\nleft O\r\nGhent B-LOC\r\n",
    "turned.bio": "B-PER\tAnn\nI-PER\tLee\nO\tleft\nB-LOC\tGhent\n",
}


@pytest.mark.parametrize("name", CONLL)
def test_column_files_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CONLL[name], encoding="utf-8", newline="")
    found = _read(tmp_path / name)
    assert [_plain(row) for row in found["all"]] == [(TOKENS, TAGS)]
    assert "one word per line" in found.notes[0]


def test_columns_of_conll_are_chosen_by_name(tmp_path: Path) -> None:
    file = tmp_path / "rows.conll"
    file.write_text(CONLL["spaces.conll"])
    assert _plain(_read(file, tags_column="pos_tags")["all"][0])[1] == ["NNP", "NNP", "VBD", "NNP"]
    treebank = tmp_path / "tree.conllu"
    cells = ["1-2\tdu\t_", "1\tde\tADP", "2\tle\tDET"]
    lines = [
        "# text = du",
        *(f"{a}\t{b}\t_\t{c}\t_\t_\t_\t_\t_\t_" for a, b, c in (line.split("\t") for line in cells)),
    ]
    treebank.write_text("\n".join(lines) + "\n")
    assert _plain(_read(treebank)["all"][0]) == (["de", "le"], ["ADP", "DET"])


def test_a_folder_of_column_files_is_its_splits(tmp_path: Path) -> None:
    for name in ("train.txt", "dev.txt", "test.txt"):
        (tmp_path / name).write_text("Ann B-PER\nleft O\n\n# O\nis O\n\n")
    (tmp_path / "README.txt").write_text("What it is.")
    found = _read(tmp_path)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 2, "validation": 2, "test": 2}
    assert found["train"][1].id == "train.txt:4"


def test_spans_that_part_a_word_are_counted_and_shown() -> None:
    whole = [("Ann left Ghent-Sud.", [(9, 14, "LOC")]), ("東京都は", [(0, 2, "LOC")])]
    assert not _python(whole).notes
    (told,) = _python([*whole, ("in Newcastle", [(6, 12, "LOC")]), ("Londoners", [(0, 6, "LOC")])]).notes
    assert told.startswith("2 spans begin or end inside a word ('New|castle' in ")
    assert "predictions mark whole words" in told


def test_words_of_texts_end_where_spans_do() -> None:
    text = "O'Neil, 東京 or über-cool"
    assert [text[a:b] for a, b in words_of(text)] == ["O", "'", "Neil", ",", "東", "京", "or", "über", "-", "cool"]
    (row,) = _python([("notebooks", [(4, 9, "THING")])])["all"]
    assert _plain(row) == (["note", "books"], ["O", "B-THING"])
    (row,) = _python([("two apart: Ann Ben", [(10, 14, "PER"), (15, 18, "PER")])])["all"]
    assert _plain(row)[1] == ["O", "O", "O", "B-PER", "B-PER"]


# --- schemes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "tags", "iob2", "broken"),
    [
        ("IOB2", "O B-A I-A B-A I-B", "O B-A I-A B-A B-B", 1),
        ("IOB1", "I-A I-A B-A O I-B", "B-A I-A B-A O B-B", 0),
        ("BIOES", "B-A I-A E-A S-B O", "B-A I-A I-A B-B O", 0),
        ("BIOES", "S-A I-A E-A B-B", "B-A B-A I-A B-B", 2),
        ("BIOES", "B-A M-A E-A S-A", "B-A I-A I-A B-A", 0),
        ("BILOU", "U-A B-B L-B O", "B-A B-B I-B O", 0),
        ("plain", "DET NOUN O", "DET NOUN O", 0),
    ],
)
def test_schemes_are_told_apart_and_become_iob2(scheme: Any, tags: str, iob2: str, broken: int) -> None:
    own = tuple(tags.split())
    row = Row("row", joined(own), own)
    assert scheme_of([row]) == scheme
    assert as_iob2(own, scheme) == (tuple(iob2.split()), broken)


def test_the_scheme_is_told_over_all_splits() -> None:
    rows = {"train": [(["a", "b"], ["I-A", "I-A"])] * 3, "test": [(["a", "b"], ["I-A", "B-A"]), (["c"], ["O"])]}
    alike = in_one_scheme(_python(rows))
    assert [row.target for row in alike.parts["test"]] == [("B-A", "B-A"), ("O",)]
    assert alike.notes == ["tags are IOB1 (B- only where an entity follows another of its type): learned as IOB2"]


def test_broken_sequences_are_counted_in_a_note() -> None:
    notes = in_one_scheme(_python([(["a", "b"], ["B-A", "O"]), (["a", "b"], ["O", "I-A"])] * 2)).notes
    assert missing_words(" ".join(notes), ("IOB2", "2 tags", "row[1]")) == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["B-A", "PER"]], ("in one scheme", "'B-A' (row[0])", "'PER' (row[0])")),
        ([["S-A"], ["U-A"]], ("BIOES", "BILOU", "row[1]")),
        ([["B-A", "3"]], ("all names, or all numbers", "3 (row[0])")),
    ],
)
def test_mixed_schemes_are_refused(rows: list[list[str]], words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        _split(_python([(["x"] * len(tags), tags) for tags in rows]))
    assert missing_words(faults_of(error), words) == []


# --- what is wrong ---------------------------------------------------------------------------------------------------

WRONG: list[tuple[Any, tuple[str, ...]]] = [
    ((TOKENS, TAGS[:3]), ("row[1]: column 'tags'", "as many tags as words", "3 tags for 4 words")),
    (([], []), ("row[1]: column 'tokens'", "a non-empty list of words", "on_error=skip")),
    ((["a", 3], ["O", "O"]), ("word 2", "must be a text")),
    ((["a"], [None]), ("tag 1", "must be a name; got nothing")),
    ((["a"], [True]), ("tag 1", "True (bool)")),
    ((["a"], [-100]), ("tag 1", "-100")),
    (("Ann Lee left", [(0, 7, "A"), (4, 7, "B")]), ("nested and overlapping", "'Ann Lee' (0 to 7, A)", "'Lee'")),
    (("Ann", [(0, 9, "A")]), ("span 1", "within the text, which has 3", "0 to 9")),
    (("Ann", [(2, 2, "A")]), ("span 1", "2 to 2")),
    (("Ann", [{"start": 0, "end": 3}]), ("span 1", "{start, end, label}")),
    (("Ann", [{"start": 0, "end": 2, "label": "A", "text": "Ann"}]), ("at 'Ann'", "'An'", "That is at 0.")),
    (("  ", []), ("a text with words",)),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_rows_that_are_wrong_are_told_with_their_place(wrong: Any, words: tuple[str, ...]) -> None:
    form = ("fine", [(0, 4, "A")]) if isinstance(wrong[0], str) else (TOKENS, TAGS)
    with pytest.raises(DataError) as error:
        _python([form, wrong])
    assert missing_words(faults_of(error), words) == []
    found = _python([form, wrong], on_error="skip")
    assert len(found["all"]) == 1
    assert [one.id for one in found.left_out] == ["row[1]"]


def test_files_that_are_no_column_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("A sentence of some words.\nAnother.\n")
    (tmp_path / "two.conll").write_text("a O\nb c O\nd O\n")
    for name, words in (("one.txt", ("columns",)), ("two.conll", ("two.conll:2", "2 columns"))):
        with pytest.raises(DataError) as error:
            _read(tmp_path / name)
        assert missing_words(faults_of(error), words) == []
    with pytest.raises(DataError, match="a list of the words of a text"):
        _python([{"tokens": "['a' 'b']", "tags": "['O' 'O']"}])
    with pytest.raises(DataError, match="tokens_column"):
        _python([{"a": 1, "b": 2}])


def test_a_tag_never_trained_on_and_one_alone_are_refused() -> None:
    train = [(["a", "b"], ["B-PER", "O"])] * 4
    parts = {"train": train, "validation": train, "test": [(["a"], ["B-PR"])]}
    with pytest.raises(DataError, match=r"'B-PR' of the test split \(1 word, such as in test\[0\]\).*'B-PER'"):
        _split(_python(parts))
    with pytest.raises(DataError, match="'O' alone"):
        _split(_python([(["a"], ["O"])] * 9))


def test_other_tasks_say_that_words_have_tags() -> None:
    from hftransfer.data.texts import TEXTS

    with pytest.raises(DataError, match="token-classification"):
        rows_from_python([ROW], _settings(), TEXTS)


# --- splits ----------------------------------------------------------------------------------------------------------


def test_entities_of_a_known_type_may_be_longer_than_those_learned_from() -> None:
    rows = [([f"w{n}", "x"], ["O", "O" if n % 2 else "B-PER"]) for n in range(30)]
    given = Found({"train": _rows(rows[:20]), "validation": _rows(rows[20:])})
    given["test"] = _rows([(["y", "Otto", "Mary"], ["O", "B-PER", "I-PER"])])
    splits = _split(given)
    assert (splits.class_names, splits.counts()["train"]) == (("O", "B-PER", "I-PER"), [30, 10, 0])
    assert list(splits.test.targets) == [(0, 1, 2)]
    words = "warning: 1 word of test has the tag 'I-PER' and no training word has: it can't be learned"
    assert words in splits.notes
    given["test"] = _rows([(["y"], ["B-ORG"])])
    with pytest.raises(DataError, match="the tag 'B-ORG' of the test split"):
        _split(given)


def test_rows_are_held_out_by_the_seed_and_no_tag_is_lost() -> None:
    rows = [([f"w{n}", "x"], ["O", "O" if n else "B-RARE"]) for n in range(30)]
    rows += [(["y", f"v{n}"], ["B-PER", "I-PER"]) for n in range(30)]
    splits = _split(_python(rows), test_fraction=0.3)
    assert splits.class_names == ("O", "B-PER", "I-PER", "B-RARE")
    assert splits.sizes() == {"train": 36, "validation": 6, "test": 18}
    assert sum(splits.counts()["train"]) == 72
    assert splits.counts()["train"][3] == 1
    assert splits.fingerprint() == _split(_python(rows), test_fraction=0.3).fingerprint()
    changed = [(words, ["O", "O"]) if n == 5 else (words, tags) for n, (words, tags) in enumerate(rows)]
    changed[6] = (changed[6][0], ["B-PER", "O"])
    assert splits.fingerprint() != _split(_python(changed), test_fraction=0.3).fingerprint()
    assert any("RARE 1 / 0 / 0" in note for note in splits.notes)
    with pytest.raises(DataError, match="test_fraction"):
        WORD_TAGS.hold_out(_python(rows[:1])["all"], 0.2, 0, "test")


def test_a_test_split_without_tags_is_left_out() -> None:
    parts = {"train": [ROW] * 5, "test": [{"tokens": TOKENS, "ner_tags": []}]}
    found = _python(parts)
    assert "test" not in found
    assert any("test split is left out" in note for note in found.notes)


def test_tags_of_other_schemes_judge_a_model() -> None:
    rows = _python([(["a", "b"], ["B-A", "E-A"]), (["c"], ["S-A"])])["all"]
    WORD_TAGS.require_of_model(rows, ("O", "B-A", "I-A"))
    assert WORD_TAGS.encode(rows, ("O", "B-A", "I-A")) == [(1, 2), (1,)]
    with pytest.raises(DataError, match="one of the model's"):
        WORD_TAGS.require_of_model(rows, ("O", "B-B", "I-B"))


def test_numbers_without_names_are_a_warning() -> None:
    rows = [(["a", "b"], [1, 0]), (["c"], [2])] * 3
    assert any("tags are numbers without names" in note for note in _split(_python(rows)).notes)
    assert not any("without names" in note for note in _split(_python([(["a", "b"], ["NN", "IN"])] * 6)).notes)


def test_documents_begin_whatever_parts_the_columns(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("-DOCSTART- -X- O\n\nAnn\tB-PER\nleft\tO\n\nOslo\tB-LOC\n")
    assert next(_plain(row) for row in _read(tmp_path / "train.conll")["all"]) == (["Ann", "left"], ["B-PER", "O"])
