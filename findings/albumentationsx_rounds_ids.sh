#!/usr/bin/env bash
# albumentationsx 2.5.1 with torch 2.14.1 and numpy 2.4.6, 2026-11-30: whole numbers that go along with boxes are rounded.
#
# Guess: what is named in label_fields goes along with its box or keypoint as it is, so that the number of an annotation
# or of a track still finds it after a flip. Seen: numbers are held as float32 among the coordinates. Above 2**24 they come
# back rounded, and two ids become the same one, like those of COCO's crowds (such as 908800474295). From a list they
# come back as floats, from an int64 array as int64, with a wrong number. Texts come back as they were.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  "albumentationsx[headless]==2.5.1" torch==2.14.1 numpy==2.4.6
cd "$folder"
NO_ALBUMENTATIONS_UPDATE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import albumentations
import numpy as np

image = np.zeros((64, 64, 3), np.uint8)
boxes = [[1, 2, 10, 10], [5, 5, 20, 20], [3, 3, 4, 4]]
flip = [albumentations.HorizontalFlip(p=1)]
with_boxes = albumentations.Compose(
    flip, bbox_params=albumentations.BboxParams(coord_format="coco", label_fields=["ids", "names"])
)
with_points = albumentations.Compose(
    flip, keypoint_params=albumentations.KeypointParams(coord_format="xy", label_fields=["ids"])
)
for ids in ([1, 2, 3], [908800474295, 908800474296, 16777217]):
    names = [str(number) for number in ids]
    for given in (ids, np.array(ids)):
        told = with_boxes(image=image, bboxes=boxes, ids=given, names=names)
        back = [int(number) for number in told["ids"]]
        print(f"{type(given).__name__} {ids} comes back as {list(told['ids'])}, texts {told['names']}")
        assert (back == ids) == (ids[0] == 1), "this has changed: whole numbers come back"
        assert list(told["names"]) == names, "this has changed: texts"
    told = with_points(image=image, keypoints=[box[:2] for box in boxes], ids=ids)
    print(f"keypoints: {ids} comes back as {list(told['ids'])}")
    assert ([int(number) for number in told["ids"]] == ids) == (ids[0] == 1), "this has changed: keypoints"
PY
echo "still so"
