"""The Adapter contract, over all families × tasks × boundaries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hftransfer.adapters import split
from hftransfer.adapters.anatomy import logits_of
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.loading import load_adapter
from hftransfer.adapters.parts import Parts
from hftransfer.base.errors import ModelError
from hftransfer.strategies import LoRA
from hftransfer.tasks import head_task
from tests.builders import GENERAL_FAMILIES, IMAGE_FAMILIES, KERAS, TEXT_FAMILIES, TinyModels, picture

TEXTS = ["a great film", "the story was very dull and the actor was not good", "fine"]
CASES = [
    *((family, "image-classification", "native") for family in IMAGE_FAMILIES),
    *((family, "image-classification", "native") for family in KERAS),
    *((family, "text-classification", "native") for family in TEXT_FAMILIES),
    *((family, "text-classification", "mean") for family in TEXT_FAMILIES),
    *(("bert", "text-classification", pooling) for pooling in ("cls", "last")),
    *((family, "question-answering", "native") for family in TEXT_FAMILIES),
]


def _adapter(tiny: TinyModels, family: str, task: Any, pooling: Any, known: Parts | None = None) -> Adapter:
    name = str(tiny(family))
    checkpoint = find_checkpoint(f"open_clip:local-dir:{name}" if family == "open_clip" else name)
    assert checkpoint is not None
    classes = () if task == "question-answering" else ("cat", "dog", "bird")
    return load_adapter(checkpoint, classes, head=head_task(task).head, pooling=pooling, known=known)


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


@pytest.mark.parametrize(("family", "task", "pooling"), CASES)
def test_known_parts_are_taken_over_without_a_trial(
    tiny: TinyModels, family: str, task: str, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = _adapter(tiny, family, task, pooling).split.parts()
    with monkeypatch.context() as patch:
        patch.setattr(split, "watch", lambda *_: pytest.fail("the model was tried out"))
        patch.setattr(split.SplitModel, "below", lambda *_: pytest.fail("the model was tried out"))
        adapter = _adapter(tiny, family, task, pooling, parts)
        assert adapter.split.parts() == parts
    inputs = _inputs(adapter)
    with torch.no_grad():
        whole = logits_of(adapter.model(**inputs))
        for boundary in range(len(adapter.stages) + 1):
            assert torch.allclose(adapter.above(adapter.below(inputs, boundary), boundary), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"libraries": "transformers 4.0"},
        {"head": "classifier.gone"},
        {"head": "vit.embeddings.patch_embeddings.projection"},
        {"stages": ("vit.layers.0",)},
    ],
)
def test_parts_that_are_not_those_of_the_model_are_found_anew(tiny: TinyModels, change: dict[str, Any]) -> None:
    parts = _adapter(tiny, "vit", "image-classification", "native").split.parts()
    adapter = _adapter(tiny, "vit", "image-classification", "native", replace(parts, **change))
    assert not adapter.split.is_known
    assert adapter.split.parts() == parts


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
    names = {
        name.rsplit(".", 1)[-1] for name, module in adapter.model.named_modules() if module in adapter.split.narrow
    }
    assert bool(names) == reads_it, names
    assert not names & {"q_proj", "k_proj", "v_proj", "query", "key", "value", "q_lin", "k_lin", "v_lin", "Wqkv"}


def test_gradients_are_those_of_the_whole_model_where_the_first_token_alone_is_computed(tiny: TinyModels) -> None:
    adapter = _adapter(tiny, "bert", "text-classification", "native")
    inputs, wanted = _inputs(adapter), torch.tensor([0, 1, 2])
    grads = []
    for logits in (logits_of(adapter.model(**inputs)), adapter.above(inputs, 0)):
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        grads.append(torch.autograd.grad(loss, list(adapter.model.parameters()), allow_unused=True))
    assert adapter.split.narrow
    for whole, narrow in zip(*grads, strict=True):
        assert whole is narrow is None or torch.allclose(whole, narrow, atol=1e-6)


@pytest.mark.parametrize(("family", "task", "pooling"), [case for case in CASES if case[0] in TEXT_FAMILIES])
def test_padding_changes_nothing(tiny: TinyModels, family: str, task: str, pooling: str) -> None:
    adapter = _adapter(tiny, family, task, pooling)
    with torch.no_grad():
        together = adapter.above(adapter.encode(TEXTS), 0)
        for row, text in enumerate(TEXTS):
            alone = adapter.above(adapter.encode([text]), 0)[0]
            padded = together[row, : len(alone)] if task == "question-answering" else together[row]
            assert torch.allclose(alone, padded, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "pooling", "stages"),
    [("albert", "native", 1), ("openai-gpt", "native", 2), ("mixtral", "mean", 2), ("mobilenet_v2", "native", 16)],
)
def test_a_family_without_a_line_is_split_where_it_can_be(
    tiny: TinyModels, family: str, pooling: str, stages: int
) -> None:
    task = "image-classification" if family in GENERAL_FAMILIES else "text-classification"
    adapter = _adapter(tiny, family, task, pooling)
    assert len(adapter.stages) == stages
    inputs = _inputs(adapter)
    with torch.no_grad():
        whole = logits_of(adapter.model(**inputs))
        for boundary in range(stages + 1):
            assert torch.allclose(adapter.above(adapter.below(inputs, boundary), boundary), whole, atol=1e-5)


@pytest.mark.parametrize("family", ["albert", "mixtral", "openai-gpt"])
def test_lora_learns_in_a_family_without_a_line(tiny: TinyModels, family: str) -> None:
    adapter = _adapter(tiny, family, "text-classification", "mean")
    boundary = LoRA().prepare(adapter)
    inputs = _inputs(adapter)
    learning = [p for p in adapter.model.parameters() if p.requires_grad]
    loss = adapter.above(adapter.below(inputs, boundary), boundary).square().sum()
    assert all(gradient is not None for gradient in torch.autograd.grad(loss, learning, allow_unused=True))


def test_a_model_that_takes_more_than_tokens_is_refused(tiny: TinyModels) -> None:
    with pytest.raises(ModelError, match="one that takes tokens alone"):
        _adapter(tiny, "t5", "text-classification", "native")


def test_a_model_whose_code_peft_breaks_is_refused(tiny: TinyModels) -> None:
    adapter = _adapter(tiny, "mobilenet_v2", "image-classification", "native")
    with pytest.raises(ModelError, match="a strategy that its code supports"):
        LoRA().prepare(adapter)
