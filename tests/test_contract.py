"""The Adapter contract, over all families × tasks × boundaries."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hftransfer.adapters.anatomy import logits_of
from hftransfer.adapters.base import Adapter
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


READS_THE_FIRST_TOKEN = (
    "vit",
    "open_clip",
    "bert",
    "distilbert",
    "roberta",
    "electra",
    "deberta-v2",
    "modernbert",
    "mpnet",
)


@pytest.mark.parametrize(("family", "task", "pooling"), CASES)
def test_layers_compute_the_first_token_alone_only_where_nothing_else_is_read(
    tiny: TinyModels, family: str, task: str, pooling: str
) -> None:
    adapter = _adapter(tiny, family, task, pooling)
    reads_it = family in READS_THE_FIRST_TOKEN and pooling in ("native", "cls") and task != "question-answering"
    names = {name.rsplit(".", 1)[-1] for name, module in adapter.model.named_modules() if module in adapter._narrow}
    assert bool(names) == reads_it, names
    assert not names & {"q_proj", "k_proj", "v_proj", "query", "key", "value", "q_lin", "k_lin", "v_lin", "Wqkv"}


def test_gradients_are_those_of_the_whole_model_where_the_first_token_alone_is_computed(tiny: TinyModels) -> None:
    adapter = _adapter(tiny, "bert", "text-classification", "native")
    inputs, wanted = _inputs(adapter), torch.tensor([0, 1, 2])
    grads = []
    for logits in (logits_of(adapter.model(**inputs)), adapter.above(inputs, 0)):
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        grads.append(torch.autograd.grad(loss, list(adapter.model.parameters()), allow_unused=True))
    assert adapter._narrow
    for whole, narrow in zip(*grads, strict=True):
        assert whole is narrow is None or torch.allclose(whole, narrow, atol=1e-6)
