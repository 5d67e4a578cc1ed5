#!/usr/bin/env bash
# keras 3.15.1 with torch 2.14.1, 2026-11-30: with accumulated gradients the average of the weights forgets faster.
#
# Guess: use_ema=True with ema_momentum=0.9 keeps 0.9 of the average at each step of the optimizer, so that eight
# small batches with gradient_accumulation_steps=8 give the average that one large batch gives, as the weights are the
# same. Seen: the average moves with each small batch, seven times of eight towards weights that stand still. Its
# momentum is the eighth power of what was asked for, 0.43 for 0.9, and 0.92 for 0.99. Weights
# while training are equal to the last digit; what the model has at the end of fit is the average. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=torch "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np

draw = np.random.default_rng(0)
inputs, labels = draw.normal(size=(256, 5)).astype("float32"), draw.integers(0, 3, 256)
LARGE, PARTS, EPOCHS = 32, 8, 3


def train(momentum, **settings):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)])
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=momentum, **settings)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    steps = []

    class Notes(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(np.concatenate([each.flatten() for each in model.get_weights()]))

    parts = settings.get("gradient_accumulation_steps", 1)
    model.fit(inputs, labels, batch_size=LARGE // parts, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[Notes()])
    final = np.concatenate([each.flatten() for each in model.get_weights()])
    return final, np.stack(steps[parts - 1 :: parts])


def averaged(steps, momentum):
    average = steps[0]
    for weights in steps[1:]:
        average = momentum * average + (1 - momentum) * weights
    return average


for momentum in (0.9, 0.99):
    whole, steps = train(momentum)
    parts, same_steps = train(momentum, gradient_accumulation_steps=PARTS)
    assert len(steps) == len(same_steps) == EPOCHS * 256 // LARGE
    assert np.allclose(steps, same_steps, atol=1e-5), "the weights while training are the same"
    wanted = averaged(steps, momentum)
    assert np.allclose(whole, wanted, atol=1e-5), "by hand"
    before = [np.abs(each - steps[-1]).mean() for each in (whole, parts)]
    print(f"momentum {momentum}: mean distance of the average from the last weights {before[0]:.4f} with large batches,"
          f" {before[1]:.4f} with {PARTS} small ones each")
    # Each large step is met by the average eight times: seven by standing weights, once by the next ones.
    average = steps[0]
    for old, new in zip(steps[:-1], steps[1:]):
        average = momentum ** (PARTS - 1) * average + (1 - momentum ** (PARTS - 1)) * old
        average = momentum * average + (1 - momentum) * new
    assert np.allclose(parts, average, atol=1e-5), "this has changed"
    assert before[1] < 0.6 * before[0], "this has changed"
PY
echo "still so"
