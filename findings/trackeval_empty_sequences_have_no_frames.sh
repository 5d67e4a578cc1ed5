#!/usr/bin/env bash
# trackeval 1.3.0 with numpy 2.4.6, 2026-12-01: sequences without any object add their false alarms to FP_per_frame, but
# not their frames.
#
# Guess: CLEAR's FP_per_frame over several sequences is the number of false alarms divided by the number of frames.
# Seen: the frames of a sequence in which nothing was detected, or in which there is no object, count 0 (CLR_Frames).
# A sequence without objects is there to measure false alarms: with one in each of its 90 frames, beside 10 frames
# with 5 of them, there are 9.5 false alarms a frame instead of 0.95. One without detections is left out of the frames
# in the same way. And for a sequence of its own it says 0 false alarms a frame, whatever was detected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check trackeval==1.3.0 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io

import numpy as np

with contextlib.redirect_stdout(io.StringIO()):
    from trackeval.metrics import CLEAR

    clear = CLEAR({"THRESHOLD": 0.5, "PRINT_CONFIG": False})


def sequence(frames, objects, hits, alarms):
    """`objects`, `hits` and `alarms`: in how many of the first frames there is an object, a hit, a false alarm."""
    truth = [np.arange(int(frame < objects)) for frame in range(frames)]
    seen = [np.array([0] * (frame < hits) + [1] * (frame < alarms), int) for frame in range(frames)]
    return {
        "num_timesteps": frames, "num_gt_ids": int(objects > 0), "num_tracker_ids": 2,
        "num_gt_dets": sum(map(len, truth)), "num_tracker_dets": sum(map(len, seen)),
        "gt_ids": truth, "tracker_ids": seen,
        "similarity_scores": [np.tile((there == 0).astype(float), (len(here), 1)) for here, there in zip(truth, seen)],
    }


cases = {
    "without an object, an alarm in each frame": (sequence(90, 0, 0, 90), 90),
    "with an object in one frame only, else the same": (sequence(90, 1, 1, 90), 90),
    "without a detection": (sequence(90, 90, 0, 0), 0),
}
plain = sequence(10, 10, 10, 5)
first = clear.eval_sequence(plain)
assert abs(first["FP_per_frame"] - 0.5) < 1e-9, "the oracle"
for name, (data, alarms) in cases.items():
    one = clear.eval_sequence(data)
    both = clear.combine_sequences({"plain": first, "other": one})
    hand = (5 + alarms) / 100
    print(f"10 frames with 5 false alarms, and 90 {name}: false alarms {int(both['CLR_FP'])}, frames"
          f" {int(both['CLR_Frames'])}; FP_per_frame {both['FP_per_frame']:.3f}, by hand {hand:.3f};"
          f" the second alone {one['FP_per_frame']:.3f}, by hand {alarms / 90:.3f}")
    assert both["CLR_FP"] == 5 + alarms, "the oracle"
    if "one frame" in name:
        assert abs(both["FP_per_frame"] - hand) < 1e-9 and abs(one["FP_per_frame"] - 1) < 1e-9, "the oracle"
    else:
        assert abs(both["FP_per_frame"] - (5 + alarms) / 10) < 1e-9 and one["FP_per_frame"] == 0, "this has changed"
PY
echo "still so"
