#!/usr/bin/env bash
# fastai 2.8.12 with torch 2.14.1 and scikit-learn 1.9.1, 2026-11-30: the Brier score is the share of wrong answers.
#
# Guess: BrierScore() is the mean squared distance of probabilities from what came true, as scikit-learn's
# brier_score_loss is, which it calls. Seen: classes are chosen by argmax first, and scikit-learn gets 0 and 1 for
# probabilities. So it is the error rate, whatever the probabilities are: logits times ten, which are far too sure, have
# the same score. BrierScoreMulti cuts at 0.5 in the same way and sums over labels, so that 1.5 is possible. A score
# that is there to judge calibration is blind to it. APScoreBinary and RocAucBinary do get probabilities.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  fastai==2.8.12 scikit-learn==1.9.1 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import sklearn.metrics as skm
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat
from fastai.metrics import APScoreBinary, BrierScore, BrierScoreMulti
from torch.utils.data import DataLoader, TensorDataset

drawn = torch.Generator().manual_seed(0)
logits = torch.randn(200, 2, generator=drawn) * 2
truth = (torch.rand(200, generator=drawn) < logits.softmax(1)[:, 1]).long()
many, marks = torch.randn(200, 3, generator=drawn), torch.randint(0, 2, (200, 3), generator=drawn).float()


def measured(inputs: torch.Tensor, targets: torch.Tensor, loss: object, *metrics: object) -> list[float]:
    rows = DataLoader(TensorDataset(inputs, targets), batch_size=64)
    layer = torch.nn.Linear(inputs.shape[1], inputs.shape[1], bias=False)
    torch.nn.init.eye_(layer.weight)
    learner = Learner(DataLoaders(rows, rows, device="cpu"), layer, loss_func=loss, metrics=list(metrics))
    with learner.no_logging(), learner.no_mbar():
        return [float(value) for value in learner.validate()][1:]


for factor in (1, 10):
    chances = (logits * factor).softmax(1)[:, 1].numpy()
    brier, precision = measured(logits * factor, truth, CrossEntropyLossFlat(), BrierScore(), APScoreBinary())
    by_hand, wrong = np.mean((chances - truth.numpy()) ** 2), float((logits.argmax(1) != truth).float().mean())
    print(f"logits times {factor}: fastai {brier:.4f}, by hand {by_hand:.4f}, error rate {wrong:.4f}")
    assert abs(by_hand - skm.brier_score_loss(truth.numpy(), chances)) < 1e-6
    assert abs(brier - wrong) < 1e-6 and abs(brier - by_hand) > 0.015, "this has changed: BrierScore"
    assert abs(precision - skm.average_precision_score(truth, chances)) < 1e-6, "this has changed: APScoreBinary"

(brier,) = measured(many, marks, BCEWithLogitsLossFlat(), BrierScoreMulti())
by_hand = float((many.sigmoid() - marks).square().mean())
wrong = float(((many > 0) != (marks > 0)).float().mean())
print(f"three labels: fastai {brier:.4f}, by hand {by_hand:.4f}, three times the error rate {3 * wrong:.4f}")
assert abs(brier - 3 * wrong) < 1e-6 and brier > 1, "this has changed: BrierScoreMulti"
assert 0.2 < by_hand < 0.4
PY
echo "still so"
