"""Zero-shot classification: a plain open_clip loop against hftransfer, with the same weights and images.

    python -m benchmarks.zero_shot --data ~/cats_dogs --architecture ViT-B-32

The weights are random (speed does not depend on them), written once in open_clip's layout. Both sides embed the same
image files in batches of the same size with the same threads and compare them with the same prompts; imports and
loading are left out. The loop decodes, transforms and embeds in turn, in open_clip's default precision; ours reads
ahead and takes the precision that is faster here. In fp32 both must predict the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sides import in_process, median, spread

_LABELS = ("cat", "dog", "bicycle", "tree")


def main() -> None:
    """Nothing; runs both sides in turn and prints ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder with images, at any depth")
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", default="auto", help="ours")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        print(json.dumps({"loop": _loop, "ours": _ours}[options.role](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_random(options.architecture, Path(folder))
        names = ("data", "architecture", "images", "batch_size", "precision", "threads")
        given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names] + [f"--model={folder}"]
        runs = [
            {role: in_process("benchmarks.zero_shot", role, given, options.threads) for role in ("ours", "loop")}
            for _ in range(options.pairs)
        ]
    for role in ("ours", "loop"):
        print(f"{role}: seconds", median(run[role]["seconds"] for run in runs))
    same = [
        sum(one == other for one, other in zip(run["ours"]["labels"], run["loop"]["labels"], strict=True))
        for run in runs
    ]
    print("same predictions:", min(same), "of", len(runs[0]["ours"]["labels"]))
    print("loop ÷ ours:", json.dumps(spread(run["loop"]["seconds"] / run["ours"]["seconds"] for run in runs)))


def _write_random(architecture: str, folder: Path) -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(architecture)
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(architecture), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def _files(options: argparse.Namespace) -> list[str]:
    found = sorted(str(file) for file in Path(options.data).expanduser().rglob("*") if file.suffix in (".jpg", ".png"))
    if not found:
        sys.exit(f"no images in {options.data}")
    return [found[index % len(found)] for index in range(options.images)]


def _loop(options: argparse.Namespace) -> dict[str, Any]:
    import open_clip
    import torch
    from PIL import Image

    torch.set_num_threads(options.threads)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{options.model}", require_pretrained=True)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{options.model}")
    model.eval()
    files, labels = _files(options), []
    began = time.perf_counter()
    with torch.no_grad():
        texts = model.encode_text(tokenizer([f"a photo of a {name}." for name in _LABELS]), normalize=True)
        for start in range(0, len(files), options.batch_size):
            batch = [transform(Image.open(file)) for file in files[start : start + options.batch_size]]
            embedded = model.encode_image(torch.stack(batch), normalize=True)
            labels += [_LABELS[index] for index in (embedded @ texts.T).argmax(dim=1).tolist()]
    return {"seconds": round(time.perf_counter() - began, 2), "labels": labels}


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.dual import load_dual
    from hftransfer.data.rows import FileContent, Row, digest_rows
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split, Splits
    from hftransfer.progress import Progress
    from hftransfer.training.devices import Compute, choose_compute
    from hftransfer.zeroshot import evaluate

    torch.set_num_threads(options.threads)
    checkpoint = find_checkpoint(f"open_clip:local-dir:{options.model}")
    assert checkpoint is not None
    dual = load_dual(checkpoint)
    found = choose_compute(options.precision, options.batch_size)
    compute = Compute(found.device, found.precision, options.batch_size)
    rows = [Row(f"{file} {index}", FileContent(Path(file)), "cat") for index, file in enumerate(_files(options))]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HFTRANSFER_CACHE"] = f"{cache}/cache"
        began = time.perf_counter()
        import numpy as np

        none = Split([], np.zeros(0, dtype=np.int64), [])
        test = Split(rows, np.zeros(len(rows), dtype=np.int64), digest_rows(rows))
        templates, settings = ("a photo of a {}.",), DataSettings(source="memory")
        splits = Splits(none, none, test, _LABELS)
        clock: Any = _no_clock
        result = evaluate(dual, "random", splits, _LABELS, templates, settings, compute, Progress(None), stage=clock)
        seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 2), "labels": result.columns["prediction"]}


def _no_clock(name: str) -> Any:
    from contextlib import nullcontext

    return nullcontext(name)


if __name__ == "__main__":
    main()
