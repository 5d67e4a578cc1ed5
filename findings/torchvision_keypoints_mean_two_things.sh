#!/usr/bin/env bash
# torchvision 0.29.1 with torch 2.14.1, 2026-11-30: flips take keypoints for pixels, turns take them for corners.
#
# Guess: a keypoint of torchvision.transforms.v2 stays on its pixel, and a turn by 180 degrees is as two flips. Seen:
# flips take (x, y) for the middle of a pixel, and it stays on it. Turns, resizing and affine changes take it for a
# place between pixels, as the corner of a box. Turned by 180 or 90 degrees each keypoint is one pixel off, and that
# of the first row lies outside the picture; enlarged eight times it is 3.5 pixels off. A model that is trained or
# tested with flips and turns together is told two places for one. The picture itself is turned exactly. Nothing is
# said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

SIDE = 32


def bright(picture):
    # The middle of what is bright: the bright pixel itself, as (x, y).
    rows, columns = torch.where(picture[0] > 0.5)
    return torch.stack([columns.float().mean(), rows.float().mean()])


def turn(degrees):
    return lambda item: F.rotate(item, degrees, interpolation=InterpolationMode.NEAREST)


changes = {
    "flipped": (F.horizontal_flip, 0.0),
    "flipped both ways": (lambda item: F.vertical_flip(F.horizontal_flip(item)), 0.0),
    "turned by 180": (turn(180), 1.0),
    "turned by 90": (turn(90), 1.0),
    "enlarged 8 times": (lambda item: F.resize(item, [8 * SIDE, 8 * SIDE], InterpolationMode.NEAREST), 3.5),
}
places = [(5, 9), (20, 3), (16, 16), (30, 27)]
for name, (change, wrong) in changes.items():
    off = []
    for x, y in places:
        picture = torch.zeros(1, SIDE, SIDE)
        picture[0, y, x] = 1
        point = tv_tensors.KeyPoints([[float(x), float(y)]], canvas_size=(SIDE, SIDE))
        off.append(float((change(point)[0] - bright(change(tv_tensors.Image(picture)))).abs().max()))
    print(f"{name}: keypoints are off by {off}")
    assert all(abs(value - wrong) < 1e-3 for value in off), "this has changed"

# A turn by 180 degrees is two flips for the picture, and isn't for keypoints.
picture = tv_tensors.Image(torch.rand(1, SIDE, SIDE))
point = tv_tensors.KeyPoints([[5.0, 9.0], [0.0, 0.0]], canvas_size=(SIDE, SIDE))
both = changes["flipped both ways"][0]
assert torch.equal(turn(180)(picture), both(picture))
print("turned by 180:", turn(180)(point).tolist(), "two flips:", both(point).tolist())
assert not torch.allclose(turn(180)(point), both(point), atol=0.5), "this has changed"
assert float(turn(180)(point).max()) >= SIDE, "this has changed: inside the picture"
PY
echo "still so"
