#!/usr/bin/env bash
# keras 3.15.1 with torch 2.14.1, 2026-11-30: LoRA layers that were loaded learn no more.
#
# Guess: a model with enable_lora, saved and loaded, can be trained on as if it had stayed in memory. Seen: loading puts the
# update into the kernel and sets both LoRA matrices to zero. Predictions are right, but the gradient of each matrix is a
# product with the other. So both stay zero for ever, and only biases still move. load_model and load_weights are alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=torch OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(64, 8)).astype(np.float32)
targets = (2 * inputs[:, :1] + inputs[:, 1:2]).astype(np.float32)


def fresh() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.layers.Input((8,)), *layers])
    for layer in layers:
        layer.enable_lora(2)
    model.compile("sgd", "mse")
    return model


kept, filled = fresh(), fresh()
kept.fit(inputs, targets, epochs=3, verbose=0)
kept.save("whole.keras")
kept.save_weights("only.weights.h5")
filled.load_weights("only.weights.h5")
before = kept.predict(inputs, verbose=0)
losses = {}
for name, model in (("kept", kept), ("load_model", keras.saving.load_model("whole.keras")), ("load_weights", filled)):
    gap = float(np.abs(model.predict(inputs, verbose=0) - before).max())
    assert gap < 1e-4, "this has changed: predictions"
    start = model.evaluate(inputs, targets, verbose=0)
    model.fit(inputs, targets, epochs=100, verbose=0)
    losses[name] = model.evaluate(inputs, targets, verbose=0)
    matrices = [weight for weight in model.trainable_variables if "lora" in weight.path]
    largest = max(float(np.abs(keras.ops.convert_to_numpy(weight)).max()) for weight in matrices)
    print(f"{name}: loss {start:.3f}, {losses[name]:.3f} after 100 more epochs; the largest entry of LoRA is {largest:.3f}")
    assert len(matrices) == 4 and (largest == 0) == (name != "kept"), "this has changed: the matrices"
assert losses["load_model"] > 2 * losses["kept"] and losses["load_weights"] > 2 * losses["kept"], "this has changed"
PY
echo "still so"
