#!/usr/bin/env bash
# optax 0.2.8 with jax 0.10.2 and numpy 2.4.6, 2026-11-30: the Dice loss of binary masks takes the columns of an image
# for classes: 0.7 and 0.8 for masks that are all right.
#
# Guess: dice_loss(logits, masks) with both of shape (batch, height, width) is binary, as its documentation says of
# predictions and targets ("[..., 1] or [...] for binary segmentation"): sigmoid, and sums over the image. Seen: only
# where the two differ in their count of axes is one added. Else the last axis, the columns, passes for classes: a
# softmax along each row. Right and sure predictions have a loss of 0.7 and more, as many columns share a
# probability of 1. With a last axis of size 1, and from binary_dice_loss, it is as guessed. (losses/_segmentation.py)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check optax==0.2.8 jax==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from optax.losses import binary_dice_loss, dice_loss

masks = np.zeros((2, 64, 64), "float32")
masks[0, 8:56, 8:56] = masks[1, :, 4:60] = 1
right, wrong = 20 * masks - 10, 10 - 20 * masks


def by_hand(logits):
    shares = 1 / (1 + np.exp(-logits.astype(float)))
    both = (shares * masks).sum((1, 2))
    return 1 - (both + 1) / ((shares.sum((1, 2)) + masks.sum((1, 2))) / 2 + 1)


def as_columns(logits):
    """Softmax along each row, a Dice loss for each column, and their mean."""
    shares = np.exp(logits.astype(float))
    shares /= shares.sum(-1, keepdims=True)
    both = (shares * masks).sum(1)
    return (1 - (both + 1) / ((shares.sum(1) + masks.sum(1)) / 2 + 1)).mean(-1)


for name, logits in (("right", right), ("wrong", wrong)):
    plain, with_axis = dice_loss(logits, masks), dice_loss(logits[..., None], masks[..., None])
    binary = binary_dice_loss(logits, masks)
    print(
        f"{name} masks: (batch, height, width): {np.round(plain, 4)}, with an axis more: {np.round(with_axis, 4)},"
        f" binary_dice_loss: {np.round(binary, 4)}, by hand: {np.round(by_hand(logits), 4)}"
    )
    assert np.allclose(with_axis, by_hand(logits), atol=1e-4), "this has changed"
    assert np.allclose(binary, by_hand(logits), atol=1e-4), "this has changed"
    assert np.allclose(plain, as_columns(logits), atol=1e-4), "this has changed"
assert dice_loss(right, masks).min() > 0.6 and by_hand(right).max() < 1e-3, "this has changed"
PY
echo "still so"
