#!/usr/bin/env bash
# webdataset 1.0.2 and datasets 5.2.0, 2026-11-29: of eight photos called cat.0.jpg to dog.3.jpg, as in Kaggle's set of
# cats and dogs, each with its label in a .cls file, two examples are left.
#
# Guess: cat.0.jpg and cat.0.cls are one example, and cat.1.jpg begins another.
# Seen: an example's name ends at the first dot. All cats are one example "cat" with the fields 0.jpg, 0.cls, 1.jpg and
# so on, and all dogs another. Neither library warns; with datasets the columns are called "0.jpg" to "3.cls".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check webdataset==1.0.2 datasets==5.2.0 pillow==13.0.0
cd "$folder"
HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" - <<'PY'
import io
import tarfile

import datasets
import webdataset
from PIL import Image

with tarfile.open("photos.tar", "w") as shard:
    for label, kind in enumerate(("cat", "dog")):
        for number in range(4):
            photo = io.BytesIO()
            Image.new("RGB", (8, 8), (60 * number, 200 * label, 0)).save(photo, "JPEG")
            for suffix, content in (("jpg", photo.getvalue()), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{kind}.{number}.{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))

samples = list(webdataset.WebDataset("photos.tar", shardshuffle=False))
keys = [sample["__key__"] for sample in samples]
fields = sorted(name for name in samples[0] if not name.startswith("__"))
rows = datasets.load_dataset("webdataset", data_files={"train": "photos.tar"}, cache_dir="cache")["train"]
print("webdataset:", keys, fields)
print("datasets:", len(rows), "rows with", rows.column_names)
assert keys == ["cat", "dog"], "this has changed: each photo is an example"
assert fields == ["0.cls", "0.jpg", "1.cls", "1.jpg", "2.cls", "2.jpg", "3.cls", "3.jpg"]
assert len(rows) == 2 and "3.jpg" in rows.column_names, "this has changed: each photo is a row"
PY
echo "still so"
