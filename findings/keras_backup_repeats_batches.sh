#!/usr/bin/env bash
# keras 3.15.1 with torch 2.14.1, 2026-11-30: a backup in the middle of an epoch is resumed at the epoch's beginning.
#
# Guess: BackupAndRestore(save_freq=1) brings an interrupted fit back to where it was, so that it ends with the
# weights of one that wasn't interrupted, as it does with save_freq="epoch", which goes back to the end of an epoch.
# Seen: weights and optimizer are those of the last batch, and the epoch begins anew: batches that were learned are
# learned once more. Of an interruption late in the only long epoch nearly the whole epoch comes twice; schedules,
# which count steps, run out early. The number of the last batch is in the file beside the weights, and isn't read.
# Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=torch "$folder/venv/bin/python" -W ignore - <<'PY'
import json
from pathlib import Path

import keras
import numpy as np

draw = np.random.default_rng(0)
inputs, labels = draw.normal(size=(160, 5)).astype("float32"), draw.integers(0, 3, 160)
EPOCHS, BATCHES, STOP = 3, 10, 18  # stopped before the 19th step: the ninth batch of the second epoch


def fit(folder=None, stop=None, save_freq="epoch"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)])
    rate = keras.optimizers.schedules.CosineDecay(0.05, EPOCHS * BATCHES)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = []

    class Notes(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(model.optimizer.iterations) == stop:
                raise KeyboardInterrupt
            batches.append(batch)

    callbacks = [Notes()]
    if folder is not None:
        callbacks.append(keras.callbacks.BackupAndRestore(folder, save_freq=save_freq))
    try:
        model.fit(inputs, labels, batch_size=16, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)
    except KeyboardInterrupt:
        pass
    return model, batches


def distance(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one.get_weights(), other.get_weights()))


whole, every = fit()
assert len(every) == EPOCHS * BATCHES
for save_freq in ("epoch", 1):
    folder = f"backup-{save_freq}"
    _, first = fit(folder, STOP, save_freq)
    noted = [json.loads(path.read_text()) for path in Path(folder).rglob("*.json")]
    model, second = fit(folder, None, save_freq)
    print(f"save_freq={save_freq}: noted {noted}; {len(first)} steps, and {len(second)} after it,"
          f" from batch {second[0]} on;"
          f" steps counted {int(model.optimizer.iterations)} of {EPOCHS * BATCHES};"
          f" weights differ by {distance(model, whole):.4f} from those of the whole")
    if save_freq == "epoch":
        assert distance(model, whole) < 1e-6 and int(model.optimizer.iterations) == EPOCHS * BATCHES
    else:
        assert second[0] == 0 and len(second) == 2 * BATCHES, "this has changed"
        assert int(model.optimizer.iterations) == STOP + 2 * BATCHES, "this has changed"
        assert distance(model, whole) > 0.01, "this has changed"
PY
echo "still so"
