#!/usr/bin/env bash
# skorch 1.4.0 with torch 2.14.1 and scikit-learn 1.9.1, 2026-11-30: training that goes on skips a step of the schedule.
#
# Guess: partial_fit goes on with the learning rates that one longer fit has, as it does with ExponentialLR or
# CosineAnnealingLR under skorch's LRScheduler. Seen: where training stopped at a step of StepLR or MultiStepLR, the rate
# is lowered once more at the start: four epochs of eight, and the fifth has a tenth of the rate that it should have.
# Loading parameters, optimizer and history into a new net has the same outcome. All later epochs stay too low.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  skorch==1.4.0 torch==2.14.1 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(200, 5)).astype(np.float32)
labels = (inputs[:, 0] > 0).astype(np.int64)


def net(epochs: int, policy: str, settings: dict[str, object]) -> NeuralNetClassifier:
    return NeuralNetClassifier(
        torch.nn.Linear,
        module__in_features=5,
        module__out_features=2,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=epochs,
        lr=1.0,
        verbose=0,
        callbacks=[LRScheduler(policy, **settings)],
    )


files = {"f_params": "params.pt", "f_optimizer": "optimizer.pt", "f_history": "history.json"}
for policy, settings in (
    ("ExponentialLR", {"gamma": 0.5}),
    ("CosineAnnealingLR", {"T_max": 8}),
    ("StepLR", {"step_size": 2}),
    ("MultiStepLR", {"milestones": [4, 6]}),
):
    at_once, halves, loaded = (net(epochs, policy, settings) for epochs in (8, 4, 4))
    at_once.fit(inputs, labels)
    halves.fit(inputs, labels)
    halves.save_params(**files)
    halves.partial_fit(inputs, labels)
    loaded.initialize()
    loaded.load_params(**files)
    loaded.partial_fit(inputs, labels)
    rates = [[float(rate) for rate in made.history[:, "event_lr"]] for made in (at_once, halves, loaded)]
    for name, told in zip(("at once", "in two parts", "loaded"), rates):
        print(f"{policy}, {name}: {' '.join(f'{rate:.5g}' for rate in told)}")
    same = np.allclose(rates[0], rates[1]) and np.allclose(rates[0], rates[2])
    assert same == (policy in ("ExponentialLR", "CosineAnnealingLR")), "this has changed"
PY
echo "still so"
