"""What the best constant answer reaches, beside scikit-learn's dummies and every constant answer there is."""

from __future__ import annotations

import random
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.dummy import DummyClassifier, DummyRegressor

from hftransfer.data.label_sets import LABEL_SETS
from hftransfer.data.splits import Split
from hftransfer.metrics.entities import score_tags
from hftransfer.metrics.multi_label import f1_of_rows
from hftransfer.metrics.spans import score_spans
from hftransfer.tasks import TASKS, head_task
from hftransfer.tasks.contract import Task
from hftransfer.tasks.shown import Chance


def _split(targets: Any) -> Split:
    rows: Any = [None] * len(targets)
    return Split(rows, targets, [b""] * len(targets))


def _chance(task: Task, name: str, targets: Any, names: Any = (), judged: Any = None) -> Chance:
    metric = next(metric for metric in task.metrics if metric.name == name)
    found = task.chance(metric, judged or {}, _split(targets), names)
    assert found is not None
    return found


def test_of_classes_it_is_the_most_frequent_one() -> None:
    labels = np.random.default_rng(0).choice(3, 50, p=[0.2, 0.5, 0.3])
    blank = np.zeros((50, 1))
    dummy = DummyClassifier(strategy="most_frequent").fit(blank, labels)
    found = _chance(TASKS["text-classification"], "accuracy", labels, ["a", "b", "c"])
    assert found.score == pytest.approx(dummy.score(blank, labels))
    assert found.words == "always answering 'b'"
    own = TASKS["text-classification"]
    assert own.chance(own.headline, {}, _split(labels[:0]), ["a", "b", "c"]) is None


@pytest.mark.parametrize("seed", range(4))
def test_of_several_labels_no_constant_answer_is_better(seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels = (draw.random((30, 5)) < draw.random(5) * 0.9).astype(np.uint8)
    labels[:, -1] = seed % 2 and labels[:, -1]
    task, names = head_task("image-classification").for_targets(LABEL_SETS), list("abcde")
    blank, rows = np.zeros((30, 1)), np.ones_like(labels)
    answers = [np.broadcast_to(np.array(one, dtype=np.uint8), labels.shape) for one in product((0, 1), repeat=5)]
    macro = _chance(task, "macro_f1", labels, names)
    assert macro.words == "always giving all 5 labels"
    all_of_them = rows  # scikit-learn's dummy takes no constant that no row has: the same by hand
    assert macro.score == pytest.approx(oracle.f1_score(labels, all_of_them, average="macro", zero_division=0))
    assert macro.score == pytest.approx(
        max(oracle.f1_score(labels, given, average="macro", zero_division=0) for given in answers)
    )
    some = labels[:, (labels.min(axis=0) == 0) & (labels.max(axis=0) == 1)]
    dummy = DummyClassifier(strategy="constant", constant=np.ones(some.shape[1])).fit(blank, some)
    expected = oracle.f1_score(some, dummy.predict(blank), average="macro")
    assert _chance(task, "macro_f1", some, names[: some.shape[1]]).score == pytest.approx(expected)
    of_rows = _chance(task, "example_f1", labels, names)
    assert of_rows.score == pytest.approx(max(f1_of_rows(labels, given).mean() for given in answers))


def test_of_rows_without_a_label_it_may_be_none() -> None:
    task = head_task("image-classification").for_targets(LABEL_SETS)
    labels = np.array([[0, 0], [0, 0], [0, 0], [1, 0]], dtype=np.uint8)
    assert _chance(task, "example_f1", labels, ["a", "b"]) == Chance(0.75, "always giving no label")
    assert _chance(task, "example_f1", labels[2:], ["a", "b"]).score == 0.5


@pytest.mark.parametrize("names", [("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), ("NOUN", "VERB", "O")])
@pytest.mark.parametrize("seed", range(3))
def test_of_tags_no_constant_tag_is_better(names: tuple[str, ...], seed: int) -> None:
    draw, task = random.Random(seed), TASKS["token-classification"]
    ids = [[draw.randrange(len(names)) for _ in range(draw.randrange(1, 9))] for _ in range(40)]
    gold = [[names[tag] for tag in own] for own in ids]
    plain = "NOUN" in names
    best = max(score_tags(gold, [[tag] * len(own) for own in gold], plain=plain)["f1"] for tag in names)
    found = _chance(task, "f1", ids, names)
    assert found.score == pytest.approx(best)
    tag = found.words.split("'")[1]
    assert score_tags(gold, [[tag] * len(own) for own in gold], plain=plain)["f1"] == pytest.approx(best)


def test_where_no_entity_has_one_word_it_is_nothing() -> None:
    names = ("O", "B-PER", "I-PER")
    assert _chance(TASKS["token-classification"], "f1", [[1, 2, 0]], names) == Chance(0.0, "tagging every word 'O'")


def test_of_questions_it_is_that_there_is_no_answer() -> None:
    task = TASKS["question-answering"]
    answers: list[Any] = [(), ("Ann",), ()]
    wanted = score_spans(["", "", ""], cast(Any, answers))["f1"]
    assert _chance(task, "f1", answers).score == pytest.approx(wanted)
    assert task.chance(task.headline, {}, _split([("Ann",)]), ()) is None


def test_of_masks_it_is_the_most_frequent_class_in_every_pixel() -> None:
    task, truth = TASKS["image-segmentation"], np.random.default_rng(1).choice(3, 200, p=[0.6, 0.3, 0.1])
    judged = {"pixel_confusion": [[int((truth == place).sum()), 0, 0, 0] for place in range(4)]}
    found = _chance(task, "mean_iou", [None], ["ground", "cat", "dog", "bird"], judged)
    expected = oracle.jaccard_score(truth, np.zeros_like(truth), average="macro", labels=[0, 1, 2])
    assert found.score == pytest.approx(expected)
    assert found.words == "'ground' in every pixel"


def test_of_numbers_it_is_the_mean() -> None:
    values = np.random.default_rng(2).normal(3, 2, 40)
    blank = np.zeros((40, 1))
    found = _chance(TASKS["text-regression"], "r2", values)
    assert found.score == pytest.approx(DummyRegressor().fit(blank, values).score(blank, values))
