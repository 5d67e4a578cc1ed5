#!/usr/bin/env bash
# keras 3.15.1 with torch 2.14.1, 2026-11-30: with several labels a row, class_weight takes one of them for all.
#
# Guess: fit(class_weight={0: 1, 1: 1, 2: 10}) with targets of several labels, such as [0, 1, 1], weighs the loss of
# each label by its own number, as pos_weight or weight of torch's BCEWithLogitsLoss do, or refuses, as targets have
# to be one-hot. Seen: the class of a row is the place of its first 1, and the row's whole loss is multiplied by that
# class's weight. A rare label that comes with a frequent one before it isn't weighed at all; rows without any label
# have the weight of the class 0. So what a label weighs depends on the order of the columns. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=torch "$folder/venv/bin/python" -W error::UserWarning - <<'PY'
import keras
import numpy as np
import torch

draw = np.random.default_rng(0)
inputs = draw.normal(size=(200, 5)).astype("float32")
targets = (draw.random((200, 3)) < [0.5, 0.3, 0.1]).astype("float32")
weights = np.array([1.0, 2.0, 10.0])


def loss(order, settings):
    # The loss of the untrained model, whose outputs are put into the same order as the columns of the targets.
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.set_weights([np.linspace(-1, 1, 15).reshape(5, 3)[:, order], np.zeros(3)])
    model.compile(keras.optimizers.SGD(0.0), keras.losses.BinaryCrossentropy(from_logits=True))
    found = model.fit(inputs, targets[:, order], batch_size=200, verbose=0, **settings).history["loss"][0]
    return found, model.predict(inputs, verbose=0)


for order in ([0, 1, 2], [2, 1, 0]):
    here, labels = weights[order], targets[:, order]
    plain, logits = loss(order, {})
    seen, _ = loss(order, {"class_weight": dict(enumerate(here))})
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits), torch.tensor(labels), reduction="none"
    ).numpy()
    assert abs(each.mean() - plain) < 1e-5
    by_label = float((each * here).mean())
    by_first = float((each.mean(1) * here[labels.argmax(1)]).mean())
    print(f"weights {here.tolist()}: unweighted {plain:.4f}, each label by its weight {by_label:.4f}, Keras {seen:.4f},"
          f" each row by its first label {by_first:.4f}")
    assert abs(seen - by_first) < 1e-4, "this has changed"
    assert abs(seen - by_label) > 0.2, "this has changed"

rare = targets[:, 2] == 1
behind = rare & (targets[:, :2].sum(1) > 0)
print(f"of {rare.sum()} rows with the rare label {behind.sum()} have the weight of another label")
assert behind.sum() > rare.sum() / 2
PY
echo "still so"
