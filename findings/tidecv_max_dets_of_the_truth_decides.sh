#!/usr/bin/env bash
# tidecv 1.0.1 with numpy 2.4.6, 2026-12-01: max_dets of the predictions has no effect; that of the ground truth
# decides how many detections of an image count.
#
# Guess: Data(name, max_dets=...) holds "the maximum number of detections the model is allowed to output for a given
# image", as its docstring says: what is set for the predictions limits these. Seen: whatever the predictions are
# given (1, 100, 300) the limit is the one of the ground truth, which is 100 unless set there. In images of more than
# 100 objects (cells, crowds, aerial photos) every model loses what goes beyond it: perfect detections of 150 objects
# have an AP of 66 even where max_dets=300 was set for them, and a model cut to one box an image is reported as if it
# were not. The lost ones are called "missed" in the breakdown of the errors, which sends the user to look for the
# wrong fault.
# (quantify.py, TIDE.evaluate hands gt.max_dets on)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  opencv-python-headless==5.0.0.93 pycocotools==2.0.11 numpy==2.4.6 pandas==3.1.1 matplotlib==3.11.2 seaborn==0.13.2 \
  appdirs==1.4.4
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps tidecv==1.0.1
cd "$folder"
HOME="$folder" MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
from tidecv import TIDE, Data

OBJECTS, IMAGES = 150, 3


def run(**limits):
    """AP at 0.5 and the share of it that is put down to missed objects; all objects are detected exactly."""
    truth = Data("truth", **({"max_dets": limits["truth"]} if "truth" in limits else {}))
    found = Data("found", **({"max_dets": limits["found"]} if "found" in limits else {}))
    for image in range(IMAGES):
        for number in range(OBJECTS):
            box = [20 * number, 0, 10, 10]
            truth.add_ground_truth(image, 0, box)
            found.add_detection(image, 0, 1 - number / 1000, box)
    tide = TIDE()
    outcome = tide.evaluate(truth, found, mode=TIDE.BOX)
    missed = tide.get_main_errors()["found"]["Miss"]
    return round(float(outcome.ap), 1), round(float(missed), 1)


def by_hand(limit):
    """AP with 101 points of recall: precision is 1 up to the recall that the limit allows."""
    reached = min(limit, OBJECTS) / OBJECTS
    return round(100 * sum(point / 100 <= reached for point in range(101)) / 101, 1)


seen = {}
for name, limits in {
    "nothing set": {}, "300 for the predictions": {"found": 300}, "1 for the predictions": {"found": 1},
    "300 for the truth": {"truth": 300}, "20 for the truth": {"truth": 20},
}.items():
    seen[name] = run(**limits)
    print(f"{name}: AP {seen[name][0]}, of which missed {seen[name][1]};",
          f"by hand, if that of the predictions counted, {by_hand(limits.get('found', 100))}")
assert by_hand(300) == 100 and by_hand(1) < 2, "by hand"
assert seen["300 for the predictions"] == seen["1 for the predictions"] == seen["nothing set"], "this has changed"
assert abs(seen["nothing set"][0] - by_hand(100)) < 1 and seen["300 for the truth"][0] == 100, "this has changed"
assert abs(seen["20 for the truth"][0] - by_hand(20)) < 1, "this has changed"
PY
echo "still so"
