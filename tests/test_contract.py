"""The Adapter contract, over all families × tasks × boundaries."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hftransfer.adapters.base import Adapter, logits_of
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.loading import load_adapter
from tests.conftest import IMAGE_FAMILIES, TEXT_FAMILIES, TinyModels, picture

TEXTS = ["a great film", "the story was very dull and the actor was not good", "fine"]
CASES = [
    *((family, "image-classification", "native") for family in IMAGE_FAMILIES),
    *((family, "text-classification", "native") for family in TEXT_FAMILIES),
    *((family, "text-classification", "mean") for family in TEXT_FAMILIES),
    *(("bert", "text-classification", pooling) for pooling in ("cls", "last")),
    *((family, "question-answering", "native") for family in TEXT_FAMILIES),
]


def _adapter(tiny: TinyModels, family: str, task: Any, pooling: Any) -> Adapter:
    name = str(tiny(family))
    checkpoint = find_checkpoint(f"open_clip:local-dir:{name}" if family == "open_clip" else name)
    assert checkpoint is not None
    classes = () if task == "question-answering" else ("cat", "dog", "bird")
    return load_adapter(checkpoint, classes, task=task, pooling=pooling)


def _inputs(adapter: Adapter) -> Any:
    if adapter.modality == "image":
        return adapter.encode([picture("red", 1), picture("blue", 2), picture("green", 3)])
    return adapter.encode(TEXTS)


@pytest.mark.parametrize(("family", "task", "pooling"), CASES)
def test_above_of_below_is_the_model_at_every_boundary(tiny: TinyModels, family: str, task: str, pooling: str) -> None:
    adapter = _adapter(tiny, family, task, pooling)
    inputs = _inputs(adapter)
    with torch.no_grad():
        whole = logits_of(adapter.model(**inputs))
        assert whole.shape[-1] == (2 if task == "question-answering" else 3)
        assert len(adapter.stages) >= 2
        for boundary in range(len(adapter.stages) + 1):
            parts = adapter.above(adapter.below(inputs, boundary), boundary)
            assert torch.allclose(parts, whole, atol=1e-5, rtol=1e-5), f"boundary {boundary}"
