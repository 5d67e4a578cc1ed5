"""Text models whose stages, weights or experts are unlike those of BERT: each learns, is saved and comes back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import processors

import hftransfer as ht
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.heads import TAGS, TEXT_CLASSES
from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.errors import ModelError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.strategies import FineTune
from tests.builders import byte_tokenizer, load_model, question, slowly, tiny_tokenizer

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
    "fnet": {"initializer_range": 0.2},
    "convbert": {"initializer_range": 0.2, "embedding_size": 16},
    "nystromformer": {"initializer_range": 0.2},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "initializer_range": 0.2},
    "modernbert": {"max_position_embeddings": 2048, "initializer_range": 0.2, "cls_token_id": 1, "sep_token_id": 2},
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
                # XLNet has names of its own for these, and no room for longest texts.
                size = SIZE if name != "xlnet" else {"vocab_size": 64}
                config = transformers.AutoConfig.for_model(name, **{**size, **OWN[name]})
                transformers.AutoModel.from_config(config).save_pretrained(folder)
                tokenizer = tiny_tokenizer()
                tokenizer.model_max_length = 48 if name != "modernbert" else 1 << 60
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


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("fnet", "fine-tune:1"),
        ("xlnet", "fine-tune:1"),
        *slowly(("convbert", "lora:2"), ("nystromformer", "fine-tune:1")),
    ],
)
def test_where_padding_would_be_seen_texts_of_one_length_go_together(
    written: Any, tmp_path: Path, name: str, strategy: str
) -> None:
    """Fourier transforms and convolutions read padding whatever the mask says; XLNet reads the last token."""
    model = ht.fit(
        "text-classification",
        model=written(name),
        train=ROWS,
        strategy=strategy,
        epochs=1,
        batch_size=8,
        progress=SILENT,
    )
    texts = [*TEXTS, "the actor was awful , not great in it .", "the film"]
    together = np.array([list(one.scores.values()) for one in model.predict(texts)])
    alone = np.array([list(model.predict(text).scores.values()) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.ptp(np.log(np.maximum(together[:, 0], 1e-40))) > 0.1  # texts differ
    again = load_model(model.save(tmp_path / "saved"))
    assert np.array([list(one.scores.values()) for one in again.predict(texts)]) == pytest.approx(alone, abs=1e-5)
    if strategy != "lora:2":
        assert again.source.split.is_known
        with quiet_transformers():
            plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
        takes = ("input_ids", "attention_mask", "token_type_ids")[: 1 if name == "fnet" else 3]
        for text, scores in zip(texts, alone, strict=True):
            inputs = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                logits = plain(**{key: inputs[key] for key in takes if key in inputs}).logits[0]
            assert logits.softmax(0).numpy() == pytest.approx(scores, abs=1e-5)


def test_padding_is_tried_where_texts_to_try_with_are_of_one_length(written: Any, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 6  # both are cut to it
    shutil.copytree(written("fnet"), tmp_path / "short")
    with quiet_transformers():
        tokenizer.save_pretrained(tmp_path / "short")
    adapter = _adapter(tmp_path / "short", TEXT_CLASSES)
    assert adapter.sample_inputs(2)["attention_mask"].all()
    assert not adapter.split.pads


def test_backbones_of_texts_are_embedded_and_their_cards_tell_of_padding(written: Any, tmp_path: Path) -> None:
    """Of a family that is not known the files tell whether it is of texts."""
    folder, texts = written("fnet"), [*TEXTS, "the film"]
    with quiet_transformers(), torch.no_grad():
        plain, tokenizer = transformers.AutoModel.from_pretrained(folder).eval(), tiny_tokenizer()
        hidden = [plain(tokenizer(text, return_tensors="pt")["input_ids"]).last_hidden_state[0] for text in texts]
    assert ht.embed(folder, texts) == pytest.approx(np.stack([one.mean(0).numpy() for one in hidden]), abs=1e-5)
    probe = ht.fit("text-classification", model=folder, train=ROWS, progress=SILENT)
    card = (probe.save(tmp_path / "saved") / "README.md").read_text()
    assert "padding=True" not in card
    assert "one text at a time: padding would change its scores" in card


def test_features_and_tokens_are_those_of_texts_alone(written: Any) -> None:
    adapter = _adapter(written("convbert"), TAGS)
    assert not adapter.split.pads
    texts = [*TEXTS, "the film"]
    whole, top = adapter.encode(texts), len(adapter.stages)
    with torch.no_grad():
        logits = adapter.above(adapter.below(whole, 1), 1)  # (B, T, C)
        hidden = adapter.features(whole)
        for row, text in enumerate(texts):
            inputs = adapter.encode([text])
            length = inputs["input_ids"].shape[1]
            own = adapter.model(**inputs).logits[0]
            assert logits[row, :length].numpy() == pytest.approx(own.numpy(), abs=1e-5)
            assert not logits[row, length:].any()
            assert adapter.above({"hidden": hidden[row : row + 1, :length], **inputs}, top)[0].numpy() == pytest.approx(
                own.numpy(), abs=1e-5
            )


def test_a_model_that_needs_padding_and_sees_it_is_refused(written: Any) -> None:
    """Canine reads four letters at once."""
    with pytest.raises(ModelError, match="the same outputs alone and beside others"):
        ht.fit("text-classification", model=written("canine"), train=ROWS, strategy="linear-probe", progress=SILENT)


def test_pairs_read_apart_by_a_model_that_sees_padding_are_told_the_way(written: Any) -> None:
    pairs = [(text, "the film was very good", label) for text, label in ROWS]
    apart = ht.LinearProbe(pair="features")
    with pytest.raises(ModelError, match=r"attention to padding. With strategy.pair: joint it reads both"):
        ht.fit("text-classification", model=written("fnet"), train=pairs, strategy=apart, progress=SILENT)


# --- lengths ---------------------------------------------------------------------------------------------------------


def test_texts_are_read_as_far_as_is_asked(written: Any, tmp_path: Path) -> None:
    """What tells the classes apart stands behind 600 words that are the same in all of them."""
    before = "the film and the actor " * 120
    rows = [(f"{before}{word}", label) for word, label in (("good", "pos"), ("bad", "neg"))] * 6

    def log_of(**data: int) -> tuple[Any, str]:
        progress = Progress(None)
        progress.write_log(tmp_path / "log.txt")
        fitted = ht.fit("text-classification", model=written("modernbert"), train=rows, data=data, progress=progress)
        progress.end_log()
        return fitted, (tmp_path / "log.txt").read_text()

    fitted, told = log_of(max_tokens=1000)
    assert "were cut" not in told
    assert fitted.evaluate(rows)["accuracy"] == 1.0
    assert load_model(fitted.save(tmp_path / "saved")).evaluate(rows)["accuracy"] == 1.0
    fitted, told = log_of()
    assert "are longer than 512 tokens and were cut" in told
    assert "the model takes at most 2,048: a larger data.max_tokens cuts less" in told
    assert fitted.evaluate(rows)["accuracy"] == 0.5
    assert (
        "data.max_tokens is 3,000, but the model takes at most 2,048, so 2,048 are used" in log_of(max_tokens=3000)[1]
    )


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("roberta", 63),
        ("longformer", 63),
        ("esm", 63),
        ("bert", 64),
        ("mpnet", 62),
        ("deberta-v2", 1 << 20),
        ("xlnet", 1 << 20),
        ("t5", 1 << 20),
    ],
)
def test_the_longest_text_that_a_model_takes_is_known(tmp_path: Path, name: str, most: int) -> None:
    """Positions of RoBERTa's kin count on from the padding's, which is 0 here; where tokens know their distances alone
    there is no limit, whatever the configuration says."""
    own = {**OWN.get(name, {}), **({"mask_token_id": 3} if name == "esm" else {})}
    if name == "deberta-v2":
        own = {**SIZE, "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
        own |= {"position_biased_input": False, "share_att_key": True, "norm_rel_ebd": "layer_norm"}
    with quiet_transformers():
        size = {"vocab_size": 64} if most > 64 else SIZE
        config = transformers.AutoConfig.for_model(name, **{**size, **own})
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
        tiny_tokenizer().save_pretrained(tmp_path)
    adapter = _adapter(tmp_path, TEXT_CLASSES, pooling="mean")
    assert adapter.max_tokens == most
    inputs = adapter.encode(["the film was good " * 200])
    assert inputs["input_ids"].shape == (1, min(512, most))
    with torch.no_grad():
        assert adapter.above(inputs, 0).isfinite().all()


def test_longformer_finds_answers(tmp_path: Path) -> None:
    """It reads where a question ends from its three separators: a single text has none."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    torch.manual_seed(1)
    with quiet_transformers():
        config = transformers.AutoConfig.for_model("longformer", **SIZE, attention_window=8, sep_token_id=2)
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
    rows = [question(number, ("good", "bad", "lovely", "awful")[number % 4]) for number in range(8)]
    model = ht.fit(
        "question-answering", model=tmp_path / "model", train=rows, strategy="fine-tune:1", epochs=1, progress=SILENT
    )
    asked = [{"question": "what was it ?", "context": "the story was very lovely ." * many} for many in (1, 3)]
    alone: list[Any] = [model.predict(**one) for one in asked]
    together: list[Any] = model.predict(asked)
    reloaded: list[Any] = load_model(model.save(tmp_path / "saved")).predict(asked)
    for one, beside, again in zip(alone, together, reloaded, strict=True):
        assert (beside.start, beside.end) == (again.start, again.end) == (one.start, one.end)
        assert [beside.score, again.score] == pytest.approx([one.score] * 2, abs=1e-5)


def _adapter(folder: Path, head: Any, **options: Any) -> Any:
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint is not None
    return load_adapter(checkpoint, ("a", "b"), head=head, **options)


# --- writing ---------------------------------------------------------------------------------------------------------

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
