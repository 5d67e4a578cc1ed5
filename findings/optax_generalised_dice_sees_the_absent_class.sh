#!/usr/bin/env bash
# optax 0.2.8 with jax 0.10.2 and numpy 2.4.6, 2026-11-30: masks without one right pixel have a generalised Dice loss
# of 0.0000001 where one class of four is absent.
#
# Guess: multiclass_generalized_dice_loss weighs each class by one over its squared size, as Sudre's paper does, and
# leaves out classes that no mask of the batch has, or weighs them as the rarest one, as MONAI does. Seen: such a class
# weighs 1 / 1e-7, and the weights are made to sum up to the count of classes afterwards, so that the absent class has
# all of it. What is left is to give it no probability; how the others are told apart makes no difference. Wrong masks
# have 0.99 with three classes, 0 with a fourth unused one, and small batches of a data set with many classes nearly
# always lack one. (losses/_segmentation.py)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check optax==0.2.8 jax==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np
from optax.losses import multiclass_generalized_dice_loss

# Two masks with the classes 0, 1 and 2, and predictions that are wrong, or right, at each pixel.
true = np.random.default_rng(0).integers(0, 3, (2, 16, 16))
wrong = (true + 1) % 3


def logits(mask, classes):
    return 20 * np.eye(classes, dtype="float32")[mask] - 10


def by_paper(mask, classes):
    """Sudre et al. 2017, with no weight for classes that are absent."""
    shares = np.exp(logits(mask, classes))
    shares /= shares.sum(-1, keepdims=True)
    targets = np.eye(classes)[true]
    sizes = targets.sum((0, 1, 2))
    weights = np.array([1 / size**2 if size else 0 for size in sizes])
    both = (weights * (shares * targets).sum((0, 1, 2))).sum()
    return 1 - 2 * both / (weights * (shares + targets).sum((0, 1, 2))).sum()


own, paper, slopes = {}, {}, {}
for classes in (3, 4):
    targets = jnp.eye(classes)[true]
    own[classes] = [float(multiclass_generalized_dice_loss(logits(each, classes), targets)) for each in (true, wrong)]
    paper[classes] = [by_paper(each, classes) for each in (true, wrong)]
    unsure = jnp.asarray(logits(wrong, classes)).at[..., :3].multiply(0.1)  # sure only that no pixel has the fourth
    slope = jax.grad(lambda each: multiclass_generalized_dice_loss(each, targets))(unsure)
    slopes[classes] = float(jnp.abs(slope).sum())
    print(
        f"{classes} classes, three of them present: right masks {own[classes][0]:.7f}, wrong ones {own[classes][1]:.7f}"
        f" (by the paper {paper[classes][0]:.4f} and {paper[classes][1]:.4f}); sum of slopes {slopes[classes]:.7f}"
    )
for classes in (3, 4):
    assert paper[classes][0] < 1e-6 and paper[classes][1] > 0.9999, "by hand"
assert own[3][0] < 1e-5 and own[3][1] > 0.9 and slopes[3] > 0.1, "this has changed: all classes present"
assert own[4][1] < 1e-5, "this has changed: wrong masks have a loss"
assert slopes[4] < 0.05 * slopes[3], "this has changed: there is a slope"
PY
echo "still so"
