#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, 2026-11-30: RelativeAverageSpectralError is 64 times what it should be.
#
# Guess: RASE is 100 / M sqrt(mean of the bands' RMSE²), M being the mean brightness of the true image: percents, the
# same with windows of any size where an image is much the same everywhere. Errors of 0.05 around 0.5 have 10 %.
# Seen: functional/image/rase.py divides the mean in a window, which is one already, once more by window_size².
# The default window of 8 gives 640 %, one of 4 gives 160 %, one of 16 gives 2560 %. Nothing says so; the example in
# the documentation has 5326 for random images. ERGAS of the same library is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torchmetrics.image import ErrorRelativeGlobalDimensionlessSynthesis, RelativeAverageSpectralError

draw = torch.Generator().manual_seed(0)
true = 0.5 + 0.01 * torch.randn(4, 3, 64, 64, generator=draw).double()
guessed = true + 0.05 * torch.randn(true.shape, generator=draw).double()


def by_hand(guessed, true):
    """RASE and ERGAS (ratio 1) of each image, as their papers have them."""
    squares = ((guessed - true) ** 2).mean((2, 3))
    rase = 100 / true.mean((1, 2, 3)) * squares.mean(1).sqrt()
    ergas = 100 * (squares / true.mean((2, 3)) ** 2).mean(1).sqrt()
    return float(rase.mean()), float(ergas.mean())


rase, ergas = by_hand(guessed, true)
theirs = float(ErrorRelativeGlobalDimensionlessSynthesis(ratio=1)(guessed, true))
print(f"by hand: RASE {rase:.2f} %, ERGAS {ergas:.2f}; torchmetrics' ERGAS {theirs:.2f}")
assert abs(theirs - ergas) < 1e-6, "this has changed: ERGAS"
for window in (4, 8, 16):
    own = float(RelativeAverageSpectralError(window_size=window)(guessed, true))
    print(f"windows of {window} x {window}: {own:.1f} %, {own / rase:.1f} times as much")
    assert abs(own / rase / window**2 - 1) < 0.1, "this has changed"
PY
echo "still so"
