#!/usr/bin/env bash
# datasets 5.2.0, 2026-11-30: map gives the results of a helper's old code.
#
# Guess: a cached map is computed again once the code of its function has changed, as it is for a function of the script
# itself. Seen: a function imported from a module counts by its name alone. After an edit of that module, map in a new
# process still gives the old rows. So it is for a lambda of the script that calls the helper.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0 numpy==2.4.6
cd "$folder"
cat > script.py <<'PY'
import os

import datasets
import preparing

datasets.disable_progress_bars()
if not os.path.exists("rows"):
    datasets.Dataset.from_dict({"seen": [1, 2, 3]}).save_to_disk("rows")


def own(row: dict[str, int]) -> dict[str, int]:
    return {"made": row["seen"] * TIMES}


rows = datasets.load_from_disk("rows")
functions = {"imported": preparing.made, "through a lambda": lambda row: preparing.made(row), "own": own}
for name, function in functions.items():
    print(name, list(rows.map(function)["made"]), sep=": ")
PY
for times in 2 10; do
  echo "def made(row): return {'made': row['seen'] * $times}" > preparing.py
  sed "s/TIMES/$times/" script.py > now.py
  echo "times $times"
  HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" -W ignore now.py | tee "told-$times"
done
diff - "told-10" <<'TOLD' || { echo "this has changed"; exit 1; }
imported: [2, 4, 6]
through a lambda: [2, 4, 6]
own: [10, 20, 30]
TOLD
echo "still so"
