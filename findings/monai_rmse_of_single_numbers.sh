#!/usr/bin/env bash
# monai 1.6.1 with torch 2.14.1 and scikit-learn 1.9.1, 2026-11-30: RMSEMetric of one number per example is the mean error.
#
# Guess: RMSEMetric after all batches is the root of the mean squared error of all numbers, as the formula of its docstring
# and scikit-learn have it. Seen: the root is taken within each example, and examples are averaged. With one number for each
# example, as in regression of an age or a grade, it is the mean absolute error: one error of 10 in ten examples is 1.0
# where the root mean square is 3.16. MSEMetric and MAEMetric agree with scikit-learn.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  monai==1.6.1 torch==2.14.1 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from monai.metrics import MAEMetric, MSEMetric, RMSEMetric
from sklearn.metrics import mean_absolute_error, mean_squared_error, root_mean_squared_error

for name, errors in (("one of ten is wrong by 10", [10.0] + [0.0] * 9), ("all are wrong by 1", [1.0] * 10)):
    truth = torch.arange(10.0)[:, None]
    predicted = truth + torch.tensor(errors)[:, None]
    told = []
    for metric in (RMSEMetric(), MSEMetric(), MAEMetric()):
        for rows in (slice(0, 4), slice(4, 10)):
            metric(predicted[rows], truth[rows])
        told.append(round(float(metric.aggregate()), 3))
    usual = [
        round(float(measure(truth, predicted)), 3)
        for measure in (root_mean_squared_error, mean_squared_error, mean_absolute_error)
    ]
    print(f"{name}: RMSE, MSE and MAE of monai {told}, of scikit-learn {usual}")
    assert told[1:] == usual[1:], "this has changed: MSE or MAE"
    assert told[0] == usual[2], "this has changed: RMSE is no longer the mean absolute error"
    assert (told[0] == usual[0]) == (errors[1] == 1), "this has changed: RMSE"
PY
echo "still so"
