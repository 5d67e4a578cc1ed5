#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, 2026-11-30: the same picture 64 times has a PSNR-B of 8.0 dB, once 10.8 dB.
#
# Guess: PeakSignalNoiseRatioWithBlockedEffect of many pictures is a mean of some kind: with the same picture again and
# again it stays what it is, as PSNR does. (PSNR-B of Yim and Bovik: 10 log10(range² / (MSE + blocking effect)).)
# Seen: the squares are divided by how many pixels there are, but the blocking effect is summed over the pictures of
# a batch (_compute_bef in functional/image/psnrb.py) and over the batches. The more pictures a test set has, the lower
# its PSNR-B: 10.8 dB for one, 8.0 for 64, and less for more, in one batch or in many. One picture is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import math

import torch
from torchmetrics.image import PeakSignalNoiseRatio, PeakSignalNoiseRatioWithBlockedEffect

true = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
blocky = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(true, 8), 64)


def by_hand(guessed, true, block=8):
    """PSNR-B of one square picture."""
    picture, size = guessed[0, 0].double(), guessed.shape[-1]
    steps = [(picture[:, 1:] - picture[:, :-1]) ** 2, (picture[1:] - picture[:-1]).T ** 2]
    edge = torch.arange(1, size) % block == 0
    at, other = (torch.cat([step[:, part] for step in steps]) for part in (edge, ~edge))
    effect = math.log2(block) / math.log2(size) * float(at.mean() - other.mean())
    return 10 * math.log10(1 / (float(((guessed - true) ** 2).mean()) + max(effect, 0)))


hand = by_hand(blocky, true)
print(f"by hand: {hand:.2f} dB")
seen = {}
for count in (1, 4, 16, 64):
    one, parts, plain = (
        kind(data_range=1.0)
        for kind in (PeakSignalNoiseRatioWithBlockedEffect,) * 2 + (PeakSignalNoiseRatio,)
    )
    pair = blocky.repeat(count, 1, 1, 1), true.repeat(count, 1, 1, 1)
    one.update(*pair)
    plain.update(*pair)
    for _ in range(count):
        parts.update(blocky, true)
    seen[count] = [float(each.compute()) for each in (one, parts, plain)]
    whole, parted, other = seen[count]
    print(f"{count} times: in one batch {whole:.2f} dB, one by one {parted:.2f} dB; PSNR {other:.2f} dB")
    assert abs(other - seen[1][2]) < 1e-3 and abs(whole - parted) < 1e-3
assert abs(seen[1][0] - hand) < 0.05, "this has changed: one picture"
assert seen[64][0] < hand - 2, "this has changed: the number of pictures makes no difference"
PY
echo "still so"
