#!/usr/bin/env bash
# keras 3.15.1 with numpy 2.4.6, scipy 1.17.1, 2026-11-30: the correlation of a validation set is a mean over batches.
#
# Guess: PearsonCorrelation(axis=0) in compile() gives, after evaluate(), the correlation of all predictions with all
# true values, as R2Score sums up what it needs. Seen: it is a MeanMetricWrapper, which takes the correlation within
# each batch and the mean of those. Where rows are in order, by patient or by time or by value, a model that follows
# the values at 0.99 has 0.2, and another batch size gives another number. The last batch counts as much as a full
# one. ConcordanceCorrelation does the same. As given in its documents (no axis) a model of one output has no number
# at all (nan).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  keras==3.15.1 jax==0.10.2 numpy==2.4.6 scipy==1.17.1
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np
from scipy.stats import pearsonr

drawn = np.random.default_rng(0)
x = np.sort(drawn.uniform(0, 10, (640, 1)), axis=0).astype("float32")
y = (x + drawn.normal(size=x.shape) * 0.5).astype("float32")

model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
pearson, concordance = keras.metrics.PearsonCorrelation(axis=0), keras.metrics.ConcordanceCorrelation(axis=0)
model.compile(loss="mse", metrics=[pearson, concordance, keras.metrics.R2Score()])
predicted = model.predict(x, verbose=0)
right = pearsonr(predicted[:, 0], y[:, 0]).statistic
ccc = 2 * np.cov(predicted[:, 0], y[:, 0], bias=True)[0, 1] / (predicted.var() + y.var() + (predicted - y).mean() ** 2)
r2 = 1 - ((predicted - y) ** 2).mean() / y.var()
print(f"by hand: r {right:.4f}, concordance {ccc:.4f}, R² {r2:.4f}")
assert right > 0.98 and ccc > 0.98, "the data has changed"
for size in (8, 32, 640):
    own = model.evaluate(x, y, batch_size=size, verbose=0, return_dict=True)
    mean = np.mean([pearsonr(predicted[i : i + size, 0], y[i : i + size, 0]).statistic for i in range(0, 640, size)])
    print(f"batches of {size}:", ", ".join(f"{name} {value:.4f}" for name, value in own.items() if name != "loss"))
    assert abs(own["r2_score"] - r2) < 1e-4, "R² has changed"
    assert abs(own["pearson_correlation"] - mean) < 1e-3, "this has changed"
    for name, value in (("pearson_correlation", right), ("concordance_correlation", ccc)):
        assert (abs(own[name] - value) < 1e-3) if size == 640 else own[name] < 0.7, f"this has changed: {name}"
plain = keras.metrics.PearsonCorrelation()
plain.update_state(y, predicted)
print("no axis:", float(plain.result()))
assert np.isnan(float(plain.result())), "this has changed: no axis"
PY
echo "still so"
