"""Rows of one group stay together: held out, dealt to folds, and told where given splits share them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.folds import in_folds, splits_of_fold
from hftransfer.data.groups import folds_of, hold_out_groups
from hftransfer.data.label_sets import LABEL_SETS
from hftransfer.data.rows import Row, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import Splits, build_splits
from hftransfer.data.targets import CLASSES
from hftransfer.data.texts import TEXTS
from hftransfer.tasks import TASKS
from tests.builders import faults_of, missing_words, picture


def rows_in(groups: Any, labels: Any) -> list[Row]:
    pairs = enumerate(zip(groups, labels, strict=True))
    return [Row(f"row {n}", TextContent(f"text {n}"), label, group=group) for n, (group, label) in pairs]


def drawn(groups: int, rows: int, classes: int, seed: int = 0) -> list[Row]:
    """Rows whose class depends on their group in part."""
    random = np.random.default_rng(seed)
    own, usual = random.integers(0, groups, rows), random.integers(0, classes, groups)
    labels = np.where(random.random(rows) < 0.6, usual[own], random.integers(0, classes, rows))
    return rows_in([f"g{group}" for group in own], [f"c{label}" for label in labels])


def unevenness(rows: list[Row], folds: Any) -> float:
    """The sum over folds and classes of the squared distance from a fold's share of the class."""
    all_of, found = Counter(row.target for row in rows), 0.0
    for fold in range(5):
        own = Counter(row.target for row, place in zip(rows, folds, strict=True) if place == fold)
        found += sum((own[label] - count / 5) ** 2 for label, count in all_of.items())
    return found


@pytest.mark.parametrize(("groups", "count", "classes"), [(40, 800, 2), (12, 300, 3), (200, 2000, 10)])
def test_folds_keep_groups_whole_and_are_as_even_as_scikit_learns(groups: int, count: int, classes: int) -> None:
    rows = drawn(groups, count, classes)
    folds = folds_of(rows, 5, 0, CLASSES)
    assert len({(row.group, fold) for row, fold in zip(rows, folds, strict=True)}) == len({row.group for row in rows})
    labels, names = [row.target for row in rows], [row.group for row in rows]
    theirs = np.zeros(len(rows))
    oracle = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for fold, (_, test) in enumerate(oracle.split(labels, labels, names)):
        theirs[test] = fold
    assert unevenness(rows, folds) <= 1.5 * unevenness(rows, theirs)
    assert folds == folds_of(rows, 5, 0, CLASSES)
    assert groups < 40 or folds != folds_of(rows, 5, 1, CLASSES)
    order = np.random.default_rng(1).permutation(len(rows))
    again = folds_of([rows[place] for place in order], 5, 0, CLASSES)
    assert [folds[place] for place in order] == again  # the deal rests on groups, not on the order of rows


def test_folds_without_groups_are_as_even_as_they_can_be() -> None:
    rows = rows_in([None] * 103, np.random.default_rng(0).choice(["a", "b", "c"], 103, p=[0.7, 0.2, 0.1]))
    folds = np.array(folds_of(rows, 5, 3, CLASSES))
    sizes = np.bincount(folds)
    assert np.ptp(sizes) <= 1
    for label in "abc":
        own = np.array([row.target == label for row in rows])
        assert np.ptp(np.bincount(folds[own], minlength=5)) <= 1
    theirs = np.zeros(103)
    for fold, (_, test) in enumerate(StratifiedKFold(5).split(rows, [row.target for row in rows])):
        theirs[test] = fold
    assert unevenness(rows, folds) == pytest.approx(unevenness(rows, theirs))


def test_folds_of_several_labels_are_stratified_by_each() -> None:
    random = np.random.default_rng(0)
    names = np.array(["a", "b", "rare"])
    chosen = [tuple(names[random.random(3) < (0.5, 0.3, 0.05)]) for _ in range(400)]
    folds = np.array(folds_of(rows_in([None] * 400, chosen), 5, 0, LABEL_SETS))
    assert np.ptp(np.bincount(folds)) <= 1
    for name in names:
        own = np.array([name in labels for labels in chosen])
        assert np.ptp(np.bincount(folds[own], minlength=5)) <= 2


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_held_out_groups_are_whole_and_about_the_share(fraction: float) -> None:
    rows = drawn(40, 800, 3)
    kept, held = hold_out_groups(rows, fraction, 0, "test", CLASSES)
    assert not {row.group for row in kept} & {row.group for row in held}
    assert len(held) / 800 == pytest.approx(fraction, abs=0.03)
    both = Counter(row.target for row in rows), Counter(row.target for row in held)
    for label in both[0]:
        assert both[1][label] / both[0][label] == pytest.approx(fraction, abs=0.06)


# --- as people give them ---------------------------------------------------------------------------------------------


def table(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def patients(groups: int = 12, each: int = 5) -> list[dict[str, Any]]:
    return [
        {"text": f"note {group} {number}", "label": ("ill", "well")[(group + number) % 2], "patient": group}
        for group in range(groups)
        for number in range(each)
    ]


def built(found: Any, **settings: Any) -> Splits:
    return build_splits(found, DataSettings(source="x", group_column="patient", **settings), 0, Progress(None), TEXTS)


def told(data: object, **settings: Any) -> str:
    own = DataSettings(**{"source": "x", "group_column": "patient", **settings})
    with pytest.raises(DataError) as error:
        build_splits(rows_from_python(data, own, TEXTS), own, 0, Progress(None), TEXTS)
    return faults_of(error)


@pytest.mark.parametrize("form", ["csv", "dicts", "frame", "dataset"])
def test_every_table_keeps_its_groups_apart(tmp_path: Path, form: str) -> None:
    records = patients()
    settings = DataSettings(source=str(tmp_path / "notes.csv"), group_column="patient")
    if form == "csv":
        pd.DataFrame(records).to_csv(tmp_path / "notes.csv", index=False)
        found = find_rows(settings, Progress(None), TEXTS)
    else:
        makes = {"dicts": list, "frame": pd.DataFrame, "dataset": datasets.Dataset.from_list}
        found = rows_from_python(makes[form](records), settings, TEXTS)
    splits = built(found)
    groups = {name: {row.group for row in split.rows} for name, split in splits.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 12
    assert missing_words("\n".join(splits.notes), ["test: 20%", "whole groups of 'patient'", "validation: 15%"]) == []


def test_a_table_beside_images_says_their_groups(tmp_path: Path) -> None:
    lines = ["file_name,label,site"]
    for number in range(24):
        picture("red", number).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},{number // 4}")
    table(tmp_path / "metadata.csv", lines)
    found = find_rows(DataSettings(source=str(tmp_path), group_column="site"), Progress(None))
    assert [row.group for row in found["all"]] == [str(number // 4) for number in range(24)]
    task = TASKS["image-classification"]
    splits = task.split(found, DataSettings(source="x", group_column="site"), 0, Progress(None))
    groups = [{row.group for row in split.rows} for _, split in splits.items()]
    assert sum(map(len, groups)) == 6


def test_folders_of_classes_have_no_columns(flat_data: Path) -> None:
    with pytest.raises(DataError) as error:
        find_rows(DataSettings(source=str(flat_data), group_column="site"), Progress(None))
    assert missing_words(faults_of(error), ["data.group_column", "'site'", "metadata.csv"]) == []


def test_what_is_wrong_with_groups_is_told() -> None:
    records = patients()
    words = ["data.group_column must be a column of the data", "'patent'", "Did you mean 'patient'?"]
    assert missing_words(told(records, group_column="patent"), words) == []
    missing = [*records[:3], {**records[3], "patient": None}, {**records[4], "patient": " "}, *records[5:]]
    words = ["row[3]: column 'patient' must be the group of the row; got nothing", "row[4]"]
    assert missing_words(told(missing), words) == []
    few = told([{**one, "patient": one["patient"] % 2} for one in records])
    assert missing_words(few, ["at least 3 groups", "train, test, validation", "got 0, 1"]) == []
    alone = told([*records, *({"text": f"t {n}", "label": "rare", "patient": 3} for n in range(4))])
    assert missing_words(alone, ["the class 'rare'", "two groups", "group '3' alone (4 rows)"]) == []
    tuples = told([(one["text"], one["label"]) for one in records])
    assert "data.group_column must be a column of the data (text, label)" in tuples


def test_rows_without_a_group_are_left_out_where_that_is_asked_for() -> None:
    records = patients()
    records[3]["patient"] = None
    settings = DataSettings(source="x", group_column="patient", on_error="skip")
    found = rows_from_python(pd.DataFrame(records), settings, TEXTS)
    assert [one.id for one in found.left_out] == ["row[3]"]
    assert found["all"][0].group == "0"  # a missing cell makes fractions of the others, which are no other groups


def test_given_splits_that_share_groups_are_a_leak() -> None:
    records = patients()
    given = {"train": records[:40], "validation": records[40:50], "test": [*records[50:], *records[:2]]}
    given["test"][-1] = {**given["test"][-1], "text": "another"}
    splits = built(rows_from_python(given, DataSettings(source="x", group_column="patient"), TEXTS))
    leak = [note for note in splits.notes if "'patient'" in note]
    words = ["warning: 1 group of 'patient' (0) is in both train and test", "2 of 12 test rows", "test[10]"]
    assert len(leak) == 1
    assert missing_words(leak[0], words) == []


# --- folds -----------------------------------------------------------------------------------------------------------


def folded(rows: list[Row], **settings: Any) -> tuple[Splits, DataSettings]:
    own = DataSettings(source="x", **{"folds": 4, **settings})
    empty = {"test_fraction": 0.0, "validation_fraction": 0.0}
    whole = build_splits({"train": rows}, own.model_copy(update=empty), 0, Progress(None), TEXTS)
    return in_folds(whole, own, 0), own


def test_every_example_is_tested_once_and_groups_are_never_parted() -> None:
    rows = drawn(24, 300, 2)
    whole, settings = folded(rows, group_column="patient")
    tested: list[str] = []
    for fold in range(4):
        splits = splits_of_fold(whole, fold, settings, 0)
        groups = [{row.group for row in split.rows} for _, split in splits.items()]
        assert sum(map(len, groups)) == len(set().union(*groups)) == len({row.group for row in rows})
        assert sum(splits.sizes().values()) == 300
        tested += [row.id for row in splits.test.rows]
    assert sorted(tested) == sorted(row.id for row in rows)
    assert "24 whole groups of 'patient'" in whole.notes[-1]
    assert whole.fingerprint() != folded(rows, folds=3)[0].fingerprint()


def test_what_is_wrong_with_folds_is_told() -> None:
    def fault(rows: list[Row], **settings: Any) -> str:
        with pytest.raises(DataError) as error:
            folded(rows, **settings)
        return faults_of(error)

    groups = fault(rows_in([f"g{n % 3}" for n in range(30)], ["a", "b"] * 15), group_column="patient")
    assert "data.folds must be at most 3, the number of groups; got 4" in groups
    alone = rows_in([None] * 21, ["a", "b"] * 10 + ["c"])
    assert "the class 'c' must be in at least two rows, to be both trained on and tested; got one row" in fault(alone)
    copies = [Row(f"row {n}", TextContent(f"text {n % 10}"), "ab"[n % 2]) for n in range(40)]
    assert "in another fold too (such as row 1" in folded(copies)[0].notes[-1]
