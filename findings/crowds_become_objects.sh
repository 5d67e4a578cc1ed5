#!/usr/bin/env bash
# supervision 0.31.2, globox 2.9.0 and labelformat 0.1.17, 2026-11-30: a crowd in COCO becomes one object in YOLO.
#
# Guess: regions with iscrowd=1 are left out where a format can't mark them, as COCO's own evaluation passes over them and
# torchvision's training script drops them. Seen: all three write the box around a whole crowd as one object of its class
# among the rest, without a word: a detector learns that twenty people are one person, and misses one in evaluation.
# None of the three has a setting for it in this conversion.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  supervision==0.31.2 globox==2.9.0 labelformat==0.1.17 numpy==2.4.6
cd "$folder"
mkdir images
cat > coco.json <<'JSON'
{"images": [{"id": 1, "file_name": "one.png", "width": 100, "height": 100}],
 "categories": [{"id": 0, "name": "person"}],
 "annotations": [
  {"id": 1, "image_id": 1, "category_id": 0, "bbox": [10, 20, 5, 10], "area": 50, "iscrowd": 0,
   "segmentation": [[10, 20, 15, 20, 15, 30, 10, 30]]},
  {"id": 2, "image_id": 1, "category_id": 0, "bbox": [50, 0, 50, 100], "area": 5000, "iscrowd": 1,
   "segmentation": {"size": [100, 100], "counts": [5000, 5000]}}]}
JSON
"$folder/venv/bin/labelformat" convert --task object-detection --input-format coco --input-file coco.json \
  --output-format yolov8 --output-file by_labelformat/data.yaml --output-split train > labelformat.txt 2>&1
"$folder/venv/bin/python" -W ignore - <<'PY'
from pathlib import Path

import globox
import supervision
from PIL import Image

Image.new("RGB", (100, 100)).save("images/one.png")
globox.AnnotationSet.from_coco("coco.json").save_yolo_v5("by_globox", label_to_id={"person": 0})
data = supervision.DetectionDataset.from_coco("images", "coco.json")
data.as_yolo(annotations_directory_path="by_supervision", data_yaml_path="by_supervision.yaml")
for name, file in (
    ("labelformat", "by_labelformat/labels/one.txt"),
    ("globox", "by_globox/one.txt"),
    ("supervision", "by_supervision/one.txt"),
):
    lines = Path(file).read_text().splitlines()
    print(f"{name}: {len(lines)} objects {lines}")
    assert len(lines) == 2 and all(line.startswith("0 ") for line in lines), f"this has changed: {name}"
print("what labelformat says:", Path("labelformat.txt").read_text().split("\n"))
PY
echo "still so"
