#!/usr/bin/env bash
# keras 3.15.1 with numpy 2.4.6, 2026-11-30: Tversky weighs missed pixels by alpha and false ones by beta.
#
# Guess: Tversky(alpha, beta) weighs false positives by alpha and false negatives by beta, as its documents say and as
# the paper that it names has it, so that beta=0.9 makes a model that finds more. Seen: the function names the true
# mask "inputs" and the prediction "targets", and then takes each for the other. Alpha weighs what is missed and beta
# what is too much. Who raises beta for small tumours or rare classes trains a model that misses more of them. With
# 0.5 and 0.5 nothing shows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np

assert "alpha: The coefficient controlling incidence of false positives" in keras.losses.Tversky.__doc__

# Masks of 10 × 10 with an object of 20 pixels: one prediction has 20 pixels too many, the other lacks 10.
true = np.zeros((1, 10, 10, 1), dtype="float32")
true[:, :2] = 1
more, less = np.zeros_like(true), np.zeros_like(true)
more[:, :4] = 1
less[:, :1] = 1


def by_hand(predicted: np.ndarray, alpha: float, beta: float) -> float:
    hits, false, missed = ((true * predicted).sum(), ((1 - true) * predicted).sum(), (true * (1 - predicted)).sum())
    return float(1 - hits / (hits + alpha * false + beta * missed))


for name, predicted in {"20 pixels too many": more, "10 pixels missed": less}.items():
    for alpha, beta in ((0.1, 0.9), (0.9, 0.1), (0.5, 0.5)):
        own = float(keras.losses.Tversky(alpha=alpha, beta=beta)(true, predicted))
        right, swapped = by_hand(predicted, alpha, beta), by_hand(predicted, beta, alpha)
        print(f"{name}, alpha {alpha}, beta {beta}: {own:.4f}; by hand {right:.4f}, with the two swapped {swapped:.4f}")
        assert abs(own - swapped) < 1e-5, "this has changed"
        assert (abs(own - right) < 1e-5) == (alpha == beta), "this has changed: alpha weighs false positives"

# Beta is for what is missed: at 0.9 a mask that misses nothing has the smaller loss.
loss = keras.losses.Tversky(alpha=0.1, beta=0.9)
assert by_hand(more, 0.1, 0.9) < 0.1 and by_hand(less, 0.1, 0.9) > 0.4, "the sum by hand is wrong"
assert float(loss(true, more)) > 0.4 and float(loss(true, less)) < 0.1, "this has changed"
PY
echo "still so"
