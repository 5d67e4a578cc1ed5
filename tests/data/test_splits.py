"""From rows to training, validation and test examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.dialogues import COMPLETIONS, Dialogue, Turn
from hftransfer.data.label_sets import LABEL_SETS
from hftransfer.data.rows import BytesContent, FileContent, Row, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows
from hftransfer.data.splits import Splits, build_splits, split_rows
from hftransfer.data.targets import CLASSES
from hftransfer.data.texts import TEXTS
from tests.builders import encoded, faults_of, missing_words, picture, write_classes


def rows_named(sizes: dict[str, int], color: str = "red", first: int = 0) -> list[Row]:
    """Rows of distinct small images, classes interleaved."""
    most = max(sizes.values())
    order = [(label, number) for number in range(most) for label, size in sizes.items() if number < size]
    return [
        Row(f"{label}/{number}", BytesContent(encoded(picture(color, first + place, (4, 4)))), label)
        for place, (label, number) in enumerate(order)
    ]


def built(found: Any, seed: int = 0, **settings: Any) -> Splits:
    return build_splits(found, DataSettings(source="memory", **settings), seed, Progress(None))


def ids(splits: Splits) -> dict[str, list[str]]:
    return {name: [row.id for row in split.rows] for name, split in splits.items()}


def told(found: Any, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        built(found, **settings)
    return faults_of(error)


# --- holding out -----------------------------------------------------------------------------------------------------


def test_many_different_numbers_are_told_to_be_no_classes() -> None:
    rows = [Row(f"{place}", TextContent(f"a text {place}"), f"{place / 3:.3f}") for place in range(40)]
    with pytest.raises(DataError, match=r"got 40 different numbers\. To predict numbers, use task: image-regression"):
        CLASSES.hold_out(rows, 0.2, 0, "test")


def test_held_out_parts_are_stratified_disjoint_and_whole():
    rows = rows_named({"a": 60, "b": 30, "c": 10})
    parts, notes = split_rows({"all": rows}, DataSettings(source="x", test_fraction=0.2, validation_fraction=0.25), 0)
    counts = {name: Counter(row.target for row in part) for name, part in parts.items()}
    assert counts["test"] == {"a": 12, "b": 6, "c": 2}
    assert counts["validation"] == {"a": 12, "b": 6, "c": 2}
    assert counts["train"] == {"a": 36, "b": 18, "c": 6}
    together = [row.id for part in parts.values() for row in part]
    assert sorted(together) == sorted(row.id for row in rows)
    assert missing_words("\n".join(notes), ("test: 20%", "validation: 25%", "stratified, seed 0")) == []


def test_rows_keep_their_order_in_every_part():
    rows = rows_named({"a": 20, "b": 20})
    place = {row.id: number for number, row in enumerate(rows)}
    for part in ids(built({"all": rows})).values():
        assert [place[name] for name in part] == sorted(place[name] for name in part)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    rows = rows_named({"a": 20, "b": 20})
    assert ids(built({"all": rows}, seed=1)) == ids(built({"all": rows}, seed=1))
    assert ids(built({"all": rows}, seed=1))["test"] != ids(built({"all": rows}, seed=2))["test"]


def test_adding_a_class_leaves_the_split_of_the_others_alone():
    rows = rows_named({"a": 20, "b": 20})
    before = ids(built({"all": rows}))["test"]
    after = ids(built({"all": rows + rows_named({"c": 20}, "blue")}))["test"]
    assert [name for name in after if not name.startswith("c")] == before


def test_test_and_validation_are_not_held_out_alike():
    parts = ids(built({"all": rows_named({"a": 40, "b": 40})}, test_fraction=0.5, validation_fraction=0.5))
    numbers = {name: sorted(int(part.split("/")[1]) for part in parts[name]) for name in ("test", "train")}
    assert numbers["test"] != numbers["train"]


def test_splits_that_are_given_are_used_as_they_are():
    given = {
        name: rows_named({"a": 3, "b": 2}, first=100 * i) for i, name in enumerate(("train", "validation", "test"))
    }
    splits = built(given)
    assert ids(splits) == {name: [row.id for row in part] for name, part in given.items()}
    assert splits.notes == ()


def test_drafts_are_told():
    notes = built({"all": rows_named({"a": 10, "b": 10})}, decode="draft").notes
    assert missing_words("\n".join(notes), ("read as drafts (data.decode)",)) == []


def test_only_the_missing_split_is_held_out():
    given = {"train": rows_named({"a": 20, "b": 20}), "test": rows_named({"a": 3, "b": 3}, "blue")}
    splits = built(given)
    assert splits.sizes() == {"train": 34, "validation": 6, "test": 6}
    assert len(splits.notes) == 1


def test_rare_classes_are_stratified_too():
    splits = built({"all": rows_named({"common": 297, "rare": 3})}, test_fraction=0.2, validation_fraction=0.3)
    assert all(min(counts) >= 1 for counts in splits.counts().values())


def test_a_fraction_that_leaves_a_class_out_is_told_with_one_that_does_not():
    text = told({"all": rows_named({"a": 100, "b": 8})}, validation_fraction=0.05)
    words = ("data.validation_fraction", "(class 'b' has 6)", "got 0.05", "Choose one between")
    assert missing_words(text, words) == []


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_fraction_may_be_too_small_or_too_large(fraction):
    words = ("data.test_fraction", "examples of each class in both parts", f"got {fraction}")
    assert missing_words(told({"all": rows_named({"a": 9, "b": 9})}, test_fraction=fraction), words) == []


@pytest.mark.parametrize("members", [*range(3, 40), 66, 100, 101, 333, 1000])
def test_the_fractions_that_the_message_names_work(members):
    rows = [Row(f"{label}{number}", FileContent, label) for label in "ab" for number in range(members)]  # type: ignore[arg-type]
    given = {"train": rows, "validation": rows}
    with pytest.raises(DataError) as error:
        split_rows(given, DataSettings(source="x", test_fraction=1e-6), 0)
    low, high = faults_of(error).splitlines()[0].rsplit("between ", 1)[1].rstrip(".").split(" and ")
    for fraction in (float(low), float(high)):
        parts, _ = split_rows(given, DataSettings(source="x", test_fraction=fraction), 0)
        assert all(len({row.target for row in part}) == 2 for part in parts.values())


def test_a_class_with_one_example_is_told():
    text = told({"all": rows_named({"a": 20, "b": 1})})
    words = ("data.test_fraction", "(class 'b' has 1)", "Add examples of this class, remove it, or give a test split")
    assert missing_words(text, words) == []


def test_a_limit_takes_the_first_of_each_class_in_each_split():
    given = {
        name: rows_named({"a": 6, "b": 4}, first=100 * i) for i, name in enumerate(("train", "validation", "test"))
    }
    splits = built(given, limit=2)
    assert all(part == ["a/0", "b/0", "a/1", "b/1"] for part in ids(splits).values())


# --- classes ---------------------------------------------------------------------------------------------------------


def test_class_names_stand_in_natural_order():
    names = ["10", "9", "2", "b", "B", "a"]
    splits = built({"all": rows_named(dict.fromkeys(names, 10))})
    assert splits.class_names == ("2", "9", "10", "B", "a", "b")


def test_class_ids_come_from_training_alone():
    given = {
        "train": rows_named({"cat": 4, "dog": 4}),
        "validation": rows_named({"dog": 2}, first=50),
        "test": rows_named({"dog": 3}, first=90),
    }
    splits = built(given)
    assert splits.class_names == ("cat", "dog")
    assert splits.test.class_ids.tolist() == [1, 1, 1]
    assert splits.validation.class_ids.tolist() == [1, 1]
    assert splits.counts() == {"train": [4, 4], "validation": [0, 2], "test": [0, 3]}


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_class_only_in_another_split_is_told(split):
    given = {
        "train": rows_named({"cat": 4, "dog": 4}),
        split: rows_named({"cat": 2, "dgo": 3, "emu": 1}, first=50),
    }
    words = (
        f"the class 'dgo' of the {split} split (3 examples) must be one of the training split's classes",
        "Did you mean 'dog'?",
        f"the class 'emu' of the {split} split (1 examples)",
    )
    assert missing_words(told(given, test_fraction=0.3, validation_fraction=0.3), words) == []


def test_one_class_is_told():
    text = told({"all": rows_named({"cat": 9})})
    words = ("the training data must be of two or more classes; got one class, 'cat'", "at least two classes")
    assert missing_words(text, words) == []


def test_data_without_training_part_is_told():
    assert "must be a set with a train split; got test" in told({"test": rows_named({"a": 3, "b": 3})})


# --- unreadable images -----------------------------------------------------------------------------------------------


def damaged(count: int, whole: int = 100) -> dict[str, list[Row]]:
    rows = rows_named({"a": whole // 2, "b": whole // 2})
    for number in range(count):
        rows[number] = Row(f"bad/{number}.jpg", BytesContent(b"no image"), rows[number].target)
    return {"train": rows, "validation": rows_named({"a": 2, "b": 2}, first=500), "test": rows_named({"a": 2, "b": 2})}


def test_unreadable_images_stop_and_are_named():
    text = told(damaged(2))
    assert (
        missing_words(text, ("bad/0.jpg must be an image", "bad/1.jpg must be an image", "data.on_error: skip")) == []
    )


def test_of_many_unreadable_images_ten_are_named():
    assert told(damaged(14)).count("must be an image") == 10
    assert "… and 4 more such rows" in told(damaged(14))


def test_unreadable_images_may_be_skipped_and_are_listed():
    splits = built(damaged(5), on_error="skip")
    assert splits.sizes() == {"train": 95, "validation": 4, "test": 4}
    assert [(entry.split, entry.id) for entry in splits.skipped] == [("train", f"bad/{i}.jpg") for i in range(5)]
    assert all("must be an image" in entry.reason for entry in splits.skipped)
    assert len(splits.train.targets) == len(splits.train.digests) == 95


def test_at_most_five_percent_may_be_skipped():
    text = told(damaged(6), on_error="skip")
    assert missing_words(text, ("at most 5% of all rows; got 6 of 108", "bad/0.jpg")) == []


def test_a_class_of_only_unreadable_images_is_told():
    found = damaged(0, whole=200)
    found["train"].append(Row("c/0", BytesContent(b""), "c"))
    assert missing_words(told(found, on_error="skip"), ("readable images of every class", "none of c")) == []


def test_a_missing_file_is_told(tmp_path):
    found = damaged(0)
    found["test"].append(Row("gone.png", FileContent(tmp_path / "gone.png"), "a"))
    assert "gone.png must be a readable file; got No such file or directory" in told(found)


# --- what the data are -----------------------------------------------------------------------------------------------


def test_images_in_two_splits_are_noted():
    train = rows_named({"a": 4, "b": 4})
    splits = built({"train": train, "validation": rows_named({"a": 2, "b": 2}, "blue"), "test": [train[0], train[3]]})
    assert [note for note in splits.notes if note.startswith("warning")] == [
        "warning: 2 images are in both train and test (such as a/0)"
    ]


def test_one_content_with_two_labels_is_noted():
    train = rows_named({"a": 4, "b": 4})
    train += [replace(train[0], id="copy", target="b"), replace(train[0], id="same")]
    notes = built({"train": train, "validation": rows_named({"a": 2, "b": 2}, "blue")}, test_fraction=0).notes
    assert [note for note in notes if note.startswith("warning")] == [
        "warning: 1 image has rows with different labels (such as a/0 and copy)"
    ]


@pytest.mark.parametrize(("other", "warnings"), [(("y", "x"), 0), (("x",), 1), ((), 1)])
def test_one_text_with_two_sets_of_labels_is_noted(other, warnings):
    rows = [Row(str(place), TextContent(f"text {place}"), ("x", "y")[: 1 + place % 2]) for place in range(40)]
    rows.append(Row("copy", rows[1].content, other))
    notes = build_splits({"train": rows}, DataSettings(source="memory"), 0, Progress(None), TEXTS, LABEL_SETS).notes
    assert sum("1 text has rows with different labels (such as" in note for note in notes) == warnings


def test_the_fingerprint_knows_content_label_and_split_but_not_order(tmp_path):
    train, validation = rows_named({"a": 4, "b": 4}), rows_named({"a": 2, "b": 2}, "blue")
    test = rows_named({"a": 2, "b": 2}, "green")
    given = {"train": train, "validation": validation, "test": test}
    original = built(given).fingerprint()
    assert built(given | {"train": train[::-1]}).fingerprint() == original
    renamed = [Row("other/name", row.content, row.target) for row in train]
    assert built(given | {"train": renamed}).fingerprint() == original
    changed = {
        "content": {"train": [Row("a/0", BytesContent(encoded(picture("sand"))), "a"), *train[1:]]},
        "label": {"train": [Row("a/0", train[0].content, "b"), *train[1:]]},
        "split": {"train": train[1:], "test": [train[0], *test]},
        "less": {"train": train[1:]},
        "names": {name: [Row(r.id, r.content, r.target * 2) for r in rows] for name, rows in given.items()},
    }
    prints = {name: built(given | change).fingerprint() for name, change in changed.items()}
    assert original not in prints.values()
    assert len(set(prints.values())) == len(prints)


def test_a_folder_on_disk_becomes_splits(tmp_path):
    write_classes(tmp_path, {"red": 10, "blue": 10})
    settings = DataSettings(source=str(tmp_path))
    splits = build_splits(find_rows(settings, Progress(None)), settings, 0, Progress(None))
    assert splits.class_names == ("blue", "red")
    assert splits.sizes() == {"train": 14, "validation": 2, "test": 4}
    assert all(len(digest) == 16 for digest in splits.train.digests)
    assert splits.train.class_ids.dtype == np.int64


@pytest.mark.parametrize(
    ("count", "settings", "words"),
    [
        (1, {}, "at least 3 rows, one each for train, test and validation; got 1 row: 1 for train, 0 for test, 0 for"),
        (
            2,
            {},
            "got 2 rows: 1 for train, 1 for test, 0 for validation. Add rows, or give a test file and a validation",
        ),
        (1, {"test_fraction": 0}, "at least 2 rows, one each for train and validation; got 1 row"),
        (3, {"validation_fraction": 0.9}, "got 3 rows: 2 for train, 1 for test, 0 for validation. Add rows, or set"),
    ],
)
def test_rows_too_few_for_their_splits_are_counted(count, settings, words):
    rows = [Row(str(place), Dialogue((Turn("", f"text {place}"),)), ()) for place in range(count)]
    with pytest.raises(DataError) as caught:
        split_rows({"all": rows}, DataSettings(source="x", **settings), 0, COMPLETIONS)
    assert words in str(caught.value)
    assert ("data.test_fraction: 0." in str(caught.value)) == (not settings)


def test_three_rows_are_one_of_each_split():
    rows = [Row(str(place), Dialogue((Turn("", f"text {place}"),)), ()) for place in range(3)]
    parts, _ = split_rows({"all": rows}, DataSettings(source="x"), 0, COMPLETIONS)
    assert {name: len(part) for name, part in parts.items()} == {"train": 1, "validation": 1, "test": 1}
