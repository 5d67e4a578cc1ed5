#!/usr/bin/env bash
# labelformat 0.1.17, 2026-11-30: labels converted from COCO to YOLO have class numbers beyond the count of classes.
#
# Guess: as YOLO counts classes from 0 and COCO's ids begin at 1 and have gaps, a converter renumbers them, as that of
# ultralytics and supervision do. Seen: the COCO ids are written as they are, beside an nc of how many there are. With ids
# 1 and 2, nc is 2 and the labels are 1 and 2: there is no class 0, and the last class is out of range. Nothing is said,
# and training tools that check it pass over each image with such a label as damaged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check labelformat==0.1.17
cd "$folder"
cat > coco.json <<'JSON'
{"images": [{"id": 1, "file_name": "one.png", "width": 100, "height": 100}],
 "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
 "annotations": [
  {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 5, 10], "area": 50, "iscrowd": 0, "segmentation": []},
  {"id": 2, "image_id": 1, "category_id": 2, "bbox": [50, 50, 20, 20], "area": 400, "iscrowd": 0, "segmentation": []}]}
JSON
for format in yolov5 yolov8 yolov11; do
  "$folder/venv/bin/labelformat" convert --task object-detection --input-format coco --input-file coco.json \
    --output-format "$format" --output-file "$format/data.yaml" --output-split train > "$format.txt" 2>&1
done
"$folder/venv/bin/python" -W ignore - <<'PY'
from pathlib import Path

for name in ("yolov5", "yolov8", "yolov11"):
    classes = [int(line.split()[0]) for line in Path(name, "labels/one.txt").read_text().splitlines()]
    told = Path(name, "data.yaml").read_text().split("\n")
    count = next(int(line.split()[1]) for line in told if line.startswith("nc:"))
    print(f"{name}: classes {classes} with nc {count}; said {Path(f'{name}.txt').read_text().split(chr(10))}")
    assert classes == [1, 2] and count == 2, f"this has changed: {name}"
PY
echo "still so"
