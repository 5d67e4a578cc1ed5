#!/usr/bin/env bash
# scikit-lego 0.9.10 with scikit-learn 1.9.1 and pandas 3.1.1, 2026-11-30: GaussianMixtureNB takes every class for as
# frequent as every other: it calls a fifth of the rows positive where a tenth is.
#
# Guess: GaussianMixtureNB is, as documented, a naive Bayes classifier with mixtures in place of single normal
# distributions; with n_components=1 it is scikit-learn's GaussianNB, which weighs the classes' densities by their share
# of the training data. Seen: predict_proba divides the densities by their sum, without any prior. It is GaussianNB with
# equal priors: the rarer a class, the more often it is called by mistake, and the odds of a class of one in ten are
# nine times too high. BayesianGaussianMixtureNB does the same. Nothing can be set about it.
# (naive_bayes.py, predict_proba)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  scikit-lego==0.9.10 scikit-learn==1.9.1 pandas==3.1.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from sklearn.naive_bayes import GaussianNB
from sklearn.metrics import accuracy_score, log_loss
from sklego.naive_bayes import BayesianGaussianMixtureNB, GaussianMixtureNB

draw = np.random.default_rng(0)


def data(count):
    labels = (np.arange(count) % 10 == 0).astype(int)
    return draw.normal(size=(count, 2)) + 1.5 * labels[:, None], labels


train, fresh = data(2000), data(5000)
models = {
    "GaussianNB": GaussianNB(),
    "GaussianNB with equal priors": GaussianNB(priors=[0.5, 0.5]),
    "GaussianMixtureNB": GaussianMixtureNB(n_components=1, random_state=0),
    "BayesianGaussianMixtureNB": BayesianGaussianMixtureNB(n_components=1, random_state=0),
}
chances, called = {}, {}
for name, model in models.items():
    model.fit(*train)
    chances[name] = model.predict_proba(fresh[0])[:, 1]
    called[name] = (model.predict(fresh[0]) == 1).mean()
    print(f"{name}: mean probability of the positive class {chances[name].mean():.3f}, called {called[name]:.3f},",
          f"accuracy {accuracy_score(fresh[1], chances[name] > 0.5):.3f}, log loss {log_loss(fresh[1], chances[name]):.3f}")
assert fresh[1].mean() == 0.1 and abs(chances["GaussianNB"].mean() - 0.1) < 0.02, "the oracle"
for name in ("GaussianMixtureNB", "BayesianGaussianMixtureNB"):
    assert np.abs(chances[name] - chances["GaussianNB with equal priors"]).max() < 0.02, "this has changed: priors count"
    assert chances[name].mean() > 0.2 and called[name] > 1.8 * called["GaussianNB"], "this has changed"
PY
echo "still so"
