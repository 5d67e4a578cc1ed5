#!/usr/bin/env bash
# timm 1.0.31 with torchvision 0.29.1 and datasets 5.2.0, 2026-11-29: class folders with numbers have other places in timm.
#
# Guess: of folders called 1 to 12 all make the same classes, in the order of their names as texts (1, 10, 11, 12, 2, …),
# so that a model of timm's train.py answers in the order of ImageFolder. Seen: torchvision and datasets do; timm orders
# them as numbers (1, 2, 3, …), also within names such as breed_2 and breed_10. Eleven of twelve classes have another
# place, and nothing in the checkpoint says so.
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

for pattern in ("{}", "breed_{}"):
    root = Path("photos" + pattern.strip("{}"))
    for number in range(1, 13):
        (root / pattern.format(number)).mkdir(parents=True)
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(root / pattern.format(number) / "photo.png")
    by_torchvision = ImageFolder(root).class_to_idx
    by_datasets = datasets.load_dataset("imagefolder", data_dir=str(root))["train"].features["label"].names
    by_timm = create_dataset("", root=str(root)).reader.class_to_idx
    assert list(by_torchvision) == by_datasets == sorted(by_datasets)
    moved = [name for name, place in by_timm.items() if by_torchvision[name] != place]
    print(f"timm: {', '.join(sorted(by_timm, key=by_timm.get)[:3])}, …; torchvision: {', '.join(by_datasets[:3])}, …; "
          f"{len(moved)} of 12 classes elsewhere")
    assert len(moved) == 11, "this has changed: the order of classes is the same"
PY
echo "still so"
