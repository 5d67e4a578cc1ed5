#!/usr/bin/env bash
# dm-pix 0.4.5 with jax 0.10.2 and numpy 2.4.6, 2026-11-30: photos with channels first are turned upside down instead
# of mirrored, and rotated through their channels.
#
# Guess: random_flip_left_right, random_flip_up_down, rotate and affine_transform take photos of shape (channels,
# height, width), as is documented for each ("Assumes that the image is either ...HWC or ...CHW"). Seen: they have no
# setting for the axis and always take the third-last axis for the height. With channels first, left-right mirrors up
# and down, up-down swaps red and blue, and a rotation mixes the channels with the rows. With its channel_axis=0
# flip_left_right is right. Boxes and masks that are mirrored alongside no longer fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check dm-pix==0.4.5 jax==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PY'
import dm_pix
import jax
import numpy as np

last = np.random.default_rng(0).random((24, 32, 3)).astype("float32")
first = np.ascontiguousarray(last.transpose(2, 0, 1))
key = jax.random.key(0)
functions = {
    "random_flip_left_right": lambda photo: dm_pix.random_flip_left_right(key, photo, probability=1.0),
    "random_flip_up_down": lambda photo: dm_pix.random_flip_up_down(key, photo, probability=1.0),
    "rotate": lambda photo: dm_pix.rotate(photo, np.pi / 6),
}
found = {name: (np.asarray(each(last)), np.asarray(each(first))) for name, each in functions.items()}
for name, (with_last, with_first) in found.items():
    apart = np.abs(with_last.transpose(2, 0, 1) - with_first).mean()
    print(f"{name}: mean difference of channels last and first {apart:.3f}")
with_last, with_first = found["random_flip_left_right"]
assert (with_last == last[:, ::-1]).all(), "channels last"
assert (with_first == first[:, ::-1]).all() and (with_first != first[:, :, ::-1]).any(), "this has changed: left-right"
with_last, with_first = found["random_flip_up_down"]
assert (with_last == last[::-1]).all(), "channels last"
assert (with_first == first[::-1]).all() and (with_first != first[:, ::-1]).any(), "this has changed: up-down"
with_last, with_first = found["rotate"]
assert np.abs(with_last.transpose(2, 0, 1) - with_first).mean() > 0.1, "this has changed: rotate"
assert (np.asarray(dm_pix.flip_left_right(first, channel_axis=0)) == first[:, :, ::-1]).all(), "with the axis told"
PY
echo "still so"
