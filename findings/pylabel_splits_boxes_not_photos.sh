#!/usr/bin/env bash
# pylabel 0.1.55 with pandas 2.3.3, 2026-11-30: a split into 60, 20 and 20 % of the photos gives 40, 0 and 1 of 41.
#
# Guess: GroupShuffleSplit, grouped by img_filename as its default has it, puts all boxes of a photo into one part.
# Seen: the groups that it hands to scikit-learn are the numbers of the rows, so that each box is drawn for itself:
# nearly all photos are in several parts. In the table nearly every photo of the test part is also in training. The
# YOLO export takes a photo for the part of its first row, which stands in training for nearly all: no photo is left to
# validate with. StratifiedGroupShuffleSplit keeps photos whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pylabel==0.1.55 pandas==2.3.3 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
TQDM_DISABLE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import json
from pathlib import Path

import pandas
from pylabel import importer
from sklearn.model_selection import GroupShuffleSplit

# 41 photos with four boxes each.
boxes = [
    {
        "id": 4 * photo + place, "image_id": photo, "category_id": place % 2,
        "bbox": [20 * place, 5, 10, 10], "area": 100, "iscrowd": 0,
    }
    for photo in range(41)
    for place in range(4)
]  # fmt: skip
photos = [{"id": photo, "file_name": f"{photo}.jpg", "width": 100, "height": 50} for photo in range(41)]
names = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
Path("notes.json").write_text(json.dumps({"images": photos, "annotations": boxes, "categories": names}))


def parts(table: pandas.DataFrame) -> dict[str, set[str]]:
    return {part: set(table.img_filename[table.split == part]) for part in ("train", "val", "test")}


def split(stratified: bool) -> tuple[dict[str, set[str]], dict[str, int]]:
    rows = importer.ImportCoco("notes.json")
    shares = {"train_pct": 0.6, "val_pct": 0.2, "test_pct": 0.2}
    if stratified:
        rows.splitter.StratifiedGroupShuffleSplit(**shares)
    else:
        rows.splitter.GroupShuffleSplit(**shares, random_state=0)
    folder = Path("stratified" if stratified else "grouped")
    rows.export.ExportToYoloV5(str(folder / "labels"), use_splits=True)
    written = {part: len(list((folder / "labels" / part).glob("*.txt"))) for part in ("train", "val", "test")}
    return parts(rows.df), written


for stratified in (True, False):
    by_part, written = split(stratified)
    twice = len(by_part["test"] & by_part["train"])
    print(f"{'StratifiedGroupShuffleSplit' if stratified else 'GroupShuffleSplit'}:", end=" ")
    print(f"{twice} of {len(by_part['test'])} test photos are in training, too; exported {written}")
    if stratified:
        assert twice == 0 and min(written.values()) >= 4, "this has changed: stratified"
    else:
        assert twice > 0.7 * len(by_part["test"]), "this has changed: photos are whole"
        assert written["train"] > 36 and written["val"] + written["test"] < 5, "this has changed: the export"

# scikit-learn itself, given the photos as groups.
table = importer.ImportCoco("notes.json").df
train, test = next(GroupShuffleSplit(1, train_size=0.6, random_state=0).split(table, groups=table.img_filename))
both = set(table.img_filename.iloc[train]) & set(table.img_filename.iloc[test])
print(f"scikit-learn: {len(both)} photos in both parts, {table.img_filename.iloc[train].nunique()} of 41 in training")
assert not both, "this has changed: scikit-learn"
PY
echo "still so"
