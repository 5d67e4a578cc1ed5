#!/usr/bin/env bash
# pycocotools 2.0.11, faster-coco-eval 1.8.0, label-studio-sdk 2.1.2, 2026-11-30: the object with the id 0 counts as
# missed.
#
# Guess: ids of annotations are any unlike numbers, so a perfect detector has an AP of 1, with ids from 0 as from 1; so
# hotcoco has it. Seen: both others note the id of the found object for each detection, and take 0 for "none". The
# object of id 0 is missed, and what finds it counts as wrong. Label Studio's COCO export numbers from 0. So a perfect
# detector of the eight objects of two photos has an AP of 0.63, and one of a class's two objects is never found.
# Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pycocotools==2.0.11 faster-coco-eval==1.8.0 hotcoco==1.3.0 label-studio-sdk==2.1.2 numpy==2.2.6 Pillow==13.0.0
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import copy
import io
import json
from pathlib import Path

import faster_coco_eval
import hotcoco
from label_studio_sdk.converter import Converter
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Two photos with four boxes each, a dog and three cats, exported by Label Studio.
Image.new("RGB", (400, 400)).save("photo.png")
tasks = []
for number in (1, 2):
    regions = [
        {
            "id": str(place), "type": "rectanglelabels", "from_name": "label", "to_name": "image", "image_rotation": 0,
            "original_width": 400, "original_height": 400,
            "value": {"x": 25 * place, "y": 10, "width": 20, "height": 30, "rotation": 0, "rectanglelabels": [name]},
        }
        for place, name in enumerate(("dog", "cat", "cat", "cat"))
    ]  # fmt: skip
    image = {"image": str(Path("photo.png").resolve())}
    tasks.append({"id": number, "data": image, "annotations": [{"id": number, "result": regions}]})
Path("tasks.json").write_text(json.dumps(tasks))
tags = '<RectangleLabels name="label" toName="image"><Label value="cat"/><Label value="dog"/></RectangleLabels>'
converter = Converter(f'<View><Image name="image" value="$image"/>{tags}</View>', ".", download_resources=False)
converter.convert_to_coco("tasks.json", "coco", is_dir=False)
from_zero = json.loads(Path("coco/result.json").read_text())
assert [note["id"] for note in from_zero["annotations"]] == list(range(8)), "this has changed: Label Studio's ids"
from_one = copy.deepcopy(from_zero)
for note in from_one["annotations"]:
    note["id"] += 1

found = [{"image_id": note["image_id"], "category_id": note["category_id"], "bbox": note["bbox"], "score": 0.9}
         for note in from_zero["annotations"]]  # fmt: skip
Path("found.json").write_text(json.dumps(found))
kinds = {
    "pycocotools": (COCO, COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    "hotcoco": (hotcoco.COCO, hotcoco.COCOeval),
}
for start, notes in (("0", from_zero), ("1", from_one)):
    Path("notes.json").write_text(json.dumps(notes))
    for name, (reader, evaluator) in kinds.items():
        with contextlib.redirect_stdout(io.StringIO()):
            truth = reader("notes.json")
            run = evaluator(truth, truth.loadRes("found.json"), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        precision, recall = float(run.stats[0]), float(run.stats[8])
        print(f"ids from {start}, {name}: AP {precision:.3f}, AR {recall:.3f}")
        if start == "1" or name == "hotcoco":
            assert precision > 0.9999 and recall > 0.9999, "this has changed"
        else:
            assert precision < 0.95 and recall < 0.95, "this has changed: id 0 is found"
PY
echo "still so"
