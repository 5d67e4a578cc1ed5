#!/usr/bin/env bash
# datasets 5.2.0 with Pillow 13.0.0, 2026-11-29: to_parquet, to_json and to_csv of photos write where they lie, not the photos.
#
# Guess: a Parquet file that a folder of images was written to holds them, as files of the Hub and save_to_disk do. Seen:
# save_to_disk does, to_parquet writes {"bytes": null, "path": "/…/cat/0.png"}, the absolute path on that machine. The file
# reads well beside its folder; sent elsewhere, or with the folder moved, it has labels and no images, and loading it still
# works: the first look at an image fails.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import json
from pathlib import Path

import datasets
import pyarrow.parquet
from PIL import Image

for name in ("cat", "dog"):
    Path("photos", name).mkdir(parents=True)
    Image.new("RGB", (64, 64), (9, 9, 9)).save(Path("photos", name, "0.png"))
photos = datasets.load_dataset("imagefolder", data_dir="photos")["train"]
photos.to_parquet("photos.parquet")
photos.to_json("photos.jsonl")
photos.save_to_disk("saved")
by_parquet = pyarrow.parquet.read_table("photos.parquet").to_pylist()[0]["image"]
by_json = json.loads(Path("photos.jsonl").read_text().splitlines()[0])["image"]
by_disk = datasets.load_from_disk("saved").with_format("arrow")[0]["image"][0].as_py()
for name, image in (("to_parquet", by_parquet), ("to_json", by_json), ("save_to_disk", by_disk)):
    held = "no bytes" if image["bytes"] is None else f"{len(image['bytes'])} bytes"
    print(f"{name}: {held}, {'an absolute path' if Path(image['path']).is_absolute() else image['path']}")
assert by_disk["bytes"]
assert by_parquet["bytes"] is None and Path(by_parquet["path"]).is_absolute(), "this has changed: images are written"
Path("photos").rename("moved")
again = datasets.load_dataset("parquet", data_files="photos.parquet")["train"]
print(f"read again after a move: {len(again)} rows, labels {again['label'][:]}")
try:
    again[0]["image"]
except FileNotFoundError:
    print("the first image: not there")
else:
    raise AssertionError("this has changed: images are found")
PY
echo "still so"
