#!/usr/bin/env bash
# label-studio-sdk 2.1.2, 2026-11-30: a turned box is exported to three places.
#
# Guess: of a rectangle that was turned while labelling the exports to COCO, YOLO and VOC have the upright box around
# it, the one around the corners of YOLO OBB. Seen: YOLO and VOC leave out the angle: they have the box as it was
# before the turn, hanging on the same corner. COCO turns it, but in percents, as if the picture were a square. Only
# YOLO OBB is right. In a picture of 800 by 400 pixels the three boxes have an IoU of a third with the right one, or
# none. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  label-studio-sdk==2.1.2 numpy==2.2.6 Pillow==13.0.0
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import json
import math
from pathlib import Path

from label_studio_sdk.converter import Converter
from PIL import Image


width, height = 800, 400
# Left, top, width, height in pixels and the turn in degrees, clockwise about the corner at the top left.
boxes = {"upright": (300, 60, 120, 80, 0), "turned": (420, 60, 250, 60, 90)}
Image.new("RGB", (width, height)).save("photo.png")
regions = [
    {
        "id": name, "type": "rectanglelabels", "from_name": "label", "to_name": "image", "image_rotation": 0,
        "original_width": width, "original_height": height,
        "value": {"x": left / width * 100, "y": top / height * 100, "width": wide / width * 100,
                  "height": high / height * 100, "rotation": turn, "rectanglelabels": ["tree"]},
    }
    for name, (left, top, wide, high, turn) in boxes.items()
]  # fmt: skip
task = {"id": 1, "data": {"image": str(Path("photo.png").resolve())}, "annotations": [{"id": 1, "result": regions}]}
Path("tasks.json").write_text(json.dumps([task]))
tags = '<RectangleLabels name="label" toName="image"><Label value="tree"/></RectangleLabels>'
converter = Converter(f'<View><Image name="image" value="$image"/>{tags}</View>', ".", download_resources=False)
converter.convert_to_coco("tasks.json", "coco", is_dir=False)
converter.convert_to_yolo("tasks.json", "yolo", is_dir=False)
converter.convert_to_yolo("tasks.json", "obb", is_dir=False, is_obb=True)
converter.convert_to_voc("tasks.json", "voc", is_dir=False)


def around(points: list[tuple[float, float]]) -> list[float]:
    return [side(values) for side in (min, max) for values in zip(*points)]


def by_hand(left: float, top: float, wide: float, high: float, turn: float) -> list[float]:
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = [(0, 0), (wide, 0), (wide, high), (0, high)]
    return around([(left + x * cos - y * sin, top + x * sin + y * cos) for x, y in corners])


def numbers(name: str) -> list[list[float]]:
    lines = Path(name, "labels", "photo.txt").read_text().splitlines()
    return [[float(word) for word in line.split()[1:]] for line in lines]


def words(text: str, tag: str) -> list[str]:
    return [part.split("<")[0] for part in text.split(f"<{tag}>")[1:]]


coco = [note["bbox"] for note in json.loads(Path("coco/result.json").read_text())["annotations"]]
text = Path("voc/Annotations/photo.xml").read_text()
told = {
    "COCO": [[x, y, x + wide, y + high] for x, y, wide, high in coco],
    "YOLO": [
        [(x - wide / 2) * width, (y - high / 2) * height, (x + wide / 2) * width, (y + high / 2) * height]
        for x, y, wide, high in numbers("yolo")
    ],
    "VOC": [list(map(float, box)) for box in zip(*(words(text, tag) for tag in ("xmin", "ymin", "xmax", "ymax")))],
    "YOLO OBB": [around([(row[i] * width, row[i + 1] * height) for i in range(0, 8, 2)]) for row in numbers("obb")],
}


def overlap(one: list[float], other: list[float]) -> float:
    sides = [max(0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


for place, (name, box) in enumerate(boxes.items()):
    true = by_hand(*box)
    print(f"{name}: {[round(side) for side in true]} by hand")
    for kind, found in told.items():
        iou = overlap(found[place], true)
        print(f"  {kind}: {[round(side) for side in found[place]]}, IoU {iou:.2f}")
        right = name == "upright" or kind == "YOLO OBB"
        assert iou > 0.98 if right else iou < 0.4, "this has changed"
PY
echo "still so"
