"""Questions in SQuAD's columns: the forms they come in, what is wrong with them, and splits by article."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.questions import QUESTIONS
from hftransfer.data.rows import GoldAnswer, QuestionContent, Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import Splits, build_splits
from hftransfer.data.targets import SPANS

SILENT = Progress(None)
SQUAD = Path(__file__).parents[3] / "shared" / "data" / "squad"
CONTEXT = "A good day is a good day."
RECORD: dict[str, Any] = {
    "id": "q0",
    "title": "Days",
    "context": CONTEXT,
    "question": "What is it?",
    "answers": {"text": ["good"], "answer_start": [2]},
}
PLAIN = {"question": "What?", "context": CONTEXT, "answer": "good", "answer_start": 2}


def _settings(source: Path | str = "memory", **given: Any) -> DataSettings:
    return DataSettings(source=str(source), **given)


def _rows(data: Any, **given: Any) -> list[Row]:
    return rows_from_python(data, _settings(**given), QUESTIONS)["all"]


def _content(row: Row) -> QuestionContent:
    assert isinstance(row.content, QuestionContent)
    return row.content


def _answers(data: Any, **given: Any) -> list[list[tuple[str, int]]]:
    return [[(answer.text, answer.start) for answer in row.target] for row in _rows(data, **given)]


def _faults(data: Any, **given: Any) -> tuple[str, ...]:
    with pytest.raises(DataError) as error:
        _rows(data, **given)
    return error.value.faults


def _articles(sizes: list[int]) -> list[dict[str, Any]]:
    """So many questions on each article."""
    return [{**RECORD, "id": f"{a}-{n}", "title": f"a{a}"} for a, size in enumerate(sizes) for n in range(size)]


def _split(found: Mapping[str, list[Row]], seed: int = 0, **given: Any) -> Splits:
    return build_splits(found, _settings(**given), seed, SILENT, QUESTIONS, SPANS)


def _groups(splits: Splits) -> list[set[str]]:
    return [{_content(row).group for row in split.rows} for _, split in splits.items()]


# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["good"], "answer_start": [2]},
        {"text": ("good",), "answer_start": (2,)},
        {"text": np.array(["good"], dtype=object), "answer_start": np.array([2], dtype=np.int32)},
        [{"text": "good", "answer_start": 2}],
        np.array([{"text": "good", "answer_start": 2}], dtype=object),
        '{"text": ["good"], "answer_start": [2]}',
        '[{"text": "good", "answer_start": 2}]',
    ],
    ids=["squad", "tuples", "arrays", "list", "array of dicts", "JSON", "JSON list"],
)
def test_answers_come_in_many_forms(answers: Any) -> None:
    assert _answers([{**RECORD, "answers": answers}]) == [[("good", 2)]]


@pytest.mark.parametrize(
    "answers", [{"text": [], "answer_start": []}, [], "[]", np.array([]), '{"text": [], "answer_start": []}'], ids=repr
)
def test_no_answers_are_none(answers: Any) -> None:
    assert _answers([{**RECORD, "answers": answers, "is_impossible": True}]) == [[]]


def test_an_answer_may_have_columns_of_its_own() -> None:
    assert _answers([PLAIN]) == [[("good", 2)]]
    assert _answers([{**PLAIN, "gold": "good"}], answers_column="gold") == [[("good", 2)]]


@pytest.mark.parametrize(("answer", "start"), [("", ""), ("", -1), (None, None), (float("nan"), float("nan"))])
def test_an_empty_answer_column_is_no_answer(answer: Any, start: Any) -> None:
    assert _answers([{**PLAIN, "answer": answer, "answer_start": start}]) == [[]]


def test_a_frame_that_made_fractions_of_whole_numbers_is_read() -> None:
    frame = pd.DataFrame([PLAIN, {**PLAIN, "answer": None, "answer_start": None}])
    assert frame["answer_start"].dtype == float
    assert _answers(frame) == [[("good", 2)], []]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv", "tsv", "plain csv"])
def test_tables_give_the_same_questions(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"d.{suffix.split()[-1]}"
    if suffix == "jsonl":
        path.write_text(json.dumps(RECORD) + "\n")
    elif suffix == "parquet":
        pd.DataFrame([RECORD]).to_parquet(path)
    else:
        row = {"id": "q0", "title": "Days", **PLAIN} if suffix == "plain csv" else dict(RECORD)
        if "answers" in row:
            row["answers"] = json.dumps(row["answers"])
        pd.DataFrame([row]).to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    (row_read,) = find_rows(_settings(path), SILENT, QUESTIONS)["all"]
    content = _content(row_read)
    assert (content.id, content.group, content.context) == ("q0", "Days", CONTEXT)
    assert row_read.target == (GoldAnswer("good", 2),)


def test_data_sets_and_frames_read_back_from_parquet_give_the_same_questions(tmp_path: Path) -> None:
    pd.DataFrame([RECORD]).to_parquet(tmp_path / "d.parquet")
    for data in (datasets.Dataset.from_list([RECORD]), pd.read_parquet(tmp_path / "d.parquet")):
        assert _answers(data) == [[("good", 2)]]


def test_saved_data_sets_keep_their_splits(tmp_path: Path) -> None:
    part = datasets.Dataset.from_list([RECORD])
    datasets.DatasetDict({"train": part, "validation": part}).save_to_disk(str(tmp_path / "saved"))
    assert sorted(find_rows(_settings(tmp_path / "saved"), SILENT, QUESTIONS)) == ["train", "validation"]


def test_named_columns_win() -> None:
    record = {"q": "What?", "passage": CONTEXT, "gold": RECORD["answers"], "question": 1, "context": 2, "answers": 3}
    (row,) = _rows([record], question_column="q", context_column="passage", answers_column="gold")
    assert (_content(row).question, _content(row).context) == ("What?", CONTEXT)


@pytest.mark.parametrize(
    ("given", "id"), [({}, "row[0]"), ({"id": ""}, "row[0]"), ({"id": 0}, "0"), ({"id": np.nan}, "row[0]")]
)
def test_a_question_without_an_id_goes_by_its_place(given: dict[str, Any], id: str) -> None:
    (row,) = _rows([{key: value for key, value in RECORD.items() if key != "id"} | given])
    assert _content(row).id == id


@pytest.mark.parametrize("title", [None, "", float("nan")])
def test_a_question_without_a_title_goes_with_its_context(title: Any) -> None:
    (row,) = _rows([{**RECORD, "title": title}])
    assert _content(row).group == CONTEXT


def test_half_a_character_and_nul_are_kept_and_have_a_digest() -> None:
    context = "a\x00 \ud800 good"
    record = {**RECORD, "context": context, "answers": {"text": ["good"], "answer_start": [5]}}
    (row,) = _rows([record])
    assert _content(row).context == context
    assert row.content.read()


def test_starts_count_characters_not_bytes() -> None:
    record = {**RECORD, "context": "😀é good", "answers": {"text": ["good"], "answer_start": [3]}}
    assert _answers([record]) == [[("good", 3)]]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (0, "got 0. It is at 2."),
        (15, "got 15. It is at 16."),
        (900, "got 900, outside the context of 25 characters. It is at 16."),
        (-1, "got -1, outside the context of 25 characters. It is at 2."),
        (len(CONTEXT), "outside the context of 25 characters"),
    ],
)
def test_a_wrong_start_is_told_with_the_nearest_right_one(start: int, told: str) -> None:
    (fault,) = _faults([{**RECORD, "answers": {"text": ["good"], "answer_start": [start]}}])
    assert fault.startswith("row[0]: answer_start must be where 'good' starts;")
    assert told in fault


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answers": {"text": ["Good"], "answer_start": [2]}}, "It is nowhere in the context."),
        ({"answers": {"text": [""], "answer_start": [0]}}, "has no answers at all"),
        ({"answers": {"text": ["good"], "answer_start": []}}, "the answers must be {"),
        ({"answers": {"text": "good", "answer_start": [2]}}, "the answers must be {"),
        ({"answers": {"text": None, "answer_start": None}}, "the answers must be {"),
        ({"answers": {"text": ["good"], "answer_start": ["two"]}}, "the answers must be {"),
        ({"answers": {"text": ["good"], "answer_start": [True]}}, "the answers must be {"),
        ({"answers": {"text": ["good"], "answer_start": [2.5]}}, "the answers must be {"),
        ({"answers": {"text": [3], "answer_start": [2]}}, "the answers must be {"),
        ({"answers": ["good"]}, "the answers must be {"),
        ({"answers": None}, "got nothing"),
        ({"answers": "good"}, "SQuAD's, as JSON; got 'good'. Write [] if there is no answer"),
        ({"answers": ""}, "got an empty text"),
        ({"question": " "}, "column 'question' must be a text; got an empty text"),
        ({"question": 3}, "column 'question' must be a text; got 3"),
        ({"context": None}, "column 'context' must be a text; got nothing"),
        ({"context": ""}, "column 'context' must be a text; got an empty text"),
    ],
)
def test_what_is_wrong_with_a_question_is_told(change: dict[str, Any], told: str) -> None:
    (fault,) = _faults([{**RECORD, **change}])
    assert fault.startswith("row[0]: ")
    assert told in fault


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    wrong = {"text": ["good", "day"], "answer_start": [0, 0]}
    records = [{**RECORD, "question": "", "answers": wrong}, {**RECORD, "id": "q1"}, {**RECORD, "context": None}]
    path = tmp_path / "d.jsonl"
    path.write_text("\n\n".join(map(json.dumps, records)))
    with pytest.raises(DataError) as error:
        find_rows(_settings(path), SILENT, QUESTIONS)
    assert [fault.split(" ")[0] for fault in error.value.faults] == ["d.jsonl:1:"] * 3 + ["d.jsonl:5:"]


def test_a_fault_of_many_rows_is_told_once_and_counted() -> None:
    faults = _faults([{**RECORD, "id": n, "question": ""} for n in range(15)])
    assert len(faults) == 1
    assert "The same in 14 more rows: " in faults[0]


def test_an_id_given_twice_is_told_with_both_lines() -> None:
    (fault,) = _faults([RECORD, {**RECORD, "id": "other"}, RECORD])
    assert fault == "the id 'q0' must be used by one question only; got 2: row[0], row[2]."


def test_all_missing_columns_are_told_at_once() -> None:
    faults = _faults([{"x": 1}])
    assert [
        f"data.{role}_column" in fault for role, fault in zip(("question", "context", "answers"), faults, strict=True)
    ]


def test_a_misspelt_column_is_told_with_its_neighbour() -> None:
    (fault,) = _faults([RECORD], context_column="contxt")
    assert "Did you mean 'context'?" in fault


@pytest.mark.parametrize("data", [[3], [("q", "c")], ["text"]])
def test_questions_are_dicts(data: list[Any]) -> None:
    (fault,) = _faults(data)
    assert fault.startswith("row[0] must be a dict with question, context and answers; got ")


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [[5] * 10, [90, 5, 5, 5, 5], [1, 2, 3, 4, 50], [1, 1, 1], [100, 100, 1]])
def test_no_article_is_in_two_splits_and_each_has_one(sizes: list[int], seed: int) -> None:
    splits = _split({"all": _rows(_articles(sizes))}, seed)
    assert max(Counter(group for groups in _groups(splits) for group in groups).values()) == 1
    assert min(splits.sizes().values()) >= 1
    assert sum(splits.sizes().values()) == sum(sizes)


def test_the_held_part_is_about_as_large_as_asked() -> None:
    sizes = np.random.default_rng(0).integers(5, 40, 40).tolist()
    splits = _split({"all": _rows(_articles(sizes))}, test_fraction=0.3)
    assert splits.sizes()["test"] / sum(sizes) == pytest.approx(0.3, abs=0.03)


def test_a_giant_article_stays_in_training() -> None:
    rows = _rows(_articles([90, 5, 5, 5, 5]))
    assert all(_split({"all": rows}, seed).sizes()["train"] >= 90 for seed in range(5))


def test_the_seed_decides_which_articles_are_held_out() -> None:
    rows = _rows(_articles([5] * 20))
    first, again, *others = (_groups(_split({"all": rows}, seed)) for seed in (0, 0, 1, 2))
    assert first == again
    assert first not in others


def test_the_order_of_the_rows_does_not_change_which_articles_are_held_out() -> None:
    rows = _rows(_articles([5] * 20))
    assert _groups(_split({"all": rows})) == _groups(_split({"all": rows[::-1]}))


def test_splits_that_are_given_stay_whole() -> None:
    rows = _rows(_articles([5] * 10))
    splits = _split({"train": rows[:40], "validation": rows[40:]})
    assert splits.sizes() == {"train": 30, "validation": 10, "test": 10}
    assert splits.notes[0] == "test: 20% of the training examples, whole articles, seed 0"


@pytest.mark.parametrize("articles", [1, 2])
def test_too_few_articles_are_told(articles: int) -> None:
    with pytest.raises(
        DataError, match=r"the number of articles \(to hold out .* questions\) must be 2 or more; got 1"
    ):
        _split({"all": _rows(_articles([5] * articles))})


def test_two_articles_do_without_a_test_split() -> None:
    splits = _split({"all": _rows(_articles([8, 2]))}, test_fraction=0)
    assert splits.sizes() == {"train": 8, "validation": 2, "test": 0}


def test_questions_have_no_classes() -> None:
    splits = _split({"all": _rows(_articles([5] * 10))})
    assert splits.class_names == ()
    assert splits.counts() == {"train": [], "validation": [], "test": []}
    assert [len(answers) for answers in splits.train.targets] == [1] * len(splits.train)


def test_a_limit_is_of_each_split() -> None:
    splits = _split({"all": _rows(_articles([5] * 10))}, limit=3)
    assert splits.sizes() == {"train": 3, "validation": 3, "test": 3}


def test_questions_in_two_splits_are_noted() -> None:
    rows = _rows(_articles([5] * 3))
    notes = _split({"train": rows, "validation": rows, "test": rows}).notes
    assert any("question is in both train and test" in note for note in notes)


def test_contexts_that_end_in_nul_can_be_held_out() -> None:
    records = [{"question": "q?", "context": f"c{n}\x00", "answers": []} for n in range(9)]
    assert sum(_split({"all": _rows(records)}).sizes().values()) == 9


def test_nothing_to_train_on_is_told() -> None:
    with pytest.raises(DataError, match="a set with a train split"):
        _split(rows_from_python([], _settings(), QUESTIONS))


def test_the_answers_of_squad_are_where_they_are_said_to_be() -> None:
    if not SQUAD.exists():
        pytest.skip("needs ../shared/data/squad")
    found = find_rows(_settings(SQUAD), SILENT, QUESTIONS)
    splits = _split(found)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 6860, "validation": 1948}
    assert not _groups(splits)[0] & _groups(splits)[2]
