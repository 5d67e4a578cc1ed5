#!/usr/bin/env bash
# keras 3.15.1 on its torch backend with torch 2.14.1, 2026-11-28: train(), eval() and requires_grad_() mean something else.
#
# Guess: a keras.Model is a torch.nn.Module: train() switches dropout on and has BatchNorm use and update the statistics
# of the batch, eval() switches both off, and requires_grad_(True) lets weights learn. Seen: a call without training=True
# is inference in either mode, so that a loop of torch trains without dropout and with old statistics. And the
# statistics are parameters, no buffers: after requires_grad_(True) they have gradients, and an optimizer moves them.
# Where there is a dropout layer, requires_grad_(True) fails: the state of its random numbers is a parameter of integers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=torch "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import torch

keras.utils.set_random_seed(0)
inputs = keras.Input((8, 8, 3))
x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
model = keras.Model(inputs, keras.layers.Dropout(0.5)(x))
images = 5 + torch.randn(8, 8, 8, 3)
with torch.no_grad():
    in_train, in_eval, told = model.train()(images), model.eval()(images), model(images, training=True)
print("train() as eval():", torch.equal(in_train, in_eval), "- training=True differs by", float((told - in_eval).abs().max()))
assert torch.equal(in_train, in_eval), "this has changed: train() has an effect"
assert (told - in_eval).abs().max() > 0.1

try:
    model.requires_grad_(True)
    told = "nothing"
except RuntimeError as error:
    told = str(error)
print("requires_grad_(True) with a dropout layer:", told)
assert "floating point" in told, "this has changed: the state of a dropout's random numbers is no parameter"

model = keras.Model(inputs, x)
model.requires_grad_(True)
statistics = dict(model.named_parameters())["_torch_params.batch_normalization/moving_mean"]
before = statistics.detach().clone()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model(images).square().mean().backward()
optimizer.step()
print("moving mean before", before.tolist(), "after a step", statistics.tolist(), "buffers:", list(model.buffers()))
assert not torch.equal(before, statistics), "this has changed: the statistics stay"
PY
echo "still so"
