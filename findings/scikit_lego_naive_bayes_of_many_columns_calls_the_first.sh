#!/usr/bin/env bash
# scikit-lego 0.9.10 with scikit-learn 1.9.1, 2026-12-01: with 300 columns GaussianMixtureNB calls every row the first
# class; scikit-learn's GaussianNB is right in nine of ten.
#
# Guess: more columns help a naive Bayes classifier, or at least do it no harm: it adds up logarithms. With
# n_components=1 and classes of the same size it is GaussianNB. Seen: it is, to about a hundred columns. The sums are
# then exponentiated as they are, without taking off the greatest; the densities of all classes become 0, their shares
# 0 / 0, and predict takes the first class for it. From 200 columns on of a spread of 10 (embeddings, pixels, spectra;
# with a larger spread earlier) the accuracy falls with each column, to that of one answer for everything. numpy warns
# of an "invalid value encountered in divide" on the way; the labels look like any others. So does
# BayesianGaussianMixtureNB. Scaling the columns moves the limit only.
# (naive_bayes.py, predict_proba: np.exp of the sums)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  scikit-lego==0.9.10 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from scipy.stats import norm
from sklearn.naive_bayes import GaussianNB
from sklego.naive_bayes import BayesianGaussianMixtureNB, GaussianMixtureNB

random = np.random.default_rng(0)
seen = {}
for columns in (50, 100, 200, 300, 600):
    truth = np.repeat([0, 1, 2], 100)
    shift = 0.5 * (random.random(columns) < 0.3)
    rows = 10 * (random.normal(size=(300, columns)) + truth[:, None] * shift)
    model = GaussianMixtureNB(n_components=1).fit(rows[::2], truth[::2])
    called, chances = model.predict(rows[1::2]), model.predict_proba(rows[1::2])
    other = GaussianNB().fit(rows[::2], truth[::2])
    # By hand: the logarithms of the densities, the greatest of which is the answer.
    means = np.array([rows[::2][truth[::2] == each].mean(0) for each in range(3)])
    spread = np.array([rows[::2][truth[::2] == each].std(0) for each in range(3)])
    logs = norm.logpdf(rows[1::2, None], means, spread).sum(2)
    assert (logs.argmax(1) == other.predict(rows[1::2])).all(), "the oracle"
    seen[columns] = (called == truth[1::2]).mean(), (other.predict(rows[1::2]) == truth[1::2]).mean(), called
    print(f"{columns} columns: right {seen[columns][1]:.2f} (scikit-learn), {seen[columns][0]:.2f} (scikit-lego);",
          f"rows of each class {np.bincount(called, minlength=3)}, rows without a probability",
          int(np.isnan(chances).any(1).sum()))
assert all(seen[each][0] == seen[each][1] for each in (50, 100)), "the oracle"
assert seen[300][1] > 0.85 and seen[600][1] > 0.95, "the oracle"
assert not seen[300][2].any() and not seen[600][2].any(), "this has changed"
bayesian = BayesianGaussianMixtureNB(n_components=1).fit(rows[::2], truth[::2]).predict(rows[1::2])
assert not bayesian.any(), "this has changed: BayesianGaussianMixtureNB"
PY
echo "still so"
