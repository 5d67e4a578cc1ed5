"""A trained model on other tables: the columns that its recipe named are read there, too."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.data.reading import InputColumns
from hftransfer.data.tables import read_table
from hftransfer.jobs.evaluation import evaluate_model
from hftransfer.tasks import head_task
from hftransfer.tasks.facts import ModelFacts
from tests.builders import NO_PICTURES, TinyModels, load_model

_FILMS = [("good film", "up"), ("bad film", "down")] * 20


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _misleading(rows: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Rows whose columns of usual names say the contrary."""
    other = {"up": ("bad film", "down"), "down": ("good film", "up")}
    return [{"text": other[g][0], "label": other[g][1], "review": text, "grade": g} for text, g in rows]


@pytest.fixture(scope="module")
def run(tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe that learned from the columns `review` and `grade`."""
    folder = tmp_path_factory.mktemp("named-columns")
    source = _write(folder / "d.csv", [{"review": text, "grade": grade} for text, grade in _FILMS])
    recipe = {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": {"source": str(source), "text_column": "review", "label_column": "grade"},
        "train": {"precision": "fp32"},
        "output": NO_PICTURES,
    }
    return ht.run(recipe, out=folder / "run", progress=Progress(None)).folder


def _evaluated(run: Path, data: Path, *settings: str) -> tuple[dict[str, Any], str]:
    told = io.StringIO()
    return evaluate_model(str(run), str(data), settings, progress=Progress(told)), told.getvalue()


def test_a_model_says_which_columns_it_learned_from(run: Path) -> None:
    said = json.loads((run / "model" / "hftransfer.json").read_text(encoding="utf-8"))
    assert said["columns"] == {"text_column": "review", "label_column": "grade"}


def test_other_tables_are_judged_by_the_columns_of_the_run(run: Path, tmp_path: Path) -> None:
    # Inputs and labels of the usual names agree with each other, those of the run as well; mixed they do not.
    data = _write(tmp_path / "new.csv", _misleading(_FILMS))
    scores, told = _evaluated(run, data)
    assert scores["accuracy"] == 1.0
    assert "'text'" not in told
    assert load_model(run).evaluate(str(data)) == scores
    assert _evaluated(run, data, "text_column=text")[0]["accuracy"] == 0.0
    assert _evaluated(run, data, "label_column=label")[0]["accuracy"] == 0.0


def test_a_table_without_the_columns_of_the_run_is_read_by_usual_names(run: Path, tmp_path: Path) -> None:
    data = _write(tmp_path / "usual.csv", [{"text": text, "label": grade} for text, grade in _FILMS])
    scores, told = _evaluated(run, data)
    assert scores["accuracy"] == 1.0
    assert "has no 'review', where the model learned from: data.text_column names another" in told
    assert load_model(run).evaluate(_FILMS)["accuracy"] == 1.0  # pairs in Python have no columns


def test_predictions_read_the_columns_of_the_run(run: Path, tmp_path: Path) -> None:
    data = _write(tmp_path / "new.csv", _misleading(_FILMS[:2]))

    def predicted(*options: str) -> list[str]:
        given = CliRunner().invoke(app, ["predict", str(run), str(data), "--json", *options])
        assert given.exit_code == 0, given.output
        return [one["label"] for one in json.loads(given.stdout)["predictions"]]

    assert predicted() == ["up", "down"]
    assert predicted("--column", "text") == ["down", "up"]
    embedded = CliRunner().invoke(app, ["embed", str(run), str(data), "--out", str(tmp_path / "e.parquet")])
    assert embedded.exit_code == 0, embedded.output
    assert read_table(tmp_path / "e.parquet").records[0]["input"] == "good film"


@pytest.mark.parametrize(
    ("task", "learned", "row", "wanted"),
    [
        ("image-classification", {"image_column": "scan"}, {"image": "a.jpg", "scan": "b.jpg"}, "b.jpg"),
        ("token-classification", {"tokens_column": "w"}, {"tokens": ["a"], "w": ["b"]}, "b"),
        ("token-classification", {"text_column": "s"}, {"tokens": ["a"], "s": "b c"}, "b c"),
        ("text-generation", {"prompt_column": "ask"}, {"prompt": "a", "ask": "b"}, "b"),
        (
            "text-generation",
            {"prompt_column": "ask"},
            {"messages": [{"role": "user", "content": "a"}], "ask": "b"},
            "b",
        ),
        (
            "question-answering",
            {"question_column": "frage", "context_column": "satz"},
            {"question": "a", "frage": "b", "context": "c", "satz": "d"},
            "b",
        ),
    ],
)
def test_every_kind_of_input_is_read_so(
    task: str, learned: dict[str, str], row: dict[str, Any], wanted: str, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    columns = InputColumns(learned=dict(learned))
    (one,) = head_task(task).reader.of_table(file, read_table(file), columns, name=file.name)
    assert one.name == wanted
    if task == "question-answering":
        assert one.value == {"question": "b", "context": "d"}


def test_pairs_are_those_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": "a", "text_pair": "b", "one": "c", "two": "d"}) + "\n", encoding="utf-8")
    reader = head_task("text-classification").reader
    columns = InputColumns(pairs=True, learned={"text_column": "one", "text_pair_column": "two"})
    assert reader.of_table(file, read_table(file), columns, name=file.name)[0].value == ("c", "d")


@pytest.mark.parametrize("columns", [{"source": "/etc"}, {"label_columns": "a"}, {"text_column": ("a",)}])
def test_a_model_folder_names_columns_alone(columns: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="columns must be by settings of columns"):
        ModelFacts(columns=columns)


# --- several labels, a column each -----------------------------------------------------------------------------------


def _flags(labels: tuple[str, ...], rows: int = 40) -> list[dict[str, Any]]:
    words = {"praise": "good", "plot": "story", "cast": "actor"}
    found = []
    for number in range(rows):
        own = [name for place, name in enumerate(words) if number >> place & 1]
        text = " ".join(["film", *(words[name] for name in own)])
        found.append({"text": text, **{name: int(name in own) for name in labels}})
    return found


@pytest.fixture(scope="module")
def run_of_labels(tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("label-columns")
    source = _write(folder / "d.csv", _flags(("praise", "plot", "cast")))
    recipe = {
        "task": "text-classification",
        "model": str(tiny("bert")),
        "data": {"source": str(source), "label_columns": ["praise", "plot", "cast"]},
        "train": {"precision": "fp32"},
        "output": NO_PICTURES,
    }
    return ht.run(recipe, out=folder / "run", progress=Progress(None)).folder


def test_labels_without_a_column_are_not_judged(run_of_labels: Path, tmp_path: Path) -> None:
    whole, _ = _evaluated(run_of_labels, _write(tmp_path / "all.csv", _flags(("praise", "plot", "cast"))))
    assert "labels_not_judged" not in whole
    part = _write(tmp_path / "part.csv", _flags(("praise", "cast")))
    scores, told = _evaluated(run_of_labels, part)
    assert scores["labels_not_judged"] == ["plot"]
    assert "not judged, as the data have no columns of them: plot" in told
    assert "has no 'plot', where the model learned from" in told
    assert scores["per_class"] == {name: whole["per_class"][name] for name in ("praise", "cast")}
    assert scores["macro_f1"] == pytest.approx(sum(own["f1"] for own in scores["per_class"].values()) / 2)
    assert _evaluated(run_of_labels, part, "label_columns=[praise, cast]")[0] == scores
    assert load_model(run_of_labels).evaluate(str(part)) == scores


def test_labels_called_otherwise_are_judged_by_their_meaning(run_of_labels: Path, tmp_path: Path) -> None:
    rows = [{"text": row["text"], "lob": row["praise"], "rolle": row["cast"]} for row in _flags(("praise", "cast"))]
    data = _write(tmp_path / "german.csv", rows)
    model = load_model(run_of_labels)
    scores = model.evaluate(str(data), label_map={"lob": "praise", "rolle": "cast"}, label_columns=["lob", "rolle"])
    assert scores["labels_not_judged"] == ["plot"]
    assert scores == model.evaluate(str(_write(tmp_path / "part.csv", _flags(("praise", "cast")))))


def test_one_column_of_a_label_is_enough_to_judge_it(run_of_labels: Path, tmp_path: Path) -> None:
    scores, _ = _evaluated(run_of_labels, _write(tmp_path / "one.csv", _flags(("cast",))))
    assert scores["labels_not_judged"] == ["plot", "praise"]
    assert list(scores["per_class"]) == ["cast"]


# --- rows that are left out ------------------------------------------------------------------------------------------


def test_evaluation_leaves_out_five_percent_at_most(run: Path, tmp_path: Path) -> None:
    rows = [{"review": text, "grade": grade} for text, grade in _FILMS]
    some = _write(tmp_path / "some.csv", [*rows, {"review": "a film", "grade": ""}])
    scores, told = _evaluated(run, some, "on_error=skip")
    assert scores["accuracy"] == 1.0
    assert "left out: some.csv:42: column 'grade' must be a label; got nothing" in told
    many = _write(tmp_path / "many.csv", [*rows, *({"review": "a film", "grade": ""} for _ in range(10))])
    with pytest.raises(DataError, match=r"at most 5% of all rows; got 10 of 50"):
        _evaluated(run, many, "on_error=skip")
