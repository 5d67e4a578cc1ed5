"""Cross-validation: each example tested once by a model of the others, and one model of all."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from sklearn.metrics import accuracy_score, log_loss

import hftransfer as ht
from hftransfer.base.errors import HftransferError
from hftransfer.base.progress import Progress
from hftransfer.data.folds import splits_of_fold
from hftransfer.jobs import folds as folds_of_runs
from hftransfer.jobs.evaluation import evaluate_model
from hftransfer.jobs.run import Result, check, run
from hftransfer.jobs.runs import list_runs, show_run
from hftransfer.recipe import load_recipe
from hftransfer.study.paired import compare_runs
from hftransfer.training import activations, transfer
from hftransfer.training.loop import Fitted, Plan, fit
from tests.builders import TinyModels, faults_of, load_model, missing_words, slowly

SILENT = Progress(None)
WORDS = {"pos": ("good", "great", "fine", "lovely"), "neg": ("bad", "awful", "dull", "poor")}
ROWS = [
    {"text": f"the {thing} {verb} {word}", "label": label, "site": f"{thing} {verb}"}
    for thing in ("film", "story", "actor")
    for verb in ("was", "is", "is very", "was not")
    for label, words in WORDS.items()
    for word in words
]


def recipe_of(model: Path, **more: Any) -> dict[str, Any]:
    return {
        "task": "text-classification",
        "model": str(model),
        "data": {"source": "memory", "folds": 4, **more.pop("data", {})},
        "train": {"precision": "fp32", **more.pop("train", {})},
        "output": {"figures": False, "report": False},
        **more,
    }


def table_of(result: Result) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pyarrow.parquet.read_table(result.folder / "predictions.parquet").to_pydict()
    return found


def probe(tiny: TinyModels, out: Path, **more: Any) -> Result:
    return run(recipe_of(tiny("bert"), **more), data=ROWS, out=out, progress=SILENT)


@pytest.fixture(scope="module")
def folded(tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A finished cross-validation of a probe; read only."""
    root = tmp_path_factory.mktemp("folded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HFTRANSFER_CACHE", str(root / "cache"))
        return probe(tiny, root / "run", train={"calibrate": False})


def test_every_example_is_tested_once_and_scored_together(folded: Result) -> None:
    result = folded
    table, folds = table_of(result), result.metrics["folds"]
    assert sorted(table["id"]) == sorted(f"row[{number}]" for number in range(96))
    assert sorted(set(table["fold"])) == [1, 2, 3, 4]
    # The scores are those of all examples, by another library.
    assert result.metrics["test"]["accuracy"] == pytest.approx(accuracy_score(table["label"], table["prediction"]))
    probabilities = np.column_stack([table["probability_neg"], table["probability_pos"]])
    assert result.metrics["test"]["log_loss"] == pytest.approx(log_loss(table["label"], probabilities))
    for row in folds["scores"]:
        own = [place for place, fold in enumerate(table["fold"]) if fold == row["fold"]]
        right = [table["label"][place] == table["prediction"][place] for place in own]
        assert row["accuracy"] == pytest.approx(np.mean(right))
        assert (row["test"], row["train"] + row["validation"]) == (len(own), 96 - len(own))
    values = [row["accuracy"] for row in folds["scores"]]
    assert (folds["mean"], folds["deviation"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert result.metrics["examples"] == {"train": 96, "validation": 0, "test": 96}
    assert result.metrics["validation"] == {}
    with (result.folder / "folds.csv").open() as file:
        assert [float(row["accuracy"]) for row in csv.DictReader(file)] == values


def test_a_fold_is_the_run_of_its_splits(tiny: TinyModels, tmp_path: Path, folded: Result) -> None:
    recipe, table = recipe_of(tiny("bert"), train={"calibrate": False}), table_of(folded)
    whole = check(recipe, data=ROWS, progress=SILENT)
    by_text = {row.content.texts[0]: place for place, row in enumerate(whole.train.rows)}
    splits = splits_of_fold(whole, 2, load_recipe(recipe).recipe.data, 0)
    given = {
        name: [{"text": row.content.texts[0], "label": row.target} for row in split.rows]
        for name, split in splits.items()
    }
    alone = {**recipe, "data": {"source": "memory"}}
    one = table_of(run(alone, data=given, out=tmp_path / "one", progress=SILENT))
    columns = zip(table["id"], table["probability_pos"], table["fold"], strict=True)
    own = {id: probability for id, probability, fold in columns if fold == 3}
    texts = [row["text"] for row in given["test"]]
    assert [own[f"row[{by_text[text]}]"] for text in texts] == pytest.approx(one["probability_pos"], abs=1e-6)


def test_the_model_that_is_kept_learned_from_all_with_what_the_folds_chose(tiny: TinyModels, folded: Result) -> None:
    result, folds = folded, folded.metrics["folds"]
    strengths = sorted(row["l2"] for row in folds["scores"])
    assert folds["taken"]["l2"] == strengths[2]
    model = load_model(result.folder)
    # The same head, solved on all rows by a plain run with that strength.
    all_rows = {"train": ROWS, "validation": ROWS[:8]}
    settings = {"kind": "linear-probe", "l2": folds["taken"]["l2"]}
    plain = ht.fit(
        "text-classification",
        model=str(tiny("bert")),
        train=all_rows,
        strategy=settings,
        progress=SILENT,
        precision="fp32",
        calibrate=False,
    )
    texts = ["the film was lovely", "the actor is dull", "a poor story"]
    mine, theirs = model.predict(texts), plain.predict(texts)
    assert [one.scores["pos"] for one in mine] == pytest.approx([one.scores["pos"] for one in theirs], abs=1e-5)
    assert mine[0].unlike is not None
    assert model.facts.conformity is not None  # of all examples, each by a model that had not seen it


def test_a_training_of_folds_ends_with_one_of_all_rows(tiny: TinyModels, tmp_path: Path) -> None:
    lines = Lines()
    recipe = recipe_of(tiny("bert"), strategy={"kind": "fine-tune", "unfreeze": 1}, train={"epochs": 3})
    recipe["data"]["folds"] = 3
    result = run(recipe, data=ROWS, out=tmp_path / "run", progress=lines)
    folds = result.metrics["folds"]
    kept = [row for row in folds["scores"] if row["averaged_epochs"] == folds["taken"]["averaged_epochs"]]
    assert folds["taken"]["epochs"] == sorted(row["epochs"] for row in kept)[len(kept) // 2]
    assert any("3 trainings, one after the other: about 4 times as long as one split" in line for line in lines.told)
    with (result.folder / "history.csv").open() as file:
        assert {row["fold"] for row in csv.DictReader(file)} == {"1", "2", "3"}
    (prediction,) = load_model(result.folder).predict(["the film was lovely"])
    assert prediction.unlike is None  # features that learned have seen all there is


class Lines(Progress):
    """Progress that keeps what a person is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[str] = []

    def line(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(("count", "mean"), [(0, False), (2, False), (2, True)])
def test_epochs_that_are_taken_over_are_run_and_no_more(
    tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, mean: bool
) -> None:
    taken, fitted = folds_of_runs._taken, list[Fitted]()

    def fit_and_keep(plan: Plan) -> Fitted:
        fitted.append(fit(plan))
        return fitted[-1]

    monkeypatch.setattr(folds_of_runs, "_taken", lambda made: replace(taken(made), epochs=count, mean=mean))
    monkeypatch.setattr(transfer, "fit", fit_and_keep)
    recipe = recipe_of(tiny("bert"), strategy={"kind": "fine-tune", "unfreeze": 1}, train={"epochs": 3, "patience": 1})
    recipe["data"]["folds"] = 2
    run(recipe, data=ROWS, out=tmp_path / "run", progress=SILENT)
    history = fitted[-1].history
    assert len(history.rows) == count
    assert bool(history.mean) == mean
    assert mean or history.best_epoch == count


def test_groups_stay_together_and_are_scored_by_themselves(tiny: TinyModels, tmp_path: Path) -> None:
    result = probe(tiny, tmp_path / "run", data={"group_column": "site"})
    table, by = table_of(result), result.metrics["folds"]["by_groups"]
    assert len(set(zip(table["group"], table["fold"], strict=True))) == len(set(table["group"])) == 12
    right = np.array(table["label"]) == np.array(table["prediction"])
    means = [right[np.array(table["group"]) == name].mean() for name in sorted(set(table["group"]))]
    assert (by["column"], by["groups"], by["accuracy"]) == ("site", 12, pytest.approx(np.mean(means)))
    low, high = by["accuracy_interval"]
    assert low <= by["accuracy"] <= high
    text = show_run(result.folder)
    assert missing_words(text, ["4 folds, 96 examples each tested once", "Mean over the 12 groups of 'site'"]) == []


@pytest.mark.parametrize("kind", ["numbers", *slowly("several", "tags")])
def test_other_tasks_have_folds_too(tiny: TinyModels, tmp_path: Path, kind: str) -> None:
    task, rows = {
        "several": ("text-classification", [{"text": r["text"], "labels": labels_of(r)} for r in ROWS]),
        "numbers": ("text-regression", [{"text": r["text"], "score": len(r["text"])} for r in ROWS]),
        "tags": ("token-classification", [{"tokens": r["text"].split(), "tags": tags_of(r)} for r in ROWS]),
    }[kind]
    recipe = {**recipe_of(tiny("bert")), "task": task}
    result = run(recipe, data=rows, out=tmp_path / "run", progress=SILENT)
    table, metrics = table_of(result), result.metrics["test"]
    assert sorted(table["id"]) == sorted(f"row[{number}]" for number in range(96))
    model = load_model(result.folder)
    assert model.predict(["the film was lovely"])
    if kind == "several":
        assert set(model.facts.thresholds or ()) == {"film", "pos"}
    if kind == "numbers":
        inside = [
            low <= value <= high for low, value, high in zip(table["low"], table["value"], table["high"], strict=True)
        ]
        assert metrics["interval_coverage"] == pytest.approx(np.mean(inside))
        assert (model.facts.half_width or 0) > 0


def labels_of(row: dict[str, str]) -> list[str]:
    return [name for name, has in (("pos", row["label"] == "pos"), ("film", "film" in row["text"])) if has]


def tags_of(row: dict[str, str]) -> list[str]:
    return ["B-X" if word in ("film", "story", "actor") else "O" for word in row["text"].split()]


def test_runs_of_folds_are_listed_shown_and_compared(folded: Result) -> None:
    first = folded
    assert compare_runs(first.folder, first.folder).difference.examples == 96
    assert list_runs(first.folder.parent)[0].headline.endswith(", 4 folds")
    card = (first.folder / "model/README.md").read_text(encoding="utf-8")
    assert missing_words(card, ["Each was tested once, in 4 folds", "split: cross-validation"]) == []
    with pytest.raises(HftransferError, match="the model was trained on all examples of its run"):
        evaluate_model(str(first.folder), None, progress=SILENT)


def test_fit_takes_folds_too(tiny: TinyModels) -> None:
    model = ht.fit(
        "text-classification", model=str(tiny("bert")), train=ROWS, data={"folds": 3}, progress=SILENT, precision="fp32"
    )
    assert model.metrics["folds"]["count"] == 3
    assert model.metrics["examples"]["test"] == 96
    assert model.predict(["the film was lovely"])[0].label in WORDS


def test_what_is_frozen_is_computed_once(tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed, append = list[bytes](), activations._Shard.append

    def append_and_count(shard: Any, digests: Any, rows: Any) -> None:
        computed.extend(digests)
        append(shard, digests, rows)

    monkeypatch.setattr(activations._Shard, "append", append_and_count)
    for cache in ("auto", "off"):
        computed.clear()
        probe(tiny, tmp_path / cache, train={"cache": cache})
        assert len(computed) == len(set(computed)) == len({row["text"] for row in ROWS})


def test_given_splits_are_taken_together(tiny: TinyModels, tmp_path: Path) -> None:
    recipe, given = recipe_of(tiny("bert")), {"train": ROWS[:80], "test": ROWS[80:]}
    lines = Lines()
    result = run(recipe, data=given, out=tmp_path / "run", progress=lines)
    assert len(table_of(result)["id"]) == 96
    assert "the given splits (80 train, 16 test) are taken together" in "\n".join(lines.told)


@pytest.mark.parametrize(
    ("task", "data", "words"),
    [
        ("text-classification", {"folds": 1}, ["data.folds", "1"]),
        ("text-classification", {"folds": 21}, ["data.folds", "21"]),
        ("text-classification", {"shots": 4}, ["data.shots must be left out with data.folds"]),
        ("question-answering", {}, ["data.folds must be left out for task question-answering"]),
        ("text-generation", {}, ["data.folds must be left out for task text-generation"]),
    ],
)
def test_folds_that_can_not_be_are_told_early(
    tiny: TinyModels, task: str, data: dict[str, Any], words: list[str]
) -> None:
    recipe = {**recipe_of(tiny("bert"), data=data), "task": task}
    with pytest.raises(HftransferError) as error:
        check(recipe, data=ROWS, progress=SILENT)
    assert missing_words(faults_of(error), words) == []
