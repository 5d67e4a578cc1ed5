#!/usr/bin/env bash
# keras 3.15.1 with numpy 2.4.6, 2026-11-30: RandomElasticTransform bends a mask otherwise than its image.
#
# Guess: an image and its segmentation mask, given together, are bent alike, which is what the layer is used for.
# Seen: what it draws for both is no field of shifts but the generator, which draws one for the image and another for
# the mask. Masks are cut to value_range as well: with images from 0 to 1 and value_range=(0, 1), as its documents
# ask, all classes above 1 become class 1, in each batch and with no word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np

# Stripes of the classes 0 to 3, and images that show just the same.
masks = np.tile((np.arange(64) // 4 % 4).astype("float32")[None, None, :, None], (4, 64, 1, 1))
masks[2:] = masks[2:].transpose(0, 2, 1, 3)
images = np.repeat(masks, 3, axis=-1) / 3


def bent(layer: keras.layers.Layer, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    out = layer({"images": images.copy(), "segmentation_masks": masks.copy()}, training=True)
    return tuple(keras.ops.convert_to_numpy(out[key]) for key in ("images", "segmentation_masks"))


same = {"interpolation": "nearest", "seed": 0}
elastic = keras.layers.RandomElasticTransform(1.0, scale=(1.0, 1.0), value_range=(0, 255), **same)
image, mask = bent(elastic, images * 85)
shown = (image[..., :1] / 85 * 3).round()
moved, apart = (shown != masks).mean(), (shown != mask).mean()
print(f"elastic: {moved:.1%} of the image's pixels changed; {apart:.1%} of the mask's differ from the image's")
assert moved > 0.01 and apart > moved / 2, "this has changed"
image, mask = bent(keras.layers.RandomShear(0.2, 0.2, interpolation="nearest", seed=0), images)
shown = (image[..., :1] * 3).round()
print(f"shear: {(shown != masks).mean():.1%} changed; {(shown != mask).mean():.1%} differ")
assert (shown != masks).mean() > 0.01 and np.array_equal(shown, mask), "shear has changed"
image, mask = bent(keras.layers.RandomElasticTransform(1.0, value_range=(0, 1), **same), images)
print(f"value_range=(0, 1): classes {np.unique(masks).tolist()} became {np.unique(mask).tolist()}")
assert np.unique(masks).tolist() == [0, 1, 2, 3] and np.unique(mask).tolist() == [0, 1], "this has changed: classes"
PY
echo "still so"
