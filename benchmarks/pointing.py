"""Whether maps point at what they name: a cat on the left, a dog on the right, and the mass of each map by halves.

    PYTHONPATH=. python -m benchmarks.pointing --data ../shared/data/cats_dogs --model bundled/efficientnet-lite0
    PYTHONPATH=. python -m benchmarks.pointing --data ../shared/data/cats_dogs --model runs/my_run --shuffled

A linear probe on the model is trained first with the photos in `train`, unless the model is a run already. The photos
in `test` are cut to squares and stand side by side on grey, half of them with the dog on the left. For each pair the
map of each class is made; it points if more than 70 % of its mass lies in the half with its animal. `--shuffled` does
the same afterwards with all weights shuffled within their tensors: such a model must not point (Adebayo et al., arXiv
1810.03292).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_SHARE = 0.7


def main() -> None:
    """Nothing; prints for each class how often its map points, and the mean share of its mass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder with train and test, in each two folders of photos")
    parser.add_argument("--model", required=True, help="a model to train a probe on, or a run with these classes")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--limit", type=int, help="photos of each split to train with (default: all)")
    parser.add_argument("--shuffled", action="store_true", help="then shuffle the weights and do the same")
    options = parser.parse_args()
    test = Path(options.data).expanduser() / "test"
    with tempfile.TemporaryDirectory() as folder:
        model = probe(options.model, options.data, Path(folder), options.limit)
        print(json.dumps(pointing(model, test, options.pairs, options.method)), flush=True)
        if options.shuffled:
            shuffle_weights(model.source.model)
            print(json.dumps({"shuffled": pointing(model, test, options.pairs, options.method)}))


def probe(name: str, data: str | Path, folder: Path, limit: int | None = None) -> Any:
    """A linear probe on a model, trained in a folder; a run is loaded as it is."""
    import hftransfer as ht
    from hftransfer.base.progress import Progress

    if (Path(name).expanduser() / "metrics.json").is_file():
        return ht.load(name)
    recipe = {
        "task": "image-classification",
        "model": name,
        "data": {"source": str(data), "limit": limit},
        "train": {"precision": "fp32"},
        "output": {"report": False},
    }
    return ht.load(ht.run(recipe, out=folder / "run", progress=Progress(None)).folder)


def pointing(model: Any, data: Path, pairs: int, method: str = "auto") -> dict[str, Any]:
    """By class, the share of pairs in which its map points, and the mean share of its mass in its own half."""
    from hftransfer.attribution.maps import class_maps
    from hftransfer.attribution.network import PixelModel, find_spot

    asked = PixelModel(model.source)
    spot = find_spot(asked)
    shares: dict[str, list[float]] = {name: [] for name in model.class_names}
    for number in range(pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        pixels = asked.encode([_pair(data, model.class_names, order, number)])
        for half, target in enumerate(order):
            found = class_maps(asked, pixels, [target], method, spot)[0]
            middle = found.shape[1] // 2
            own = found[:, :middle] if half == 0 else found[:, middle:]
            shares[model.class_names[target]].append(float(own.sum() / max(found.sum(), 1e-12)))
    return {
        name: {"points": round(float(np.mean(np.array(own) > _SHARE)), 3), "mass": round(float(np.mean(own)), 3)}
        for name, own in shares.items()
    }


def shuffle_weights(model: Any) -> None:
    """Nothing; the numbers of each tensor stand in another order."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))


def _pair(data: Path, class_names: Any, order: tuple[int, int], number: int) -> Any:
    from PIL import Image, ImageOps

    canvas = Image.new("RGB", (448, 448), (124, 116, 104))
    for half, target in enumerate(order):
        files = sorted(file for file in (data / class_names[target]).iterdir() if file.suffix in (".jpg", ".png"))
        photo = ImageOps.fit(Image.open(files[number % len(files)]).convert("RGB"), (224, 224))
        canvas.paste(photo, (224 * half, 112))
    return canvas


if __name__ == "__main__":
    main()
