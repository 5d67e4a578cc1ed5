#!/usr/bin/env bash
# label-studio-sdk 2.1.2, 2026-11-30: classes.txt of a YOLO export names other classes than the boxes have.
#
# Guess: the number of a box in a label file is the line of its class in classes.txt, counted from 0, as all readers of
# YOLO have it; so it is without the attribute category, which a <Label> may have to set its number. Seen: with it each
# box has the number that was set, and the lines stand in the order of the labelling config. Numbers that don't follow
# that order swap classes, and numbers from 1 on move all names by one. Label Studio's own import reads it back so:
# dogs come back as cats. notes.json has the right numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  label-studio-sdk==2.1.2 numpy==2.2.6 Pillow==13.0.0
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io
import json
from pathlib import Path

from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.imports.yolo import convert_yolo_to_ls
from PIL import Image

names = ["dog", "cat", "bird"]
size = {"original_width": 400, "original_height": 400}
regions = [
    {
        "id": name, "type": "rectanglelabels", "from_name": "label", "to_name": "image", "image_rotation": 0, **size,
        "value": {"x": 10 + 30 * place, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": [name]},
    }
    for place, name in enumerate(names)
]  # fmt: skip
settings = {"no category": {}, "0 to 2, in order": {"dog": 0, "cat": 1, "bird": 2},
            "0 to 2": {"dog": 1, "cat": 0, "bird": 2}, "1 to 3": {"dog": 1, "cat": 2, "bird": 3}}  # fmt: skip
for what, numbers in settings.items():
    folder = Path(what)
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (400, 400)).save(folder / "images" / "photo.png")
    image = str((folder / "images" / "photo.png").resolve())
    task = {"id": 1, "data": {"image": image}, "annotations": [{"id": 1, "result": regions}]}
    Path("tasks.json").write_text(json.dumps([task]))
    labels = [f'<Label value="{name}"' + (f' category="{numbers[name]}"' if numbers else "") + "/>" for name in names]
    tags = f'<RectangleLabels name="label" toName="image">{"".join(labels)}</RectangleLabels>'
    converter = Converter(f'<View><Image name="image" value="$image"/>{tags}</View>', ".", download_resources=False)
    converter.convert_to_yolo("tasks.json", what, is_dir=False)

    lines = (folder / "classes.txt").read_text().split()
    given = [int(line.split()[0]) for line in (folder / "labels" / "photo.txt").read_text().splitlines()]
    told = [lines[number] if number < len(lines) else None for number in given]
    notes = {entry["id"]: entry["name"] for entry in json.loads((folder / "notes.json").read_text())["categories"]}
    assert [notes[number] for number in given] == names, "this has changed: the numbers"
    print(f"{what}: numbers {given}, classes.txt {lines}: {told} for {names}")
    assert (told == names) == ("order" in what or what == "no category"), "this has changed: classes.txt"
    if what == "0 to 2":
        with contextlib.redirect_stdout(io.StringIO()):
            convert_yolo_to_ls(what, "back.json")
        back = json.loads(Path("back.json").read_text())[0]["annotations"][0]["result"]
        back = [region["value"]["rectanglelabels"][0] for region in back]
        print(f"read back by Label Studio: {back}")
        assert back == ["cat", "dog", "bird"], "this has changed: what is read back"
PY
echo "still so"
