#!/usr/bin/env bash
# datasets 5.2.0, mosaicml-streaming 0.13.0 and litdata 0.2.76 with Pillow 13.0.0, 2026-11-29: an image that was opened from
# a file and changed in place is stored as the file has it.
#
# Guess: who hands an image of Pillow to a data set stores the pixels it has. Seen: Image.thumbnail and ImageDraw work in
# place, so the image still names its file, and all three store what the file holds: datasets its path, the others its
# bytes if it is a JPEG. Photos made small for a shard stay large, and a face that was painted over is there again.
# Image.resize and Image.copy make an image without a file name, which is stored as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in datasets shards; do python3 -m venv "$folder/$name"; done
"$folder/datasets/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
"$folder/shards/bin/python" -m pip install -q --disable-pip-version-check \
  mosaicml-streaming==0.13.0 litdata==0.2.76 pillow==13.0.0
cd "$folder"
cat > photo.py <<'PY'
from PIL import Image, ImageDraw


def edited() -> Image.Image:
    image = Image.open("photo.jpg")
    image.thumbnail((16, 16))
    ImageDraw.Draw(image).rectangle((0, 0, 15, 11), fill=(0, 255, 0))
    return image


def told(name: str, image: Image.Image) -> None:
    red, green, _ = image.convert("RGB").getpixel((1, 1))
    print(f"{name}: {image.size[0]} x {image.size[1]}, {'green' if green > red else 'red'}")
    assert image.size == (64, 48) and red > green, f"this has changed: {name} stores the image that it is given"


if __name__ == "__main__":
    Image.new("RGB", (64, 48), (200, 10, 10)).save("photo.jpg")
    image = edited()
    assert image.size == (16, 12) and image.getpixel((1, 1))[1] > 200
    print("given: 16 x 12, green")
PY
cat > by_datasets.py <<'PY'
import datasets
from photo import edited, told

features = datasets.Features({"image": datasets.Image()})
told("datasets, from_dict", datasets.Dataset.from_dict({"image": [edited()]}, features=features)[0]["image"])
files = datasets.Dataset.from_dict({"image": ["photo.jpg"]}).cast_column("image", datasets.Image())


def smaller(row: dict) -> dict:
    row["image"].thumbnail((16, 16))
    return row


told("datasets, map", files.map(smaller)[0]["image"])
copied = datasets.Dataset.from_dict({"image": [edited().copy()]}, features=features)[0]["image"]
assert copied.size == (16, 12)
PY
cat > by_shards.py <<'PY'
import io

from litdata import StreamingDataset as Chunks
from litdata import optimize
from photo import edited, told
from PIL import Image
from streaming import MDSWriter, StreamingDataset


def row(_: int) -> dict:
    return {"image": edited()}


if __name__ == "__main__":
    with MDSWriter(out="mds", columns={"image": "jpeg"}) as writer:
        writer.write(row(0))
    told("mosaicml-streaming", StreamingDataset(local="mds", batch_size=1)[0]["image"])
    optimize(fn=row, inputs=[0], output_dir="chunks", chunk_size=1, num_workers=1)
    found = Chunks("chunks")[0]["image"]
    if isinstance(found, bytes):
        found = Image.open(io.BytesIO(found))
    if not isinstance(found, Image.Image):  # a tensor (3, H, W)
        found = Image.fromarray(found.permute(1, 2, 0).numpy())
    told("litdata", found)
PY
datasets/bin/python photo.py
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" datasets/bin/python -W ignore by_datasets.py 2> /dev/null
HF_HUB_OFFLINE=1 HOME="$folder" shards/bin/python -W ignore by_shards.py 2> errors.txt | grep -E "^(mosaicml-streaming|litdata):" || { tail -5 errors.txt; exit 1; }
echo "still so"
