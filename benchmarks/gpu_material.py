"""What the checks on a GPU work on: models of configurations with random weights, drawn pictures and texts."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = {"red": (200, 60, 60), "green": (60, 190, 70), "blue": (60, 70, 200), "sand": (200, 190, 120)}
GOOD, BAD = ("good", "great", "fine", "lovely"), ("bad", "awful", "dull", "poor")
OTHER = ("a", "an", "the", "film", "story", "actor", "was", "is", "very", "not", "who", "where", "in", "of", "and")
_FILLERS = tuple(f"word{number}" for number in range(1000))
_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")


@dataclass(frozen=True)
class Setting:
    """Where the checks run, how large everything is, and the folder that they share."""

    device: str
    small: bool
    folder: Path

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU to be looked at."""
        return self.device == "cuda"

    def model(self, kind: str, size: str) -> Path:
        """Return the checkpoint folder of a model, made the first time: `vit` or `bert`, tiny, middle or base."""
        folder = self.folder / f"{kind}-{size}"
        if not folder.exists():
            draft = self.folder / f".{folder.name}-{np.random.default_rng().integers(1 << 40)}"
            _MAKERS[kind](draft, "tiny" if self.small else size)
            try:
                draft.rename(folder)
            except OSError:  # another check was quicker
                if not folder.exists():
                    raise
        return folder


# --- models ----------------------------------------------------------------------------------------------------------

_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "middle": {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}


def _write_vit(folder: Path, size: str) -> None:
    import torch
    import transformers as tf

    px, patch_px = (32, 8) if size == "tiny" else (224, 16)
    spread = 0.02 if size == "base" else 0.2
    torch.manual_seed(7)
    config = tf.ViTConfig(image_size=px, patch_size=patch_px, initializer_range=spread, **_SIZES[size])
    tf.ViTForImageClassification(config).save_pretrained(folder)
    tf.ViTImageProcessor(size={"height": px, "width": px}).save_pretrained(folder)


def _write_bert(folder: Path, size: str) -> None:
    import torch
    import transformers as tf

    tokenizer = word_tokenizer(30_522 if size == "base" else 0)
    spread = 0.02 if size == "base" else 0.2
    torch.manual_seed(7)
    tf.BertModel(tf.BertConfig(vocab_size=len(tokenizer), initializer_range=spread, **_SIZES[size])).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)


_MAKERS: dict[str, Callable[[Path, str], None]] = {"vit": _write_vit, "bert": _write_bert}


def word_tokenizer(at_least: int = 0) -> Any:
    """Return a tokenizer of whole words, with the special tokens of BERT, that knows so many."""
    import transformers as tf
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    known = [*_SPECIAL, *OTHER, *GOOD, *BAD, *_FILLERS]
    known += [f"unused{number}" for number in range(len(known), at_least)]
    words = {word: index for index, word in enumerate(known)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict(zip(("pad_token", "cls_token", "sep_token", "unk_token"), _SPECIAL, strict=True)),
    )


# --- one tiny model of each family, for the contract -----------------------------------------------------------------

_VIT = {**_SIZES["tiny"], "image_size": 32, "patch_size": 8, "initializer_range": 0.2}
_WORDS = {**_SIZES["tiny"], "vocab_size": 1100, "initializer_range": 0.2}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_WINDOWS = {"depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
_RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "share_att_key": True}
_FOUR = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 12, 16, 24]}


def _images_of(name: str, **config: Any) -> Any:
    import transformers as tf

    made = getattr(tf, f"{name}Config")(id2label=dict(enumerate("abcde")), **config)
    model = getattr(tf, f"{name}ForImageClassification")(made)
    return model, tf.ViTImageProcessor(size={"height": 32, "width": 32})


def _clip_of(name: str) -> Any:
    import transformers as tf

    text = {"vocab_size": 99, **_SIZES["tiny"]}
    vision = {**_SIZES["tiny"], "image_size": 32, "patch_size": 8}
    config = getattr(tf, f"{name}Config")(text_config=text, vision_config=vision, id2label=dict(enumerate("abcde")))
    model = getattr(tf, f"{name}ForImageClassification")(config)
    return model, tf.ViTImageProcessor(size={"height": 32, "width": 32})


def _timm_of(architecture: str, classifier: str) -> Any:
    import transformers as tf

    given = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9, "crop_mode": "center"}
    given |= {"interpolation": "bicubic", "num_classes": 5, "classifier": classifier}
    config = tf.TimmWrapperConfig(architecture=architecture, id2label=dict(enumerate("abcde")), pretrained_cfg=given)
    return tf.TimmWrapperForImageClassification(config), None


def _texts_of(name: str, **config: Any) -> Any:
    import transformers as tf

    return tf.AutoModel.from_config(getattr(tf, f"{name}Config")(**config)), word_tokenizer()


FAMILIES: dict[str, Callable[[], Any]] = {
    "vit": partial(_images_of, "ViT", **_VIT),
    "dinov2": partial(_images_of, "Dinov2", **{k: v for k, v in _VIT.items() if k != "intermediate_size"}),
    "resnet": partial(_images_of, "ResNet", embedding_size=8, layer_type="basic", **_FOUR),
    "convnextv2": partial(_images_of, "ConvNextV2", image_size=32, **_FOUR),
    "swin": partial(_images_of, "Swin", image_size=32, patch_size=4, embed_dim=8, **_WINDOWS),
    "clip": partial(_clip_of, "CLIP"),
    "siglip": partial(_clip_of, "Siglip"),
    "timm efficientnet": partial(_timm_of, "test_efficientnet", "classifier"),
    "timm resnet": partial(_timm_of, "test_resnet", "fc"),
    "timm vit": partial(_timm_of, "test_vit", "head"),
    "bert": partial(_texts_of, "Bert", **_WORDS),
    "mpnet": partial(_texts_of, "MPNet", **_WORDS),
    "distilbert": partial(_texts_of, "DistilBert", dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=1100),
    "roberta": partial(_texts_of, "Roberta", **_WORDS, **_IDS),
    "electra": partial(_texts_of, "Electra", embedding_size=16, **_WORDS),
    "deberta-v2": partial(_texts_of, "DebertaV2", **_WORDS, **_RELATIVE, norm_rel_ebd="layer_norm"),
    "modernbert": partial(_texts_of, "ModernBert", **_WORDS, **_IDS, cls_token_id=1, sep_token_id=2),
    "gpt2": partial(_texts_of, "GPT2", n_embd=32, n_layer=2, n_head=2, vocab_size=1100, bos_token_id=1, eos_token_id=2),
    "llama": partial(_texts_of, "Llama", **_WORDS, **_IDS, num_key_value_heads=2, max_position_embeddings=128),
}
TEXT_FAMILIES = ("bert", "mpnet", "distilbert", "roberta", "electra", "deberta-v2", "modernbert", "gpt2", "llama")


def write_family(family: str, folder: Path) -> Path:
    """Return the folder with a tiny checkpoint of a family, its weights random."""
    import torch

    torch.manual_seed(7)
    model, processor = FAMILIES[family]()
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return folder


# --- pictures and texts ----------------------------------------------------------------------------------------------


def picture(colour: str, seed: int, width_px: int = 40, height_px: int = 32) -> Any:
    """Return soft noise around a colour: no two seeds give the same pixels."""
    from PIL import Image

    noise = np.random.default_rng([seed, *colour.encode()]).normal(0, 40, (16, 16, 3))
    small = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(small).resize((width_px, height_px), Image.Resampling.BICUBIC)


def jpeg(image: Any) -> bytes:
    """Return the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def picture_rows(count: int, seed: int, width_px: int = 40, height_px: int = 32) -> list[tuple[bytes, str]]:
    """Return labelled JPEG files whose colour tells their class."""
    names = list(COLOURS)
    labels = [names[number % len(names)] for number in range(count)]
    return [(jpeg(picture(name, 10_000 * seed + n, width_px, height_px)), name) for n, name in enumerate(labels)]


def text_rows(count: int, seed: int, words: int | None = None) -> list[tuple[str, str]]:
    """Return labelled texts that have a telling word, of 4 to 12 words if no number is given."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label, telling = ("pos", GOOD) if number % 2 else ("neg", BAD)
        length = words or int(random.integers(4, 13))
        chosen = [*random.choice([*OTHER, *_FILLERS[:50]], length - 1), random.choice(telling)]
        rows.append((" ".join(random.permutation(chosen)), label))
    return rows


def write_pictures(folder: Path, px: int) -> Path:
    """Return a folder of JPEG files per class in train, validation and test."""
    for seed, (split, count) in enumerate({"train": 48, "validation": 16, "test": 16}.items()):
        for number, (content, label) in enumerate(picture_rows(count, seed, px, px)):
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            (folder / split / label / f"{number:03d}.jpg").write_bytes(content)
    return folder


def write_texts(folder: Path, words: int) -> Path:
    """Return a folder of CSV files of texts: train, validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate({"train": 48, "validation": 16, "test": 16}.items()):
        lines = ["sentence,label", *(f"{text},{label}" for text, label in text_rows(count, seed, words))]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
