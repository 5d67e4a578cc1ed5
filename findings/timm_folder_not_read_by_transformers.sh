#!/usr/bin/env bash
# timm 1.0.31 with transformers 5.23.0, torch 2.14.1, 2026-11-28: transformers does not load what timm saves for the Hub.
#
# Guess: timm.models.save_for_hf writes a folder that transformers' TimmWrapper classes load, as they do timm's models on
# the Hub. Seen: config.json has the number of classes among `model_args`, too, and transformers gives it a second time:
# TypeError, "got multiple values for keyword argument 'num_classes'", of every network and class, with or without a
# number of classes of one's own. timm itself reads the folder. Without that one entry transformers loads it, with equal
# outputs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
from pathlib import Path

import timm
import torch
from transformers import AutoModelForImageClassification, TimmWrapperModel

file, images = Path("saved/config.json"), torch.zeros(1, 3, 160, 160)
for given in ({"num_classes": 3}, {}):
    network = timm.create_model("test_efficientnet", **given).eval()
    timm.models.save_for_hf(network, "saved")
    config = json.loads(file.read_text())
    print(given, "gives model_args", config.get("model_args"))
    assert torch.equal(timm.create_model("local-dir:saved", pretrained=True).eval()(images), network(images))
    for kind in (AutoModelForImageClassification, TimmWrapperModel):
        try:
            kind.from_pretrained("saved")
        except TypeError as error:
            print(kind.__name__, error)
            assert "multiple values for keyword argument 'num_classes'" in str(error)
        else:
            raise AssertionError("this has changed: transformers loads the folder")
    del config["model_args"]["num_classes"]
    file.write_text(json.dumps(config))
    loaded = AutoModelForImageClassification.from_pretrained("saved").eval()
    assert torch.allclose(loaded(images).logits, network(images), atol=1e-5)
print("without the entry it is loaded, with equal outputs")
PY
echo "still so"
