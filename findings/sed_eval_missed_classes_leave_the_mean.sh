#!/usr/bin/env bash
# sed_eval 0.2.1 with dcase_util 0.2.20 and numpy 2.4.6, 2026-12-01: a detector that finds one of five kinds of
# sounds, and never any of the other four, has a class-wise average F-measure of 1.0.
#
# Guess: results_class_wise_average_metrics is, as documented, the macro average: the mean of the F-measures of the
# classes, with 0 for a class that has events and is never detected, as in scikit-learn. Seen: such a class has a
# precision of 0/0 = NaN, so its F-measure is NaN, and the mean passes over it (nanmean); its recall of 0 counts. One
# false alarm in each of the four classes brings the mean from 1.0 to the true 0.2. A detector that leaves rare
# classes out altogether beats one that finds some of their events. Event-based and segment-based metrics alike; the
# F-measure is also not that of the printed averages of precision and recall, which count different classes.
# (sound_event.py, results_class_wise_average_metrics; metric.py, precision)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  sed_eval==0.2.1 dcase_util==0.2.20 numpy==2.4.6 scikit-learn==1.9.1 setuptools==65.5.0
cd "$folder"
HOME="$folder" MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import sed_eval
from dcase_util.containers import MetaDataContainer
from sklearn.metrics import f1_score

KINDS = ["dog", "cat", "car", "bell", "rain"]
SECONDS = 30


def events(starts):
    """Events of a second each: of each kind those that start at the given seconds."""
    return [{"event_label": kind, "onset": float(start), "offset": start + 1.0, "file": "a.wav"}
            for kind, each in starts.items() for start in each]


def table(starts):
    found = np.zeros((SECONDS, len(KINDS)), int)
    for kind, each in starts.items():
        found[list(each), KINDS.index(kind)] = 1
    return found


def means(truth, found):
    """The class-wise average F-measures of sed_eval, and scikit-learn's macro F1 of the seconds."""
    both = []
    for metric in (sed_eval.sound_event.EventBasedMetrics(event_label_list=KINDS, t_collar=0.2),
                   sed_eval.sound_event.SegmentBasedMetrics(event_label_list=KINDS, time_resolution=1.0)):
        metric.evaluate(reference_event_list=MetaDataContainer(events(truth)),
                        estimated_event_list=MetaDataContainer(events(found)))
        both.append(round(metric.results_class_wise_average_metrics()["f_measure"]["f_measure"], 3))
    return both, f1_score(table(truth), table(found), average="macro", zero_division=0)


truth = {kind: (2 * place, 2 * place + 10) for place, kind in enumerate(KINDS)}
cases = {
    "all of one kind": {"dog": truth["dog"]},
    "the same, and a false alarm of each other kind": {"dog": truth["dog"], **{kind: (25,) for kind in KINDS[1:]}},
    "half of every kind": {kind: each[:1] for kind, each in truth.items()},
    "everything": truth,
}
seen = {}
for name, found in cases.items():
    seen[name], hand = means(truth, found)
    print(f"{name}: macro F of scikit-learn {hand:.3f}, sed_eval (of events, of segments) {seen[name]}")
    if name != "all of one kind":
        assert all(abs(each - hand) < 1e-3 for each in seen[name]), "the oracle"
    else:
        assert abs(hand - 0.2) < 1e-9, "the oracle"
assert seen["all of one kind"] == [1, 1], "this has changed"
assert seen["half of every kind"][0] < 0.7, "the oracle: a better detector has a lower number"
PY
echo "still so"
