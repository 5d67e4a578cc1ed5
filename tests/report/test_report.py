"""Figures and tables for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hftransfer.data.rows import BytesContent, Row
from hftransfer.data.splits import Skipped, Split, Splits
from hftransfer.report.figures import draw_confusion_matrix, draw_examples, draw_mistakes
from hftransfer.report.tables import data_table, results_table
from tests.builders import encoded, missing_words, picture

HOSTILE = ["$x^2$", "a_b", "名前", "\\frac", "<b>", "", "x" * 80, "$", "line\nbreak"]


def rows_of(count: int, size: tuple[int, int] = (30, 20)) -> list[Row]:
    return [Row(f"{i}.png", BytesContent(encoded(picture(seed=i, size=size))), "x") for i in range(count)]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return image.size


@pytest.mark.parametrize("classes", [2, 7, 40, 120])
def test_the_confusion_matrix_is_drawn_for_few_and_many_classes(classes, tmp_path):
    matrix = np.random.default_rng(0).integers(0, 9, (classes, classes)).tolist()
    draw_confusion_matrix(tmp_path / "x.png", matrix, [f"class {i}" for i in range(classes)])
    width, height = size_of(tmp_path / "x.png")
    assert 300 < width < 3000
    assert 300 < height < 3000


def test_names_of_any_kind_can_be_drawn(tmp_path):
    matrix = np.eye(len(HOSTILE), dtype=int).tolist()
    draw_confusion_matrix(tmp_path / "matrix.png", matrix, HOSTILE)
    rows = rows_of(len(HOSTILE))
    labels = np.arange(len(HOSTILE))
    draw_examples(tmp_path / "examples.png", rows, labels, HOSTILE)
    probabilities = np.roll(np.eye(len(HOSTILE)), 1, axis=1)
    draw_mistakes(tmp_path / "mistakes.png", rows, labels, probabilities, HOSTILE)
    assert all(min(size_of(tmp_path / f"{name}.png")) > 200 for name in ("matrix", "examples", "mistakes"))


def test_a_matrix_of_nothing_can_be_drawn(tmp_path):
    draw_confusion_matrix(tmp_path / "x.png", [[0, 0], [0, 0]], ["a", "b"])
    assert size_of(tmp_path / "x.png")


@pytest.mark.parametrize("wrong", [0, 1, 30])
def test_mistakes_are_drawn_however_many_there_are(wrong, tmp_path):
    labels = np.zeros(40, dtype=int)
    probabilities = np.tile([0.8, 0.2], (40, 1))
    probabilities[:wrong] = [0.1, 0.9]
    draw_mistakes(tmp_path / "x.png", rows_of(40), labels, probabilities, ["cat", "dog"])
    assert min(size_of(tmp_path / "x.png")) > 200
    assert max(size_of(tmp_path / "x.png")) < 3000


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_examples_are_drawn_however_many_there_are(count, tmp_path):
    labels = np.arange(count) % 2
    draw_examples(tmp_path / "x.png", rows_of(count), labels, ["cat", "dog"])
    assert min(size_of(tmp_path / "x.png")) > 200
    assert max(size_of(tmp_path / "x.png")) < 3000


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (900, 700)])
def test_images_of_any_shape_can_be_drawn(size, tmp_path):
    draw_examples(tmp_path / "x.png", rows_of(2, size), np.array([0, 1]), ["cat", "dog"])
    assert size_of(tmp_path / "x.png")


def splits_of(counts: dict[str, list[int]], names: tuple[str, ...], **more: Any) -> Splits:
    parts: dict[str, Any] = {}
    for split, numbers in counts.items():
        labels = np.repeat(np.arange(len(numbers)), numbers)
        parts[split] = Split([Row("x", BytesContent(b""), "x")] * len(labels), labels, [b""] * len(labels))
    return Splits(**parts, class_names=names, **more)


def test_the_data_are_told_as_classes_by_splits():
    counts = {"train": [10, 200], "validation": [3, 4], "test": [0, 7]}
    table = data_table(splits_of(counts, ("cat", "dog"), notes=("warning: x",)), "images").splitlines()
    assert [line.split() for line in table] == [
        ["class", "train", "validation", "test"],
        ["cat", "10", "3", "0"],
        ["dog", "200", "4", "7"],
        ["all", "210", "7", "7"],
        ["warning:", "x"],
    ]
    assert len({len(line) for line in table[:4]}) == 1


def test_many_classes_are_shortened():
    table = data_table(
        splits_of(dict.fromkeys(("train", "validation", "test"), [1] * 50), tuple(map(str, range(50)))), "images"
    )
    assert "… 30 more" in table
    assert len(table.splitlines()) == 23


def test_skipped_images_are_counted():
    skipped = (Skipped("train", "a.png", "broken"),) * 3
    table = data_table(
        splits_of({"train": [2, 2], "validation": [1, 1], "test": [1, 1]}, ("a", "b"), skipped=skipped), "images"
    )
    assert "unreadable and skipped: 3 (a.png, a.png, a.png)" in table


def test_results_say_what_was_measured_and_where_it_lies(finished):
    result = finished("vit")
    text = results_table(result.metrics, result.folder)
    words = (
        "accuracy",
        "balanced accuracy",
        "expected calibration error",
        "36 train, 15 validation, 18 test",
        "99 trained of",
        "MiB",
        f"{result.folder}/model ",
        f"{result.folder}/predictions.parquet",
    )
    assert missing_words(text, words) == []
    assert "confusion" not in text
