"""The last stages of a network fine-tuned with activations at the boundary kept, against computed anew in each epoch.

    python -m benchmarks.boundary_cache --model ../shared/models/vit_tiny_patch16_224 --data ../shared/data/cats_dogs

Both sides run in this process in turn, on the same threads, with the same seed: the same batches in the same order.
The kept side's time includes the pass that computes the activations. Prints a ratio per pair and their median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled/efficientnet-lite0")
    parser.add_argument("--data", default="bundled/drawn-pets")
    parser.add_argument("--unfreeze", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    pairs = []
    for seed in range(options.pairs):
        sides = {cache: _seconds(options, cache, seed) for cache in ("on", "off")}
        pairs.append(sides)
        ratio = sides["off"][0] / sides["on"][0]
        print(
            json.dumps({"seed": seed, "kept": sides["on"], "anew": sides["off"], "ratio": round(ratio, 2)}), flush=True
        )
    ratios = [sides["off"][0] / sides["on"][0] for sides in pairs]
    print(f"anew ÷ kept: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _seconds(options: argparse.Namespace, cache: str, seed: int) -> tuple[float, float]:
    """The seconds of activations, training and evaluation, and the test accuracy."""
    from hftransfer.pipeline import run
    from hftransfer.progress import Progress

    with tempfile.TemporaryDirectory() as folder:
        os.environ["HFTRANSFER_CACHE"] = str(Path(folder) / "cache")
        recipe = {
            "task": "image-classification",
            "model": options.model,
            "data": {"source": options.data},
            "strategy": {"kind": "fine-tune", "unfreeze": options.unfreeze},
            "train": {"seed": seed, "epochs": options.epochs, "patience": None, "cache": cache},
        }
        metrics = run(recipe, out=Path(folder) / "run", progress=Progress(None)).metrics
    seconds = sum(metrics["seconds"][stage] for stage in ("activations", "train", "evaluate"))
    return round(seconds, 1), metrics["test"]["accuracy"]


if __name__ == "__main__":
    main()
