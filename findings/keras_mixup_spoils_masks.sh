#!/usr/bin/env bash
# keras 3.15.1 with numpy 2.4.6, 2026-11-30: MixUp mixes masks with a few pixels, and AugMix makes class numbers halves.
#
# Guess: MixUp mixes one-hot masks with the masks of the images that it mixes in, in the same shares, as it does with
# images and labels. Seen: it takes single pixels from the flattened masks (take without an axis), so that the mask of
# image 2 is mixed with pixel 2 of the first row of image 0. The pixels are spread along the channels, which passes
# where a batch has as many images as there are classes, or where there is one channel: that then becomes as many as
# images. Labels of boxes are put together along the batch, boxes along the image. AugMix takes weighted means of
# class numbers, so that classes 0 and 3 give 1.2 at borders.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np

# Four images, each with one object of another class; the one-hot masks have four channels, as the labels.
classes = np.zeros((4, 16, 16), dtype="int64")
for row in range(1, 4):
    classes[row, 2 * row : 2 * row + 6, 4:12] = row
one_hot = np.eye(4, dtype="float32")[classes]
images = np.repeat(classes[..., None], 3, axis=-1).astype("float32")
data = {"images": images, "labels": np.eye(4, dtype="float32"), "segmentation_masks": one_hot}
out = keras.layers.MixUp(alpha=1.0, seed=0)(dict(data), training=True)
out = {key: keras.ops.convert_to_numpy(value) for key, value in out.items()}

# The shares and the partners can be read from the labels, and the images are mixed by them.
labels = out["labels"]
image = np.einsum("ij,jhwc->ihwc", labels, images)
mask = np.einsum("ij,jhwc->ihwc", labels, one_hot)
print("labels:", labels.round(2).tolist())
gap = np.abs(out["segmentation_masks"] - mask).max()
off = (np.abs(out["segmentation_masks"] - mask).max(axis=-1) > 0.01).mean()
sums = out["segmentation_masks"].sum(axis=-1)
print(f"images as by hand: {np.abs(out['images'] - image).max():.1e}")
print(f"masks off by up to {gap:.2f} in {off:.0%} of the pixels")
print(f"shares of the classes of a pixel add up to {sums.min():.2f} to {sums.max():.2f}")
assert np.abs(out["images"] - image).max() < 1e-5, "the images have changed"
assert np.allclose(mask.sum(axis=-1), 1) and gap > 0.3 and off > 0.1, "this has changed"

numbers = {"images": images, "segmentation_masks": classes[..., None].astype("float32")}
shape = keras.layers.MixUp(seed=0)(dict(numbers), training=True)["segmentation_masks"].shape
boxes = {"boxes": np.ones((4, 5, 4), dtype="float32"), "labels": np.zeros((4, 5), dtype="float32")}
mixup = keras.layers.MixUp(seed=0, bounding_box_format="xyxy")
mixed = mixup({"images": images, "bounding_boxes": boxes}, training=True)
shapes = [tuple(mixed["bounding_boxes"][key].shape) for key in ("boxes", "labels")]
print(f"masks of one channel: {tuple(shape)}; boxes {shapes[0]} with labels {shapes[1]}")
assert tuple(shape) == (4, 16, 16, 4) and shapes == [(4, 10, 4), (8, 5)], "this has changed: shapes"

parts = [keras.layers.AugMix(value_range=(0, 3), seed=seed)(dict(numbers), training=True) for seed in range(8)]
found = np.unique(np.stack([keras.ops.convert_to_numpy(part["segmentation_masks"]) for part in parts]))
halves = found[np.abs(found - found.round()) > 0.01]
print(f"AugMix: {len(halves)} class numbers between the classes, such as {halves[len(halves) // 2]:.2f}")
assert len(halves), "this has changed: AugMix"
PY
echo "still so"
