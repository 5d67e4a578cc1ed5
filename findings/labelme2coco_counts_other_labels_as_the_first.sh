#!/usr/bin/env bash
# labelme2coco 0.2.6 with sahi 0.12.8, 2026-11-30: a label beyond the given list of categories gets another one's id.
#
# Guess: convert() numbers the classes by name, so that two folders with the same labels agree; or coco_category_list
# makes them agree, and a further label gets a free id. Seen: classes are numbered in the order in which they are met,
# so that a training folder whose first picture shows a dog and a test folder whose first shows a cat have them
# swapped. With the list, new labels are counted from category_id_start all the same: birds get the id 0, which is that
# of cats, and the file has two categories with one id. Readers take all birds for cats, or all cats for birds. Nothing
# is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  numpy==2.4.6 opencv-python-headless==5.0.0.93 pycocotools==2.0.11 pillow shapely tqdm pyyaml requests
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps labelme2coco==0.2.6 sahi==0.12.8
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import contextlib
import io
import json
from pathlib import Path

import labelme2coco
from pycocotools.coco import COCO


def folder(name: str, labels: list[str]) -> str:
    """One picture for each label, as labelme saves them: a rectangle of 10 × 10."""
    Path(name).mkdir()
    for number, label in enumerate(labels):
        shape = {"label": label, "points": [[5, 5], [15, 15]], "shape_type": "rectangle", "group_id": None, "flags": {}}
        kept = {"version": "5.5.0", "flags": {}, "shapes": [shape], "imagePath": f"{number}.png", "imageData": None}
        Path(name, f"{number}.json").write_text(json.dumps({**kept, "imageHeight": 20, "imageWidth": 20}))
    return name


def numbers(content: dict) -> list[tuple[str, int]]:
    return [(row["name"], row["id"]) for row in content["categories"]]


def read(content: dict) -> list[str]:
    Path("read.json").write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO("read.json")
    return [coco.cats[row["category_id"]]["name"] for row in coco.loadAnns(sorted(coco.getAnnIds()))]


train, test = folder("train", ["dog", "cat"]), folder("test", ["cat", "dog"])
found = {}
for name in (train, test):
    labelme2coco.convert(name, f"out/{name}")
    found[name] = json.loads(Path(f"out/{name}/dataset.json").read_text())
    print(f"{name}: {numbers(found[name])}")
assert numbers(found["train"]) == [("dog", 0), ("cat", 1)], "this has changed"
assert numbers(found["test"]) == [("cat", 0), ("dog", 1)], "this has changed"
assert read(found["train"]) == ["dog", "cat"], "each file by itself has changed"

known = [{"id": number, "name": name, "supercategory": name} for number, name in enumerate(("cat", "dog"))]
later = folder("later", ["cat", "dog", "bird"])
content = labelme2coco.get_coco_from_labelme_folder(later, coco_category_list=known).json
ids = [row["category_id"] for row in content["annotations"]]
print(f"with the list: {numbers(content)}; of cat, dog and bird the ids are {ids}, read as {read(content)}")
assert numbers(content) == [("cat", 0), ("dog", 1), ("bird", 0)] and ids == [0, 1, 0], "this has changed"
assert read(content) != ["cat", "dog", "bird"], "this has changed"
free = labelme2coco.get_coco_from_labelme_folder(later, coco_category_list=known, category_id_start=2).json
print(f"with category_id_start=2: {numbers(free)}, read as {read(free)}")
assert read(free) == ["cat", "dog", "bird"], "category_id_start has changed"
PY
echo "still so"
