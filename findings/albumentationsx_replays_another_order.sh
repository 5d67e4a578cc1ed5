#!/usr/bin/env bash
# albumentationsx 2.5.1 with torch 2.14.1 and numpy 2.4.6, 2026-11-30: a replay applies RandomOrder in another order.
#
# Guess: ReplayCompose.replay gives what was recorded: the same steps with the same drawn numbers in the same order, so
# that a second picture is changed as the first, as it is with OneOf, SomeOf and each transform of its own. Seen: which
# steps RandomOrder took is recorded, and their order is not: the replay takes them as they stand in the list. About
# half of the replays of two steps give another picture.
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

image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
steps = [albumentations.RandomGamma(p=1), albumentations.ChannelShuffle(p=1), albumentations.Solarize(p=1)]
for chosen in (
    albumentations.OneOf(steps, p=1),
    albumentations.SomeOf(steps, n=2, p=1),
    albumentations.Sequential(steps, p=1),
    albumentations.RandomOrder([albumentations.Solarize(p=1), albumentations.Blur(p=1)], n=2, p=1),
):
    recorded = albumentations.ReplayCompose([chosen], seed=0)
    equal = 0
    for _ in range(40):
        told = recorded(image=image)
        equal += np.array_equal(told["image"], albumentations.ReplayCompose.replay(told["replay"], image=image)["image"])
    print(f"{type(chosen).__name__}: {equal} of 40 replays give the same picture")
    assert (equal == 40) == (type(chosen).__name__ != "RandomOrder"), "this has changed"
PY
echo "still so"
