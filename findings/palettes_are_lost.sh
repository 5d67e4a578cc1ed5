#!/usr/bin/env bash
# mosaicml-streaming 0.13.0 and litdata 0.2.76 with Pillow 13.0.0, 2026-11-29: an image with a palette comes back black.
#
# Guess: the encodings that keep any image of Pillow as it is, `pil` of MDSWriter and litdata's own choice for all but
# JPEG files, keep its colours. Seen: both write mode, size and the bytes of the pixels. Of an image with a palette, as
# screenshots, icons and small PNG files have, those are places in the palette, which is left behind: half green, half red
# becomes black, and no error is raised. MDSWriter's `png` keeps them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  mosaicml-streaming==0.13.0 litdata==0.2.76 pillow==13.0.0
cd "$folder"
cat > shards.py <<'PY'
from litdata import StreamingDataset as Chunks
from litdata import optimize
from PIL import Image
from streaming import MDSWriter, StreamingDataset

PLACES = ((1, 1), (6, 1))


def row(_: int) -> dict:
    return {"image": Image.open("icon.png")}


def colors(image: Image.Image) -> list[tuple[int, ...]]:
    return [image.convert("RGB").getpixel(place) for place in PLACES]


if __name__ == "__main__":
    icon = Image.new("RGB", (8, 8), (200, 10, 10))
    icon.paste((10, 200, 10), (0, 0, 4, 8))
    icon.convert("P", palette=Image.Palette.ADAPTIVE).save("icon.png")
    given = row(0)["image"]
    assert given.mode == "P" and colors(given) == [(10, 200, 10), (200, 10, 10)]
    print(f"given: {colors(given)}")
    with MDSWriter(out="mds", columns={"pil": "pil", "png": "png"}) as writer:
        writer.write({"pil": given, "png": given})
    read = StreamingDataset(local="mds", batch_size=1)[0]
    assert colors(read["png"]) == colors(given)
    optimize(fn=row, inputs=[0], output_dir="chunks", chunk_size=1, num_workers=1)
    for name, image in (("mosaicml-streaming", read["pil"]), ("litdata", Chunks("chunks")[0]["image"])):
        print(f"{name}: {colors(image)}")
        assert len(set(colors(image))) == 1, f"this has changed: {name} keeps the palette"
PY
HOME="$folder" venv/bin/python -W ignore shards.py 2> errors.txt | grep -E "^(given|mosaicml-streaming|litdata):" || { tail -5 errors.txt; exit 1; }
echo "still so"
