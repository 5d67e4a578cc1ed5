#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1, timm 1.0.31, 2026-11-28: AutoBackbone loads no local folder.
#
# Guess: AutoBackbone.from_pretrained(FOLDER) loads what save_pretrained wrote there, as AutoModel does and as the
# backbone's own class does. Seen: it first asks the Hub whether a repository of this name exists
# (_BaseAutoBackboneClass.from_pretrained), so that
#   an absolute path       HFValidationError: no name of a repository
#   offline                the Hub can't be asked
# ResNetBackbone.from_pretrained(FOLDER) loads the very same files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from pathlib import Path

from transformers import AutoBackbone, AutoModel, ResNetBackbone, ResNetConfig

sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
ResNetBackbone(ResNetConfig(**sizes, layer_type="basic", out_features=["stage2", "stage4"])).save_pretrained("saved")
whole = str(Path("saved").resolve())
print("ResNetBackbone", ResNetBackbone.from_pretrained(whole).channels)
print("AutoModel", type(AutoModel.from_pretrained(whole)).__name__)
try:
    print("AutoBackbone", AutoBackbone.from_pretrained(whole).channels)
except Exception as error:
    print("AutoBackbone", type(error).__name__, str(error)[:90])
    assert type(error).__name__ == "HFValidationError", "this has changed: another error"
else:
    raise SystemExit("this has changed: it loads a local folder")
PY
echo "still so"
