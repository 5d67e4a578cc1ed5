"""Whether maps point at what they name: a cat on the left, a dog on the right, and the mass of each map by halves.

    python -m benchmarks.pointing --data ~/cats_dogs/test --model runs/my_run

The photos are cut to squares and stand side by side on grey, half of them with the dog on the left. For each pair the
map of each class is made; it points if more than 70 % of its mass lies in the half with its animal. `--shuffled` does
the same with all weights shuffled within their tensors: such a model must not point (Adebayo et al., arXiv 1810.03292).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

_SHARE = 0.7


def main() -> None:
    """Nothing; prints for each class how often its map points, and the mean share of its mass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder with a folder of photos per class, two classes")
    parser.add_argument("--model", required=True, help="a run of an image classifier with these classes")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--shuffled", action="store_true", help="shuffle the weights first")
    options = parser.parse_args()
    import hftransfer as ht

    model = ht.load(options.model)
    if options.shuffled:
        shuffle_weights(model.source.model)
    print(json.dumps(pointing(model, options.data, options.pairs, options.method)))


def pointing(model: Any, data: str, pairs: int, method: str = "auto") -> dict[str, Any]:
    """By class, the share of pairs in which its map points, and the mean share of its mass in its own half."""
    from hftransfer.attribution.maps import class_maps
    from hftransfer.attribution.network import Asked, find_spot

    asked = Asked(model.source)
    spot = find_spot(asked)
    shares: dict[str, list[float]] = {name: [] for name in model.class_names}
    for number in range(pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        pixels = asked.encode([_pair(Path(data).expanduser(), model.class_names, order, number)])
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
