#!/usr/bin/env bash
# timm 1.0.31 and datasets 5.2.0 beside torchvision 0.29.1, 2026-11-29: photos sorted by year within classes are classed by
# year.
#
# Guess: cat/2023, cat/2024, dog/2023 and dog/2024 hold cats and dogs, as ImageFolder of torchvision has it. Seen: timm
# (in train.py too) and imagefolder take the innermost folder: the classes are 2023 and 2024, each half cats and half
# dogs. With cat, dog and dog/puppies timm has a third class, and imagefolder gives no labels at all. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  timm==1.0.31 torch==2.14.1 torchvision==0.29.1 datasets==5.2.0 pillow==13.0.0
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/hub" "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
from pathlib import Path

import datasets
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder


def classes(root: str, *folders: str) -> tuple[list[str], list[str], list[str] | None]:
    for name in folders:
        Path(root, name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(Path(root, name, "0.png"))
    features = datasets.load_dataset("imagefolder", data_dir=root)["train"].features
    by_datasets = features["label"].names if "label" in features else None
    found = list(ImageFolder(root).class_to_idx), list(create_dataset("", root=root).reader.class_to_idx), by_datasets
    print(f"{', '.join(folders)}: torchvision {found[0]}, timm {found[1]}, datasets {found[2]}")
    return found


years = classes("years", "cat/2023", "cat/2024", "dog/2023", "dog/2024")
assert years == (["cat", "dog"], ["2023", "2024"], ["2023", "2024"]), "this has changed: classes are outermost folders"
puppies = classes("puppies", "cat", "dog", "dog/puppies")
assert puppies == (["cat", "dog"], ["cat", "dog", "puppies"], None), "this has changed: classes are outermost folders"
PY
echo "still so"
