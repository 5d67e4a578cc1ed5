#!/usr/bin/env bash
# datasets 5.2.0 with Pillow 13.0.0, 2026-11-29: of the classes bus, car and train only the trains are read.
#
# Guess: imagefolder makes three classes of three folders of images, whatever they are called, as torchvision's ImageFolder
# does. Seen: a folder in whose name a word is train, test, validation, val, dev or the like is a split, and folders
# beside it are left out without a word: bus, car and train give the trains alone, without labels. Of cancelled_stamp,
# test_stamp and validation_stamp the cancelled ones are gone, test has one class, and validation no labels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
from pathlib import Path

import datasets
from PIL import Image


def read(*classes: str) -> datasets.DatasetDict:
    root = Path("_".join(classes))
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(root / name / f"{number}.png")
    return datasets.load_dataset("imagefolder", data_dir=str(root))


vehicles = read("bus", "car", "train")
print(f"bus, car, train: {({name: (len(split), split.column_names) for name, split in vehicles.items()})}")
assert {name: len(split) for name, split in vehicles.items()} == {"train": 4}, "this has changed: all folders are read"
assert vehicles["train"].column_names == ["image"], "this has changed: there are labels"
stamps = read("cancelled_stamp", "test_stamp", "validation_stamp")
print(f"stamps: {({name: sorted(set(split['label'][:])) for name, split in stamps.items()})} of "
      f"{stamps['test'].features['label'].names}")
assert set(stamps) == {"test", "validation"}, "this has changed: a word in a name makes no split"
sound = read("bus", "car", "tram")
assert sound["train"].features["label"].names == ["bus", "car", "tram"] and len(sound["train"]) == 12
PY
echo "still so"
