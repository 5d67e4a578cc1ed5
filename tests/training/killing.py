"""Runs in processes of their own, that a test stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.builders import TinyModels, recipe_for


@pytest.fixture
def recipe(tiny: TinyModels, folder_data: Path) -> dict[str, Any]:
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8, "patience": None, "augment": "light"}
    strategy = {"kind": "fine-tune", "learning_rate": 1e-3}
    return {**recipe_for(tiny("vit"), folder_data, **options), "strategy": strategy}


def run_in_process(recipe: dict[str, Any], folder: Path, *more: str) -> subprocess.Popen[str]:
    file = folder.with_suffix(".yaml")
    file.write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "hftransfer", "run", str(file), "--out", str(folder), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
