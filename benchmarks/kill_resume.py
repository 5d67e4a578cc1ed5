"""Runs that are killed at random moments and resumed, compared bit by bit with a run that was left alone.

    python -m benchmarks.kill_resume

Each trial begins a run with an empty cache and sends it SIGKILL: in a third of them at any moment, in a third while it
computes activations, in a third while it writes a checkpoint, which it does after every step. Then it resumes the run,
kills it again at any moment half of the time, and resumes it until it ends. One line per trial says where it was
killed; the last line counts the trials that ended with the same weights and history as the whole run.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hftransfer.base.run_folder import CHECKPOINTS, is_interrupted

_RECIPE = """\
task: {task}
model: {model}
data: {data}
strategy: {{kind: fine-tune, unfreeze: {unfreeze}, learning_rate: 1e-4}}
train: {{epochs: 3, batch_size: 16, checkpoint_every_steps: 1, patience: null, augment: {augment}}}
"""


def main() -> None:
    """Nothing; prints a line per trial and how many ended with the same bits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", default="text-classification")
    parser.add_argument("--model", default="bundled/minilm-l6")
    parser.add_argument("--data", default="bundled/short-reviews")
    parser.add_argument("--unfreeze", default="1")
    parser.add_argument("--augment", default="none")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        recipe = root / "killed.yaml"
        recipe.write_text(_RECIPE.format(**vars(options)))
        _finish(recipe, root / "warm", root / "warm-cache")
        began = time.perf_counter()
        _finish(recipe, root / "whole", root / "whole-cache")
        seconds = time.perf_counter() - began
        wanted, equal = _result(root / "whole"), 0
        for trial in range(options.trials):
            folder, cache = root / f"run-{trial}", root / f"cache-{trial}"
            anytime = moments.uniform(0.15, 1.0) * seconds
            awaited, number, later = [
                (None, 1, anytime),
                ("activations", 1, moments.uniform(0.0, 0.05)),
                ("checkpoint", moments.randint(1, 12), moments.uniform(0.0, 0.02)),
            ][trial % 3]
            killed = [_killed(recipe, folder, cache, later, awaited, number)]
            if moments.random() < 0.5:
                killed.append(_killed(recipe, folder, cache, moments.uniform(0.15, 1.0) * seconds))
            _finish(recipe, folder, cache)
            same = _result(folder) == wanted
            equal += same
            print(f"trial {trial + 1}: killed {' and '.join(killed)}: {'equal' if same else 'DIFFERENT'}", flush=True)
    print(f"{equal} of {options.trials} bit-equal")
    sys.exit(equal != options.trials)


def _finished(folder: Path) -> bool:
    return (folder / "metrics.json").exists() and not is_interrupted(folder)


def _command(recipe: Path, folder: Path, cache: Path) -> subprocess.Popen[str]:
    more = ["--resume"] if is_interrupted(folder) else []
    command = [sys.executable, "-m", "hftransfer", "run", str(recipe), "--out", str(folder), *more]
    environment = os.environ | {"HFTRANSFER_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def _finish(recipe: Path, folder: Path, cache: Path) -> None:
    if _finished(folder):
        return
    process = _command(recipe, folder, cache)
    _, told = process.communicate()
    if process.returncode:
        sys.exit(f"a run failed:\n{told}")


def _killed(
    recipe: Path, folder: Path, cache: Path, seconds: float, awaited: str | None = None, number: int = 1
) -> str:
    """Where a run was when it was killed: so many seconds after the start, or after the `number`-th file of what is
    awaited was begun."""
    if _finished(folder):
        return "after its end"
    process = _command(recipe, folder, cache)
    begun: set[Path] = set()
    while awaited and len(begun) < number and process.poll() is None:
        begun |= set(_drafts(folder, cache, awaited))
        time.sleep(0.0005)
    try:
        _, told = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        _, told = process.communicate()
        place = [f"while writing its {kind}" for kind in ("activations", "checkpoint") if _drafts(folder, cache, kind)]
        lines = told.splitlines()
        return place[0] if place else f"after '{re.sub(r':.*', '', lines[-1])}'" if lines else "at its start"
    if process.returncode:
        sys.exit(f"a run failed:\n{told}")
    return "after its end"


def _drafts(folder: Path, cache: Path, kind: str) -> list[Path]:
    if kind == "checkpoint":
        return list((folder / CHECKPOINTS).glob(".step-*.tmp"))
    return list((cache / "activations").glob("*/.*.tmp"))


def _result(folder: Path) -> tuple[str, list[list[str]]]:
    """The digest of the weights, and the history without its seconds."""
    digest = hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()
    with (folder / "history.csv").open(newline="") as file:
        rows = [[value for name, value in row.items() if name != "seconds"] for row in csv.DictReader(file)]
    return digest, rows


if __name__ == "__main__":
    main()
