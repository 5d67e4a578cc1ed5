#!/usr/bin/env bash
# mlxtend 0.25.0 with statsmodels 0.15.0 and numpy 2.4.6, 2026-11-30: p is 1 where the first accuracy is the better.
#
# Guess: proportion_difference(accuracy_1, accuracy_2, n_1, n_2) gives the p-value of its guide's null hypothesis, that
# both models are equal, whichever comes first, as statsmodels does. Seen: p is norm.cdf(z), the chance of a smaller z.
# Accuracies of 0.92 and 0.84 on 3000 examples each have z = 9.6 and p = 1.0: "no difference"; in the other order p is
# below 1e-21. Equal accuracies have 0.5, not 1. And where the first is the worse, p is half of what it should be: the
# guide's own example, 0.84 and 0.92 of 100 examples, is called significant with 0.040 where it is 0.079.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  mlxtend==0.25.0 scikit-learn==1.9.1 statsmodels==0.15.0 pandas==3.1.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
from mlxtend.evaluate import proportion_difference
from statsmodels.stats.proportion import test_proportions_2indep

found = {}
for first, second, count in (
    (0.92, 0.84, 3000), (0.84, 0.92, 3000), (0.84, 0.92, 100), (0.92, 0.84, 100), (0.9, 0.9, 100)
):
    z, p = proportion_difference(first, second, count)
    true = test_proportions_2indep(
        round(first * count), count, round(second * count), count, method="wald", compare="diff"
    )
    found[first, second, count] = float(p), float(true.pvalue)
    print(f"{first} and {second} of {count}: z {z:.3f}; p {p:.3g}, statsmodels {true.pvalue:.3g}")
    assert abs(z - true.statistic) < 1e-6, "the oracle has changed"
p, true = found[0.92, 0.84, 3000]
assert p > 0.999999 and true < 1e-20, "this has changed: a better first model differs too"
p, true = found[0.84, 0.92, 3000]
assert p < 1e-20 and true < 1e-20, "this has changed"
p, true = found[0.84, 0.92, 100]
assert p < 0.05 < true and abs(2 * p - true) < 1e-6, "this has changed: p is two-sided"
p, true = found[0.92, 0.84, 100]
assert p > 0.95 and abs(2 * (1 - p) - true) < 1e-6, "this has changed"
p, true = found[0.9, 0.9, 100]
assert abs(p - 0.5) < 1e-6 and abs(true - 1) < 1e-6, "this has changed: equal accuracies"
PY
echo "still so"
