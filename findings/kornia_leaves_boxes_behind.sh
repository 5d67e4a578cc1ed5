#!/usr/bin/env bash
# kornia 0.9.0 with torch 2.14.1, 2026-11-30: three warps move the picture and leave boxes and keypoints where they
# were.
#
# Guess: AugmentationSequential takes boxes and keypoints along with the picture, or refuses, as it does with masks
# under RandomThinPlateSpline and RandomFisheye (NotImplementedError). Seen: so it is with affine and perspective
# changes, crops and flips. Under RandomThinPlateSpline, RandomFisheye and RandomElasticTransform boxes and keypoints
# come back as they went in, beside a picture whose objects have moved; and the elastic mask has moved with the
# picture. A detector is trained on boxes that overlap their objects by a quarter. No error and no warning; docstrings
# speak of limitations with labels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check kornia==0.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import warnings

import kornia.augmentation as K
import torch

# A white square on black, and the box around it: after the change the box of the white pixels is known.
SIDE, BOX = 128, [32.0, 42.0, 49.0, 59.0]
picture = torch.zeros(1, 1, SIDE, SIDE)
picture[:, :, 42:59, 32:49] = 1


def around(image):
    rows, columns = torch.where(image[0, 0] > 0.5)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def overlap(one, other):
    low, high = torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])
    both = (high - low).clamp(min=0).prod()
    return float(both / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - both))


span = torch.tensor([-0.3, 0.3])
changes = {
    "RandomAffine": K.RandomAffine(0.0, translate=(0.2, 0.2), scale=(0.8, 1.2), p=1.0),
    "RandomElasticTransform": K.RandomElasticTransform((63, 63), (12.0, 12.0), (6.0, 6.0), p=1.0),
    "RandomFisheye": K.RandomFisheye(span, span, torch.tensor([0.8, 1.2]), p=1.0),
    "RandomThinPlateSpline": K.RandomThinPlateSpline(0.3, p=1.0),
}
for name, change in changes.items():
    overlaps, still, moved = [], 0, []
    for seed in range(40):
        torch.manual_seed(seed)
        boxes, points = torch.tensor([[BOX]]), torch.tensor([[[40.0, 50.0]]])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            both = K.AugmentationSequential(change, data_keys=["input", "bbox_xyxy", "keypoints"])
            image, new_boxes, new_points = both(picture, boxes, points)
        if float(image.max()) < 0.5:
            continue
        overlaps.append(overlap(around(image), new_boxes[0, 0]))
        moved.append(float((around(image) - torch.tensor(BOX)).abs().max()))
        still += torch.equal(new_boxes, boxes) and torch.equal(new_points, points)
    mean = sum(overlaps) / len(overlaps)
    print(f"{name}: the object moves by {sum(moved) / len(moved):.1f} pixels, the box overlaps it by {mean:.2f};"
          f" boxes and keypoints as they were: {still} of {len(overlaps)}")
    if name == "RandomAffine":
        assert mean > 0.88 and still == 0
    else:
        assert still == len(overlaps) and sum(moved) / len(moved) > 3, "this has changed"
        assert mean < 0.75, "this has changed"

# Masks: an error under two of the warps, and along with the picture under the elastic one.
for name in ("RandomFisheye", "RandomThinPlateSpline"):
    try:
        K.AugmentationSequential(changes[name], data_keys=["input", "mask"])(picture, picture)
    except NotImplementedError:
        print(f"{name}: masks are refused")
    else:
        raise AssertionError("this has changed")
torch.manual_seed(0)
image, mask = K.AugmentationSequential(changes["RandomElasticTransform"], data_keys=["input", "mask"])(picture, picture)
assert overlap(around(image), around(mask)) > 0.85 and overlap(around(mask), torch.tensor(BOX)) < 0.9
PY
echo "still so"
