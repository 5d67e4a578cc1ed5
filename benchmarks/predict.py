"""Prediction: a plain `transformers.pipeline` loop against hftransfer, with the same model and photos.

    python -m benchmarks.predict --data ~/cats_dogs --model runs/my_run --images 2000

Both sides load the same trained model and predict the same image files; imports and loading are left out. The loop asks
the pipeline for one file after the other, as its documents do; `--batch-size` lets it take batches. In fp32 both must
predict the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.sides import in_process, median, spread


def main() -> None:
    """Nothing; runs both sides in turn and prints ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder with images, at any depth")
    parser.add_argument("--model", required=True, help="a run folder of a native image classifier")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=1, help="the pipeline's")
    parser.add_argument("--precision", default="fp32", help="ours")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        print(json.dumps({"pipeline": _pipeline, "ours": _ours}[options.role](options)))
        return
    names = ("data", "model", "images", "batch_size", "precision", "threads")
    given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    runs = [
        {role: in_process("benchmarks.predict", role, given, options.threads) for role in ("ours", "pipeline")}
        for _ in range(options.pairs)
    ]
    for role in ("ours", "pipeline"):
        print(f"{role}: seconds", median(run[role]["seconds"] for run in runs))
    labels = runs[0]["ours"]["labels"], runs[0]["pipeline"]["labels"]
    print("same predictions:", sum(one == other for one, other in zip(*labels, strict=True)), "of", len(labels[0]))
    ratio = spread(run["pipeline"]["seconds"] / run["ours"]["seconds"] for run in runs)
    print("pipeline ÷ ours:", json.dumps(ratio))


def _files(options: argparse.Namespace) -> list[str]:
    found = sorted(str(file) for file in Path(options.data).expanduser().rglob("*") if file.suffix in (".jpg", ".png"))
    if not found:
        sys.exit(f"no images in {options.data}")
    return [found[index % len(found)] for index in range(options.images)]


def _pipeline(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    from transformers import pipeline

    torch.set_num_threads(options.threads)
    run = Path(options.model).expanduser()
    classify = pipeline("image-classification", model=str(run / "model" if (run / "model").is_dir() else run))
    files = _files(options)
    classify(files[0])
    began = time.perf_counter()
    if options.batch_size == 1:
        labels = [classify(file)[0]["label"] for file in files]
    else:
        labels = [found[0]["label"] for found in classify(files, batch_size=options.batch_size)]
    return {"seconds": round(time.perf_counter() - began, 2), "labels": labels}


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    import hftransfer as ht

    torch.set_num_threads(options.threads)
    model = ht.load(options.model, precision=options.precision)
    files = _files(options)
    model.predict(files[:1])
    began = time.perf_counter()
    labels = [found.label for found in model.predict(files)]
    return {"seconds": round(time.perf_counter() - began, 2), "labels": labels}


if __name__ == "__main__":
    main()
