"""Zero-shot classification of images by an open_clip model: a plain loop and CLIP_benchmark against ours.

The weights are random, because speed does not depend on them; so the accuracy means nothing, and in float32 all sides
must predict the same. Seconds are from reading weights and images to the scores.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks import data, ours
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.rivals import clip_benchmark


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """Images, and random weights of the architecture in open_clip's layout."""
    folder = Path(settings["kept"]) / settings["architecture"]
    if not folder.exists():
        _write_random(settings["architecture"], folder)
    return data.image_files(settings | {"model": str(folder)})


def _write_random(architecture: str, folder: Path) -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(architecture)
    folder.mkdir()
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(architecture), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def our_zero_shot(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, in the precision that `auto` chooses."""
    import pandas

    recipe = {
        "task": "zero-shot-image-classification",
        "model": f"open_clip:local-dir:{settings['model']}",
        "data": settings["data"],
        "train": {"cache": "off"},
    }
    import open_clip

    del open_clip  # imported, so that the clock does not see it
    found = ours.run(recipe, settings)
    rows = pandas.read_parquet(Path(settings["folder"]) / "run" / "predictions.parquet")
    return {**found, "predictions": rows.sort_values("id")["prediction"].tolist()}


def loop(settings: dict[str, Any]) -> dict[str, Any]:
    """The loop of open_clip's README, over batches, in float32."""
    import open_clip
    import torch
    from PIL import Image

    began = time.perf_counter()
    place = f"local-dir:{settings['model']}"
    model, _, transform = open_clip.create_model_and_transforms(place, require_pretrained=True)
    tokenizer = open_clip.get_tokenizer(place)
    model.eval()
    files = sorted(Path(settings["data"]).glob("*/*"), key=lambda file: f"{file.parent.name}/{file.name}")
    names = sorted({file.parent.name for file in files})
    found: list[str] = []
    with torch.no_grad():
        texts = model.encode_text(tokenizer([f"a photo of a {name}." for name in names]), normalize=True)
        for start in range(0, len(files), settings["batch_size"]):
            chosen = files[start : start + settings["batch_size"]]
            batch = torch.stack([transform(Image.open(file).convert("RGB")) for file in chosen])
            embedded = model.encode_image(batch, normalize=True)
            found += [names[index] for index in (embedded @ texts.T).argmax(dim=1).tolist()]
    right = sum(one == file.parent.name for one, file in zip(found, files, strict=True))
    return {"seconds": time.perf_counter() - began, "accuracy": right / len(files), "predictions": found}


BENCHMARKS = (
    Benchmark(
        name="zero-shot",
        about="images classified by the names of the classes, with an open_clip model",
        sides=(
            Side("ours", our_zero_shot),
            Side("open_clip loop", loop, (faster(2),)),
            Side("CLIP_benchmark", clip_benchmark.zero_shot, (faster(),), environment="clip-benchmark"),
        ),
        settings={"data": data.PHOTOS, "architecture": "ViT-B-32", "images": 5000, "batch_size": 32},
        prepare=prepare,
        warm_up={"images": 32},
        small={"images": 100},
        pairs=3,
    ),
)
