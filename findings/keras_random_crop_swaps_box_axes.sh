#!/usr/bin/env bash
# keras 3.15.1 with numpy 2.4.6, 2026-11-30: RandomCrop moves boxes down by what was cut from the left, and so on.
#
# Guess: RandomCrop(bounding_box_format="xyxy") gives each box the place that its object has in the crop, as
# CenterCrop does. Seen: it takes the first row of the crop from x and the first column from y. Every box is off by
# the difference of the two, unless both are alike. Boxes are not cut at the right and lower edge, either, so that
# they reach beyond the picture. The image and masks are cropped rightly, so nothing shows until one draws the boxes.
# Formats that are relative are, moreover, read as parts of the crop and not of the whole image.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np

# One white object in an image of 64 × 64, with its box.
box = [28, 24, 40, 34]
images = np.zeros((1, 64, 64, 3), dtype="float32")
images[:, box[1] : box[3], box[0] : box[2]] = 255


def of_pixels(image: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def crop(layer: keras.layers.Layer, form: str) -> tuple[list[int], list[float]]:
    scale = 64 if form == "rel_xyxy" else 1
    boxes = {"boxes": np.array([[box]], dtype="float32") / scale, "labels": np.zeros((1, 1), dtype="float32")}
    out = layer({"images": images.copy(), "bounding_boxes": boxes}, training=True)
    given = np.asarray(keras.ops.convert_to_numpy(out["bounding_boxes"]["boxes"]))[0, 0]
    given = (given * (48 if scale == 64 else 1)).round(3)
    return of_pixels(keras.ops.convert_to_numpy(out["images"])[0]), given.tolist()


assert of_pixels(images[0]) == box
pixels, given = crop(keras.layers.CenterCrop(48, 48, bounding_box_format="xyxy"), "xyxy")
print(f"CenterCrop: object at {pixels}, box {given}")
assert pixels == given, "CenterCrop has changed"
wrong = 0
for seed in range(8):
    pixels, given = crop(keras.layers.RandomCrop(48, 48, seed=seed, bounding_box_format="xyxy"), "xyxy")
    left, top = box[0] - pixels[0], box[1] - pixels[1]
    print(f"RandomCrop, {left} columns and {top} rows cut: object at {pixels}, box {given}")
    assert given == [box[0] - top, box[1] - left, box[2] - top, box[3] - left], "this has changed"
    wrong += given != pixels
assert wrong > 4, "this has changed"
crops = [keras.layers.RandomCrop(48, 48, seed=seed, bounding_box_format="rel_xyxy") for seed in range(8)]
widths = {round(given[2] - given[0], 3) for _, given in (crop(layer, "rel_xyxy") for layer in crops)}
print(f"relative boxes: width {widths} where the object is {box[2] - box[0]} wide")
assert widths == {9.0}, "this has changed: relative boxes"
PY
echo "still so"
