#!/usr/bin/env bash
# datasets 5.2.0, 2026-11-30: a cast to classes in another order swaps the classes.
#
# Guess: cast_column from ClassLabel(["cat", "dog"]) to ClassLabel(["dog", "cat"]) keeps each row's class and gives it its
# new number, as the cast from strings does. Seen: the numbers stay, so that cats become dogs, and nothing tells. Joining
# two data sets with unlike orders raises an error about their features. A cast, the way out that offers itself, mixes them up.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W error - <<'PY'
import datasets

datasets.disable_progress_bars()
order, other = datasets.ClassLabel(names=["cat", "dog"]), datasets.ClassLabel(names=["dog", "cat"])
words = datasets.Dataset.from_dict({"class": ["cat", "cat", "dog"]})


def told(rows: datasets.Dataset | datasets.IterableDataset) -> list[str]:
    return [rows.features["class"].int2str(row["class"]) for row in rows]


numbered = words.cast_column("class", order)
casts = {
    "words": words.cast_column("class", other),
    "numbers, cast_column": numbered.cast_column("class", other),
    "numbers, cast": numbered.cast(datasets.Features({"class": other})),
    "numbers, streamed": numbered.to_iterable_dataset().cast_column("class", other),
    "numbers, aligned": numbered.align_labels_with_mapping({"dog": 0, "cat": 1}, "class"),
}
for name, rows in casts.items():
    print(f"{name}: {told(rows)}")
    right = name in ("words", "numbers, aligned")
    assert told(rows) == (["cat", "cat", "dog"] if right else ["dog", "dog", "cat"]), "this has changed"
try:
    datasets.concatenate_datasets([numbered, words.cast_column("class", other)])
except ValueError as problem:
    print("joined:", str(problem)[:60])
else:
    raise AssertionError("this has changed: joining")
PY
echo "still so"
