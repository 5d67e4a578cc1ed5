#!/usr/bin/env bash
# monai 1.6.1 with torch 2.14.1 and numpy 2.4.6, 2026-11-30: MaskedDiceLoss counts what is masked out as missed
# background.
#
# Guess: MaskedDiceLoss is DiceLoss of the region where the mask is 1, as "only the masked region contributes to the
# loss" says: a perfect prediction there has a loss of 0, however much lies outside. Seen: so it is with a one-hot
# target. With to_onehot_y=True the class numbers are multiplied by the mask first, so that all that is masked out
# becomes class 0 in the target, and has no probability at all in the prediction. Perfect predictions of two classes
# have a loss of 0.21 where half of the picture is masked out, and 0.42 where seven eighths are; the gradients in the
# region are others too. include_background=False leaves that class out, and all is well. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check monai==1.6.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from monai.losses import DiceLoss, MaskedDiceLoss
from torch.nn.functional import one_hot

torch.manual_seed(0)
SIDE = 64
target = (torch.rand(4, 1, SIDE, SIDE) < 0.3).long()
layers = one_hot(target[:, 0], 2).permute(0, 3, 1, 2).float()
logits = {"perfect": 40 * (layers - 0.5), "random": torch.randn(4, 2, SIDE, SIDE)}


def loss_and_gradient(which, columns, numbers, masked):
    leaf = logits[which].clone().requires_grad_()
    truth = target if numbers else layers
    mask = torch.zeros(4, 1, SIDE, SIDE)
    mask[..., :columns] = 1
    if masked:
        loss = MaskedDiceLoss(softmax=True, to_onehot_y=numbers)(leaf, truth, mask)
    else:  # the oracle: DiceLoss of the region, cut out
        loss = DiceLoss(softmax=True, to_onehot_y=numbers)(leaf[..., :columns], truth[..., :columns])
    loss.backward()
    return float(loss), leaf.grad[..., :columns]


wanted = {SIDE: 0.0, SIDE // 2: 0.208, SIDE // 8: 0.415}
for columns, value in wanted.items():
    region = loss_and_gradient("perfect", columns, True, masked=False)[0]
    numbers = loss_and_gradient("perfect", columns, True, masked=True)[0]
    layered = loss_and_gradient("perfect", columns, False, masked=True)[0]
    print(f"perfect prediction, mask of {columns} in {SIDE} columns: the region alone {region:.3f},"
          f" masked with one-hot target {layered:.3f}, with to_onehot_y {numbers:.3f}")
    assert region < 1e-4 and layered < 1e-4
    assert abs(numbers - value) < 0.01, "this has changed"

region = loss_and_gradient("random", 8, True, masked=False)
numbers = loss_and_gradient("random", 8, True, masked=True)
layered = loss_and_gradient("random", 8, False, masked=True)
share = float((numbers[1] - region[1]).norm() / region[1].norm())
print(f"random prediction, 8 columns: losses {region[0]:.3f}, {layered[0]:.3f} and {numbers[0]:.3f};"
      f" gradients in the region differ by {share:.2f} of their length")
assert torch.allclose(region[1], layered[1], atol=1e-7)
assert numbers[0] - region[0] > 0.1 and share > 0.2, "this has changed"
PY
echo "still so"
