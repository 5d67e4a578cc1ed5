"""Heads as ports: what fits, what a new head begins as, and what a language model's own head is spared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.heads import IMAGE_CLASSES, SPANS, TEXT_CLASSES, ConvHead, Head, TiedHead, load_head, save_head
from hftransfer.adapters.texts import TextAdapter
from tests.builders import TinyModels

TIED = TiedHead("text", "AutoModelForCausalLM", "ForCausalLM", "a language model that transformers loads")
CONV = ConvHead("image", "AutoModelForSemanticSegmentation", "ForSemanticSegmentation", "a model of maps")
LINEAR, BARE, MAP = nn.Linear(4, 2), nn.Linear(4, 2, bias=False), nn.Conv2d(4, 2, 1)


@pytest.mark.parametrize(
    ("head", "layers"), [(TEXT_CLASSES, [LINEAR, BARE]), (SPANS, [LINEAR, BARE]), (CONV, [MAP]), (TIED, [LINEAR, BARE])]
)
def test_a_head_knows_its_layer(head: Head, layers: list[nn.Module]) -> None:
    candidates = [LINEAR, BARE, MAP, nn.Conv2d(4, 2, 3), nn.Linear(4, 3), nn.Conv2d(4, 3, 1)]
    assert [layer for layer in candidates if head.fits(layer, 2)] == layers


def test_pooled_features_alone_are_solved() -> None:
    pooled, tokens = (3, 4), (3, 5, 4)
    assert IMAGE_CLASSES.is_solvable(LINEAR, pooled)
    assert not IMAGE_CLASSES.is_solvable(BARE, pooled)
    assert not IMAGE_CLASSES.is_solvable(LINEAR, tokens)
    assert not any(head.is_solvable(LINEAR, tokens) for head in (SPANS, TIED, CONV))


def test_a_solution_is_set_into_a_convolution_and_saved(tmp_path) -> None:
    weight, bias, map_ = torch.randn(2, 4), torch.randn(2), torch.randn(1, 4, 3, 3)
    layer, other = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)
    CONV.set(layer, weight, bias)
    wanted = torch.einsum("cd,bdhw->bchw", weight, map_) + bias[:, None, None]
    assert torch.allclose(layer(map_), wanted, atol=1e-5)
    save_head(layer, tmp_path)
    place: Any = SimpleNamespace(folder=tmp_path, name="a map")
    load_head(other, place)
    assert torch.equal(other.weight, layer.weight)
    CONV.begin(other)
    assert 0 < float(other.weight.detach().abs().max()) < 0.2
    assert not other.bias.any()  # type: ignore[union-attr]


@pytest.fixture
def language_model(tiny: TinyModels) -> TextAdapter:
    """A GPT-2 with its own output layer, which is its word embedding."""
    import transformers as tf

    checkpoint = find_checkpoint(str(tiny("gpt2")))
    assert checkpoint is not None
    tokenizer = tf.AutoTokenizer.from_pretrained(checkpoint.folder)
    config = tf.AutoConfig.from_pretrained(checkpoint.folder)
    return TextAdapter(tf.GPT2LMHeadModel(config), tokenizer, "gpt2", "gpt2", TIED)


def test_a_tied_head_is_not_new(language_model: TextAdapter) -> None:
    adapter = language_model
    assert adapter.head.weight is adapter.model.transformer.wte.weight
    assert adapter.outputs == adapter.model.config.vocab_size
    assert (adapter.split.new_parameters(), adapter.head_names()) == (set(), [])
    top = len(adapter.stages)
    assert adapter.depth_of()[adapter.head.weight] == top  # it is the word embedding, below the first stage
    adapter.split.freeze_below(top - 1)
    assert not adapter.head.weight.requires_grad
    inputs = adapter.encode(["a few words", "others"])
    with torch.no_grad():
        whole = adapter.model(**inputs).logits
        for boundary in range(top + 1):
            assert torch.allclose(adapter.above(adapter.below(inputs, boundary), boundary), whole, atol=1e-5)


def test_lora_leaves_a_tied_head_tied(language_model: TextAdapter) -> None:
    adapter = language_model
    adapter.add_lora({"r": 2, "target_modules": adapter.lora.modules(), "modules_to_save": adapter.head_names()})
    assert adapter.head.weight is adapter.model.transformer.wte.weight
    learning = [name for name, parameter in adapter.model.named_parameters() if parameter.requires_grad]
    assert learning
    assert all("lora_" in name for name in learning)


def test_the_tokenizer_that_is_given_stays_as_it_is(tiny: TinyModels) -> None:
    import transformers as tf

    folder = tiny("gpt2")
    tokenizer = tf.AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = None
    model = tf.AutoModelForSequenceClassification.from_config(tf.AutoConfig.from_pretrained(folder))
    adapter = TextAdapter(model, tokenizer, "gpt2", "gpt2")
    assert (tokenizer.padding_side, tokenizer.pad_token) == ("left", None)
    assert (adapter.processor.padding_side, adapter.processor.pad_token) == ("right", tokenizer.unk_token)
