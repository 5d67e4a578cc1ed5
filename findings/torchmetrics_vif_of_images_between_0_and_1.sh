#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, beside piq 0.8.0, 2026-11-30: VIF of images from 0 to 1 takes noise for no loss.
#
# Guess: VisualInformationFidelity takes images between 0 and 1, as its neighbours with data_range do and as models give
# them, or those of 0 to 255 alike, as it has no setting for the range; piq's vif_p scales by data_range=1.
# Seen: it is for 0 to 255 alone. sigma_n_sq=2.0 is a variance of noise on that scale (functional/image/vif.py), and
# neither page nor example says so (the example has numbers around 0). A photo with much noise has 0.96 where it is
# 0.22, and times 255 it agrees with piq to three places. Of two spoilt photos the wrong one seems the better: noise
# has 0.96 and a little less contrast 0.81, where it is 0.22 and 0.95.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 torchvision==0.29.1 piq==0.8.0 scikit-image==0.26.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import piq
import torch
from skimage import data
from torchmetrics.image import VisualInformationFidelity

torch.manual_seed(0)
photo = torch.tensor(data.camera()).float()[None, None] / 255  # ships with scikit-image
photo = torch.nn.functional.avg_pool2d(photo, 2)
noise = torch.randn_like(photo)
spoilt = {
    "noise of 0.05": (photo + 0.05 * noise).clamp(0, 1),
    "noise of 0.1": (photo + 0.1 * noise).clamp(0, 1),
    "noise of 0.2": (photo + 0.2 * noise).clamp(0, 1),
    "contrast of 0.9": 0.5 + 0.9 * (photo - 0.5),
}
found = {}
for name, picture in spoilt.items():
    own = float(VisualInformationFidelity()(picture, photo))
    bytes_ = float(VisualInformationFidelity()(255 * picture, 255 * photo))
    other = float(piq.vif_p(picture, photo, data_range=1.0))
    print(f"{name}: piq {other:.3f}, torchmetrics {own:.3f}, of 255 times that {bytes_:.3f}")
    assert abs(bytes_ - other) < 1e-3, "this has changed: 0 to 255"
    found[name] = own, other
for name in ("noise of 0.05", "noise of 0.1", "noise of 0.2"):
    assert found[name][0] > found[name][1] + 0.3, "this has changed: noise"
assert found["noise of 0.1"][0] > found["contrast of 0.9"][0], "this has changed: which seems better"
assert found["noise of 0.1"][1] < 0.5 * found["contrast of 0.9"][1], "by piq"
PY
echo "still so"
