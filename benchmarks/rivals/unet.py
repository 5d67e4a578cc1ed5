"""segmentation_models.pytorch's U-Net on an encoder of timm, trained as its documents do; nothing of ours is used."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import time
from typing import Any

from benchmarks.rivals.masks import images_and_masks, mean_iou


def trained(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds from reading to the test scores: the best of all epochs by validation, cross-entropy and Dice, Adam."""
    import numpy as np
    import segmentation_models_pytorch as smp
    import torch
    from safetensors.torch import load_file

    torch.manual_seed(settings["seed"])
    began = time.perf_counter()
    parts = {}
    for split in ("train", "validation", "test"):
        images, masks = images_and_masks(settings["data"], split, settings["size"])
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        parts[split] = pixels, torch.from_numpy(np.stack(masks)), masks
    model = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=settings["classes"])
    given = load_file(f"{settings['model']}/model.safetensors")
    own = model.encoder.model.state_dict()
    found = {name: given[f"timm_model.{name}"] for name in own}
    model.encoder.model.load_state_dict(found)
    steps = -(-len(parts["train"][0]) // settings["batch_size"]) * settings["epochs"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=255)
    best, kept = -1.0, None
    for _ in range(settings["epochs"]):
        model.train()
        order = torch.randperm(len(parts["train"][0]))
        for chosen in torch.split(order, settings["batch_size"]):
            pixels, wanted = parts["train"][0][chosen].float() / 127.5 - 1, parts["train"][1][chosen].long()
            logits = model(pixels)
            loss = torch.nn.functional.cross_entropy(logits, wanted, ignore_index=255) + dice(logits, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        score = _judged(model, parts["validation"], settings)
        if score > best:
            best, kept = score, {name: value.clone() for name, value in model.state_dict().items()}
    assert kept is not None
    model.load_state_dict(kept)
    score = _judged(model, parts["test"], settings)
    return {"seconds": time.perf_counter() - began, "accuracy": score}


def _judged(model: Any, part: Any, settings: dict[str, Any]) -> float:
    import torch

    model.eval()
    with torch.inference_mode():
        found = [model(own.float() / 127.5 - 1).argmax(1) for own in part[0].split(16)]
    return mean_iou(part[2], torch.cat(found).numpy(), settings["classes"])
