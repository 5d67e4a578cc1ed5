"""What each of several processes does in test_processes.py: the runs of a JSON file, one after the other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from hftransfer.base.progress import Progress
from hftransfer.jobs.run import run

if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder, recipe in json.loads(Path(sys.argv[1]).read_text()).items():
        run(recipe, out=folder, progress=Progress(None))
