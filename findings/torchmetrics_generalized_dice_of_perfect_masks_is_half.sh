#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, 2026-11-30: perfect masks have a generalised Dice of 0.5 for a rare class.
#
# Guess: GeneralizedDiceScore(per_class=True) of predictions that equal the truth is 1 for each class; images without a
# class, in truth and prediction, are left out of its mean, as in DiceScore(average="none") and MeanIoU(per_class=True)
# of the same library.
# Seen: such an image counts 0 (0 / 0 in functional/segmentation/generalized_dice.py). A class that stands in half of
# the images has 0.5 at best, one in a tenth of them 0.1, whatever the model does; without per_class it is 1.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore, MeanIoU

masks = torch.randint(0, 2, (20, 16, 16), generator=torch.Generator().manual_seed(0))
masks[:10, :4] = 2  # class 2 is in ten of twenty images, class 3 in two
masks[:2, 4:8] = 3

found = {
    "GeneralizedDiceScore": GeneralizedDiceScore(4, per_class=True, input_format="index")(masks, masks),
    "DiceScore": DiceScore(4, average="none", input_format="index")(masks, masks),
    "MeanIoU": MeanIoU(4, per_class=True, input_format="index")(masks, masks),
}
for name, values in found.items():
    print(f"{name} of the truth itself:", [round(float(value), 3) for value in values])
for name in ("DiceScore", "MeanIoU"):
    assert torch.allclose(found[name], torch.ones(4)), "this has changed: the others"
assert torch.allclose(found["GeneralizedDiceScore"], torch.tensor([1, 1, 0.5, 0.1])), "this has changed"
whole = float(GeneralizedDiceScore(4, input_format="index")(masks, masks))
print(f"GeneralizedDiceScore of all classes: {whole:.3f}")
assert abs(whole - 1) < 1e-6, "this has changed: all classes"
PY
echo "still so"
