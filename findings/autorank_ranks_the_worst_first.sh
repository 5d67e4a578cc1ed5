#!/usr/bin/env bash
# autorank 1.3.0 with pandas 3.1.1 and numpy 2.4.6, 2026-11-30: the worst model heads the ranking, whatever the order.
#
# Guess: autorank(table, order="descending") ranks large scores first, so that rankdf.index[0] is the best model and
# effect sizes are, as the docstring says, "in comparison to the highest mean value"; order="ascending" turns both
# round, for losses. Seen: it gives the best model mean rank 1, and then sorts these ranks by the order asked for,
# descending, so that the model with the last rank heads the table. Ascending turns the ranks and the sorting, so that
# the table begins with the same model. Effect sizes are against the worst one, both ways, and tell the best apart from
# it, not from its rivals. approach="bayesian", which sorts by the mean, begins with the best.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  autorank==1.3.0 baycomp==1.0.3 statsmodels==0.15.0 pandas==3.1.1 matplotlib==3.11.2 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io

import numpy as np
import pandas
from autorank import autorank
from scipy import stats

draw = np.random.default_rng(0)
deviations = stats.zscore(draw.normal(size=(40, 3)), ddof=1) * 0.01
normal = pandas.DataFrame(deviations + [0.91, 0.5, 0.9], columns=["best", "poor", "rival"])
skewed = normal + draw.exponential(size=(40, 3)) ** 3 * 0.001


def told(table, **settings):
    with contextlib.redirect_stdout(io.StringIO()):
        found = autorank(table, random_state=0, nsamples=500, **settings)
    return found.omnibus, found.rankdf


def by_hand(one, other):
    """Cohen's d."""
    return (one.mean() - other.mean()) / np.sqrt((one.var() + other.var()) / 2)


assert abs(by_hand(normal.best, normal.rival) - 1) < 1e-6 and by_hand(normal.best, normal.poor) > 40, "the oracle"
heads = {}
for name, table in (("normal", normal), ("skewed", skewed)):
    for settings in ({"order": "descending"}, {"order": "ascending"}, {"order": "descending", "approach": "bayesian"}):
        test, ranking = told(table, **settings)
        ranks = ranking.meanrank.round(2).to_dict() if "meanrank" in ranking else None
        heads[name, settings.get("approach", settings["order"])] = ranking.index[0]
        print(name, settings, test, "ranking:", ranking.index.tolist(), "mean ranks:", ranks)
        print("  effect sizes:", ranking.effect_size.astype(float).round(1).to_dict())
        if name == "normal" and "approach" not in settings:
            for other in ("best", "rival"):
                true = by_hand(table.poor, table[other])
                assert abs(ranking.effect_size[other] - true) < 1e-6, "this has changed: against which model"
            assert (ranking.meanrank["best"] < ranking.meanrank["poor"]) == (settings["order"] == "descending")
for name in ("normal", "skewed"):
    assert heads[name, "descending"] == heads[name, "ascending"] == "poor", "this has changed: the best comes first"
    assert heads[name, "bayesian"] == "best", "this has changed"
PY
echo "still so"
