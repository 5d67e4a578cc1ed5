#!/usr/bin/env bash
# imantics 0.1.12 with numpy 2.4.6, 2026-11-30: boxes written as YOLO have their corner where the centre belongs.
#
# Guess: export(style="yolo") writes a line for each object with its class, counted from 0, the centre of its box, and
# width and height, as all readers of YOLO take them. Seen: the first two numbers are the left and upper edge. All
# boxes move up and to the left by half their size, and large ones reach out of the picture. Classes count from 1, so
# that the last one is beyond the list. Holes of a mask become solid objects in polygons: a ring exported to COCO
# covers its middle as well, where masks read back by imantics itself are whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  lxml==6.1.3 xmljson==0.2.1 numpy==2.4.6 opencv-python-headless==5.0.0.93 pycocotools==2.0.11
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps imantics==0.1.12
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import imantics
import numpy as np
from pycocotools import mask as coco

# A ring in an image of 60 × 80: 40 wide, 30 high, 4 thick.
ring = np.zeros((60, 80), dtype=bool)
ring[10:40, 20:60] = True
ring[14:36, 24:56] = False
image = imantics.Image(image_array=np.zeros((60, 80, 3), dtype=np.uint8))
image.id = 1
image.add(imantics.Mask(ring), imantics.Category("ring"))

line = image.export(style="yolo")[0]
label, *numbers = line.split()
x, y, width, height = (float(number) * size for number, size in zip(numbers, (80, 60, 80, 60)))
read = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
print(f"YOLO: {line!r}, read as {[round(number) for number in read]}; the ring: [20, 10, 60, 40]")
rows, columns = np.nonzero(ring)
assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (20, 60, 10, 40)
assert abs(x - 20) < 0.1 and abs(y - 10) < 0.1, "this has changed: the centre"
assert abs(width - 40) < 1.1 and abs(height - 30) < 1.1, "the size has changed"
assert label == "1", "this has changed: classes"

polygons = image.export(style="coco")["annotations"][0]["segmentation"]
mask = coco.decode(coco.merge(coco.frPyObjects(polygons, 60, 80))).astype(bool)
own = imantics.Polygons(polygons).mask(80, 60).array.astype(bool)
hole = np.zeros_like(ring)
hole[15:35, 25:55] = True
covered = [f"{found[hole].mean():.0%}" for found in (mask, own)]
print(f"COCO: {covered[0]} of the hole is covered, read by imantics {covered[1]}; {len(polygons)} polygons")
assert mask[hole].all() and not own[hole].any(), "this has changed: the hole"
PY
echo "still so"
