#!/usr/bin/env bash
# trackeval 1.3.0 with numpy 2.4.6, 2026-12-01: a track that is interrupted is a fragmentation if something false was
# detected meanwhile, and none if nothing was.
#
# Guess: CLEAR's Frag counts how often an object that was tracked is tracked again after a gap, as the CLEAR measures
# define it and as motmetrics counts: what else is detected in the gap has no part in it. Seen: frames without any
# detection are passed over, and the object counts as tracked throughout. Three gaps make no fragmentation; a false
# alarm in each, far from the object, makes three. A tracker that now and then loses a whole frame, as of a camera that
# drops out, looks steadier than it is, and of two with the same gaps the one with false alarms looks worse.
# (metrics/clear.py, eval_sequence: "continue" before prev_timestep_tracker_id is cleared)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  trackeval==1.3.0 motmetrics==1.4.0 pandas==3.1.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io

import motmetrics
import numpy as np

with contextlib.redirect_stdout(io.StringIO()):
    from trackeval.metrics import CLEAR

    clear = CLEAR({"THRESHOLD": 0.5, "PRINT_CONFIG": False})

FRAMES, GAPS = 12, (3, 6, 9)


def frames(alarms):
    """For each frame the number of the detection of the one object (0, or none in a gap) and that of a false alarm (1)."""
    return [[0] if frame not in GAPS else [1] if alarms else [] for frame in range(FRAMES)]


def trackeval_frag(alarms):
    seen = frames(alarms)
    data = {
        "num_timesteps": FRAMES, "num_gt_ids": 1, "num_tracker_ids": 2, "num_gt_dets": FRAMES,
        "num_tracker_dets": sum(map(len, seen)),
        "gt_ids": [np.array([0]) for _ in seen], "tracker_ids": [np.array(each, int) for each in seen],
        "similarity_scores": [np.array([[1.0 if number == 0 else 0.0 for number in each]]).reshape(1, -1) for each in seen],
    }
    found = clear.eval_sequence(data)
    return int(found["Frag"]), int(found["CLR_FN"]), int(found["CLR_FP"])


def motmetrics_frag(alarms):
    tally = motmetrics.MOTAccumulator(auto_id=True)
    for each in frames(alarms):
        tally.update([0], each, [[0.0 if number == 0 else np.nan for number in each]])
    found = motmetrics.metrics.create().compute(
        tally, metrics=["num_fragmentations", "num_misses", "num_false_positives"], name="all").loc["all"]
    return tuple(int(each) for each in found)


def by_hand():
    tracked = [frame not in GAPS for frame in range(FRAMES)]
    return sum(now and not before for before, now in zip(tracked, tracked[1:]))


for alarms in (False, True):
    own, other = trackeval_frag(alarms), motmetrics_frag(alarms)
    print(f"false alarms in the gaps: {alarms}; fragmentations, misses and false alarms: trackeval {own},",
          f"motmetrics {other}; fragmentations by hand {by_hand()}")
    assert other == (by_hand(), 3, 3 * alarms) and own[1:] == other[1:], "the oracle"
    assert own[0] == (3 if alarms else 0), "this has changed"
PY
echo "still so"
