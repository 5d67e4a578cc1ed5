"""Stages, whole networks and low-rank matrices trained by steps, against scripts around the Trainer (and peft).

All sides train on the same examples for the same epochs with the same batch size, learning rate and seed. Ours has a
validation in every epoch besides.
"""

from __future__ import annotations

from typing import Any

from benchmarks import data, ours, trainers
from benchmarks.harness import Benchmark, Side, faster

IMAGES, TEXTS = "image-classification", "text-classification"


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """Photos or sentences, and for scripts of others the names of the parameters that learn, or of the layers that get
    low-rank matrices."""
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.strategies import STRATEGIES, LoRA, strategy_of
    from hftransfer.tasks import head_task

    settings |= data.photos(settings) if settings["task"] == IMAGES else data.sentences(settings)
    checkpoint = find_checkpoint(settings["model"])
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, ("one", "other"), head=head_task(settings["task"]).head)
    chosen = strategy_of(settings["strategy"])
    strategy = STRATEGIES[chosen["kind"]](**chosen)
    found: dict[str, Any] = {name: settings[name] for name in ("data", "model")}
    if isinstance(strategy, LoRA):
        targets, saved = adapter.lora.modules(None), adapter.head_names()
        matrices = {"r": strategy.rank, "lora_alpha": strategy.alpha, "lora_dropout": strategy.dropout}
        return found | {"lora": {**matrices, "target_modules": list(targets), "modules_to_save": list(saved)}}
    strategy.prepare(adapter)
    return found | {"learning": [name for name, own in adapter.model.named_parameters() if own.requires_grad]}


def stepped(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side."""
    from hftransfer.strategies import strategy_of

    strategy = strategy_of(settings["strategy"])
    return ours.stepped(settings, settings["task"], strategy, cache=settings.get("cache", "auto"))


def trainer(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer."""
    return trainers.trained(settings, "images" if settings["task"] == IMAGES else "texts", _adapt(settings))


def _adapt(settings: dict[str, Any]) -> trainers.Adapt:
    if "learning" in settings:
        return trainers.only(settings["learning"])
    from peft import LoraConfig, get_peft_model

    return lambda model: get_peft_model(model, LoraConfig(**settings["lora"]))


_PHOTOS = {"task": IMAGES, "data": data.PHOTOS, "model": data.IMAGE_MODEL, "rows": 0, "batch_size": 32}
_TEXTS = {"task": TEXTS, "data": data.SENTENCES, "model": data.TEXT_MODEL, "rows": 0, "batch_size": 32}
_WARM_UP = {"rows": 32, "epochs": 1}
_BF16: dict[str, Any] = {"bf16": True}


def _of_photos(default: float, bf16: float, script: str = "Trainer") -> tuple[Side, ...]:
    return (
        Side("ours", stepped),
        Side(script, trainer, (faster(default),)),
        Side(f"{script}, bf16", trainer, (faster(bf16),), _BF16, bf16=True),
    )


def _of_texts(default: float, tuned: float, script: str = "Trainer") -> tuple[Side, ...]:
    return (
        Side("ours", stepped),
        Side(script, trainer, (faster(default),)),
        Side(f"{script}, grouped by length", trainer, (faster(tuned),), {"grouped": True}),
        Side(f"{script}, bf16, grouped by length", trainer, (faster(tuned),), _BF16 | {"grouped": True}, bf16=True),
    )


BENCHMARKS = (
    Benchmark(
        name="last-stages",
        about="the last 2 stages and the head fine-tuned on photos",
        sides=_of_photos(8, 3),
        settings={**_PHOTOS, "strategy": "fine-tune:2", "epochs": 10, "learning_rate": 1e-4},
        prepare=prepare,
        warm_up=_WARM_UP,
        small={"rows": 60, "epochs": 5},
    ),
    Benchmark(
        name="fine-tune-photos",
        about="a whole network fine-tuned on photos",
        sides=_of_photos(3, 1.1),
        settings={**_PHOTOS, "strategy": "fine-tune:all", "epochs": 2, "learning_rate": 1e-4},
        prepare=prepare,
        warm_up=_WARM_UP,
    ),
    Benchmark(
        name="fine-tune-text",
        about="a whole network fine-tuned on sentences",
        sides=_of_texts(3, 1.1),
        settings={**_TEXTS, "strategy": "fine-tune:all", "epochs": 1, "learning_rate": 1e-4},
        prepare=prepare,
        warm_up=_WARM_UP,
    ),
    Benchmark(
        name="lora-photos",
        about="low-rank matrices and the head trained on photos",
        sides=_of_photos(3, 1.1, "Trainer + peft"),
        settings={**_PHOTOS, "strategy": "lora:8", "epochs": 2, "learning_rate": 1e-3},
        prepare=prepare,
        warm_up=_WARM_UP,
    ),
    Benchmark(
        name="lora-text",
        about="low-rank matrices and the head trained on sentences",
        sides=_of_texts(3, 1.1, "Trainer + peft"),
        settings={**_TEXTS, "strategy": "lora:8", "epochs": 1, "learning_rate": 1e-3},
        prepare=prepare,
        warm_up=_WARM_UP,
    ),
)
