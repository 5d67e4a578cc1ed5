"""CLIP_benchmark's zero-shot evaluation over an image folder; nothing of ours but the data is used."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import time
from typing import Any


def zero_shot(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds from reading weights and images to the scores, in float32."""
    import open_clip
    from clip_benchmark.metrics import zeroshot_classification
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    began = time.perf_counter()
    place = f"local-dir:{settings['model']}"
    model, _, transform = open_clip.create_model_and_transforms(place, require_pretrained=True)
    model.eval()
    images = ImageFolder(settings["data"], transform)
    workers = min(4, settings["threads"])  # its own command starts 4
    scores = zeroshot_classification.evaluate(
        model,
        DataLoader(images, batch_size=settings["batch_size"], num_workers=workers),
        open_clip.get_tokenizer(place),
        images.classes,
        ["a photo of a {c}."],
        "cpu",
        amp=False,
    )
    return {"seconds": time.perf_counter() - began, "accuracy": float(scores["acc1"])}
