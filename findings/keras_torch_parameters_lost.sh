#!/usr/bin/env bash
# keras 3.15.1 on its torch backend with torch 2.14.1, 2026-11-28: parameters() of a model lacks weights.
#
# Guess: a keras.Model is a torch.nn.Module, so parameters() and state_dict() have all of its weights. Seen: they are kept
# in one dictionary by their paths ("dense/kernel"), and a path doesn't name the model that a layer lies in. Of two models
# in one, whose layers have the same names (two copies of a network of keras.applications have), only the weights of one
# are there: a torch optimizer trains half of the model, and a state_dict loses the other half, without a word. Keras'
# own weights and model.save have all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=torch "$folder/venv/bin/python" -W ignore - <<'PY'
import keras


def branch(name):
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs), name=name)


inputs = keras.Input((4,))
model = keras.Model(inputs, keras.layers.Add()([branch("left")(inputs), branch("right")(inputs)]))
by_keras, by_torch = model.count_params(), sum(parameter.numel() for parameter in model.parameters())
print("weights by Keras:", by_keras, "by torch:", by_torch, list(model.state_dict()))
assert by_keras == 30
assert by_torch == 15, "this has changed: parameters() has all weights"
PY
echo "still so"
