"""Text models whose stages, weights or experts are unlike those of BERT: each learns, is saved and comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import hftransfer as ht
from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.base.errors import RecipeError
from hftransfer.base.progress import Progress
from hftransfer.strategies import FineTune
from tests.builders import byte_tokenizer, load_model, slowly, tiny_tokenizer

SILENT = Progress(None)
SIZE: dict[str, Any] = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 64},
    **{"max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
OWN: dict[str, dict[str, Any]] = {
    "longformer": {"attention_window": 8},
    "nomic_bert": {},
    "gte": {},
    "canine": {"type_vocab_size": 2},
    "t5": {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
    "deepseek_v2": {
        **{"num_key_value_heads": 2, "moe_intermediate_size": 32, "n_routed_experts": 2, "n_shared_experts": 1},
        **{"num_experts_per_tok": 1, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "v_head_dim": 16},
        **{"qk_nope_head_dim": 8, "head_dim": 8, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
    },
}
ROWS = [
    (f"the film was very {word} and the actor was {word}{' in it' * (turn % 2)}", label)
    for turn in range(3)
    for word, label in (("good", "pos"), ("bad", "neg"), ("lovely", "pos"), ("awful", "neg"))
]
TEXTS = ["the film was good", "a dull story , not great in it", "awful"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A backbone without a head, as it lies on the Hub, made once."""
    root = tmp_path_factory.mktemp("texts")

    def folder_of(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            torch.manual_seed(1)
            with quiet_transformers():
                config = transformers.AutoConfig.for_model(name, **SIZE, **OWN[name])
                transformers.AutoModel.from_config(config).save_pretrained(folder)
                tokenizer = tiny_tokenizer()
                tokenizer.model_max_length = 48
                tokenizer.save_pretrained(folder)
        return folder

    return folder_of


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        *(("longformer", "fine-tune:1"), ("longformer", "lora:2"), ("nomic_bert", "fine-tune:1")),
        *(("deepseek_v2", "lora:2"), ("t5", "linear-probe")),
        *slowly(("gte", "fine-tune:1"), ("gte", "lora:2"), ("nomic_bert", "linear-probe"), ("canine", "fine-tune:1")),
    ],
)
def test_it_learns_and_comes_back(written: Any, tmp_path: Path, name: str, strategy: str) -> None:
    more: dict[str, Any] = {} if strategy == "linear-probe" else {"epochs": 1, "batch_size": 4}
    model = ht.fit("text-classification", model=written(name), train=ROWS, strategy=strategy, progress=SILENT, **more)
    together = [one.scores for one in model.predict(TEXTS)]
    alone = [model.predict(text).scores for text in TEXTS]
    again = [one.scores for one in load_model(model.save(tmp_path / "saved")).predict(TEXTS)]
    for one, two, three in zip(together, alone, again, strict=True):
        assert two == pytest.approx(one, abs=1e-4)
        assert three == pytest.approx(one, abs=1e-6)


def test_lora_goes_to_the_layers_that_it_is_asked_for(written: Any) -> None:
    """peft 0.21 takes the names of shared experts, and of layers without experts, for the routed experts'."""
    model = ht.fit(
        "text-classification", model=written("deepseek_v2"), train=ROWS, strategy="lora:2", epochs=1, progress=SILENT
    )
    learned = [name for name, _ in model.source.model.named_parameters() if "lora_" in name]
    assert learned
    assert all("self_attn" in name for name in learned)
    with pytest.raises(RecipeError, match=r"strategy\.targets must be layers that peft adapts"):
        ht.fit(
            "text-classification",
            model=written("deepseek_v2"),
            train=ROWS,
            strategy=ht.LoRA(targets=["gate_proj", "up_proj", "down_proj"]),
            progress=SILENT,
        )


WRITERS: dict[str, dict[str, Any]] = {
    "bart": {
        **{"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 64, "init_std": 0.3},
        "max_position_embeddings": 64,
    },
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.3},
    "mamba": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 4,
        "time_step_rank": 4,
        "initializer_range": 0.5,
    },
}


@pytest.mark.parametrize("name", ["bart", *slowly("openai-gpt"), "mamba"])
def test_prompts_are_gone_on_with_alike_alone_and_beside_longer_ones(tmp_path: Path, name: str) -> None:
    """BART's decoder passes over the positions that it is given: padding on the left would shift them. Mamba keeps no
    keys and values."""
    torch.manual_seed(1)
    tokenizer = byte_tokenizer()
    with quiet_transformers():
        config = transformers.AutoConfig.for_model(name, vocab_size=300, **WRITERS[name])
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    rows = [{"prompt": f"say {word}: ", "completion": word} for word in ("good", "bad", "fine", "poor")] * 3
    few = FineTune(unfreeze=1, learning_rate=1e-6)
    model = ht.fit("text-generation", model=tmp_path / name, train=rows, strategy=few, epochs=1, progress=SILENT)
    prompts = ["say it: ", "say a good thing: ", "say him: ", "tell it: "]
    alone = [model.predict(prompt, max_new_tokens=8).tokens for prompt in prompts]
    assert [one.tokens for one in model.predict(prompts, max_new_tokens=8)] == alone
    assert len(set(alone)) > 1
    with quiet_transformers():
        plain = transformers.AutoModelForCausalLM.from_pretrained(model.save(tmp_path / "saved")).eval()
    for prompt, tokens in zip(prompts, alone, strict=True):  # the likeliest token each time, all read anew
        messages = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        for token in tokens:
            with torch.no_grad():
                likeliest = plain(ids, use_cache=False).logits[0, -1].argmax()
            assert int(likeliest) == token
            ids = torch.cat([ids, likeliest[None, None]], dim=1)
