#!/usr/bin/env bash
# flax 0.12.8 with jax 0.10.2 and numpy 2.4.6, 2026-11-30: an accuracy of 10.4, and a mean loss 16 times too large, with
# a mask for examples.
#
# Guess: Accuracy and Average of flax.nnx.metrics take a mask that broadcasts, as is documented ("mask shape should be
# broadcastable to the shape of values array"), so that a mask of shape (batch, 1) leaves out whole texts of token
# labels. Seen: the sum is over the broadcast values, but the count is that of the mask itself. It is too small by the
# length of the texts. A mask of full shape is right. And Welford, in the same MultiMetric, takes the mask and makes no
# use of it: its mean is that of all values.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check flax==0.12.8 jax==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PY'
import jax.numpy as jnp
import numpy as np
from flax import nnx

# The last batch of eight texts of sixteen tokens: three places are filled up with copies.
draw = np.random.default_rng(0)
TEXTS, TOKENS, CLASSES = 8, 16, 5
labels = draw.integers(0, CLASSES, (TEXTS, TOKENS))
predicted = np.where(draw.random((TEXTS, TOKENS)) < 0.75, labels, (labels + 1) % CLASSES)
losses = np.abs(draw.normal(size=(TEXTS, TOKENS))).astype("float32")
losses[5:] += 3
mask = np.arange(TEXTS)[:, None] < 5
want = (predicted == labels)[:5].mean(), losses[:5].mean()


def measure(mask):
    metrics = nnx.MultiMetric(
        accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average(), spread=nnx.metrics.Welford()
    )
    metrics.update(
        logits=jnp.eye(CLASSES)[predicted], labels=jnp.asarray(labels), values=jnp.asarray(losses),
        mask=jnp.asarray(mask),
    )
    found = metrics.compute()
    return float(found["accuracy"]), float(found["loss"]), float(found["spread"].mean)


found = {"(8, 1)": measure(mask), "(8, 16)": measure(np.broadcast_to(mask, labels.shape))}
for shape, (accuracy, loss, mean) in found.items():
    print(f"mask of shape {shape}: accuracy {accuracy:.4f}, mean loss {loss:.4f}, Welford's mean {mean:.4f}")
print(f"by hand: accuracy {want[0]:.4f}, mean loss {want[1]:.4f}")
assert np.allclose(found["(8, 16)"][:2], want, atol=1e-5), "this has changed"
assert np.allclose(found["(8, 1)"][:2], TOKENS * np.array(want), atol=1e-3), "this has changed"
assert all(abs(each[2] - losses.mean()) < 1e-4 for each in found.values()), "this has changed: Welford"
PY
echo "still so"
