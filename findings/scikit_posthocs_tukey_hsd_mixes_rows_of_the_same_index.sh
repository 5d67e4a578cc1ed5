#!/usr/bin/env bash
# scikit-posthocs 0.17.1 with pandas 3.1.1 and numpy 2.4.6, 2026-11-30: concatenated tables have other p-values.
#
# Guess: posthoc_tukey_hsd(table, val_col, group_col) groups by the column it is told, so that the index of the table
# makes no difference, as with posthoc_tukey, the same test, and with all others of the library. Seen: it takes the rows
# of a group by their labels (x.loc[idx]). In a table from pandas.concat, where each part counts from 0, that gives
# every group rows of the others too: three models that differ with p below 0.001 are told to be equal (p above 0.9).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  scikit-posthocs==0.17.1 pandas==3.1.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import pandas
import scikit_posthocs
from scipy import stats

NAMES = ["one", "two", "three"]
draw = np.random.default_rng(0)
scores = [draw.normal(mean, 0.02, runs) for mean, runs in ((0.70, 10), (0.75, 12), (0.80, 11))]
parts = [pandas.DataFrame({"accuracy": values, "model": name}) for name, values in zip(NAMES, scores)]
as_they_come, counted_anew = pandas.concat(parts), pandas.concat(parts, ignore_index=True)


def pairs(function, table):
    """The p-values of the three pairs."""
    found = function(table, val_col="accuracy", group_col="model").loc[NAMES, NAMES].to_numpy()
    return found[np.triu_indices(3, 1)]


true = stats.tukey_hsd(*scores).pvalue[np.triu_indices(3, 1)]
found = {
    "posthoc_tukey_hsd": pairs(scikit_posthocs.posthoc_tukey_hsd, as_they_come),
    "posthoc_tukey_hsd with ignore_index": pairs(scikit_posthocs.posthoc_tukey_hsd, counted_anew),
    "posthoc_tukey": pairs(scikit_posthocs.posthoc_tukey, as_they_come),
    "posthoc_scheffe": pairs(scikit_posthocs.posthoc_scheffe, as_they_come),
}
print("scipy:", true.round(4).tolist())
for name, values in found.items():
    print(f"{name}:", values.round(4).tolist())
assert true.max() < 1e-3 and found["posthoc_scheffe"].max() < 1e-3, "the oracle has changed"
for name in ("posthoc_tukey_hsd with ignore_index", "posthoc_tukey"):
    assert np.allclose(found[name], true, atol=1e-6), "this has changed"
assert found["posthoc_tukey_hsd"].min() > 0.9, "this has changed: the index makes no difference"
PY
echo "still so"
