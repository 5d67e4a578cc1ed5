#!/usr/bin/env bash
# datasets 5.2.0, 2026-11-29: a folder of WebDataset shards as CLIP_benchmark lays them out (train/0.tar and
# train/nshards.txt, test/0.tar and test/nshards.txt, classnames.txt) is read as a text data set with one row a split.
#
# Guess: the shards are found by their ending, and each photo is a row.
# Seen: the most frequent kind of file decides, and the notes are files too. With one shard a split the only row is
# the "1" of nshards.txt. With two shards a split the photos are rows; their classes are numbers all the same, as
# classnames.txt is not looked at. Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" - <<'PY'
import io
import tarfile
from pathlib import Path

import datasets
from PIL import Image


def rows_of(shards):
    """The rows of the training split where each split has so many shards of four photos."""
    root = Path(f"photos-{shards}")
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        (root / split / "nshards.txt").write_text(str(shards))
        for place in range(shards):
            with tarfile.open(root / split / f"{place}.tar", "w") as shard:
                for number in range(4):
                    photo = io.BytesIO()
                    Image.new("RGB", (8, 8), (60 * number, 0, 90 * place)).save(photo, "JPEG")
                    for suffix, content in (("jpg", photo.getvalue()), ("cls", str(number % 2).encode())):
                        member = tarfile.TarInfo(f"s{4 * place + number}.{suffix}")
                        member.size = len(content)
                        shard.addfile(member, io.BytesIO(content))
    (root / "classnames.txt").write_text("cat\ndog\n")
    return datasets.load_dataset(str(root))["train"]


one, two = rows_of(1), rows_of(2)
print("one shard a split:", len(one), "row,", one.column_names, one[0])
print("two shards a split:", len(two), "rows,", two.column_names, "classes", sorted(set(two["cls"])))
assert one.column_names == ["text"] and one[:] == {"text": ["1"]}, "this has changed"
assert len(two) == 8 and "jpg" in two.column_names and set(two["cls"]) == {0, 1}, "this has changed"
assert not isinstance(two.features["cls"], datasets.ClassLabel), "this has changed: classes have names"
PY
echo "still so"
