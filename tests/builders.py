"""Tiny models made from configurations, tiny data sets of coloured noise, and a cache of each test's own."""

from __future__ import annotations

import io
import shutil
import signal
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hftransfer as ht
from hftransfer.jobs.run import Result

torch.set_num_threads(1)

COLORS = {"red": (200, 60, 60), "green": (60, 190, 70), "blue": (60, 70, 200), "sand": (200, 190, 120)}
FAMILIES = ("resnet", "vit", "timm")
GENERAL_FAMILIES = ("convnext", "swin", "mobilenet_v2", "metaclip_2", "siglip2")
IMAGE_FAMILIES = (
    *(*FAMILIES, "efficientnet", "dinov2", "convnext", "convnextv2", "swin", "clip", "siglip"),
    *("timm_resnet", "open_clip"),
)
KERAS = ("keras",) if find_spec("keras") is not None and find_spec("h5py") is not None else ()
"""The family of Keras' models, where the extra `keras` is installed."""
TEXT_FAMILIES = ("bert", "mpnet", "distilbert", "roberta", "electra", "deberta-v2", "modernbert", "gpt2", "llama")
GENERAL_TEXT_FAMILIES = ("albert", "openai-gpt", "mixtral", "t5")
WORDS: tuple[str, ...] = ("a", "an", "the", "film", "story", "actor", "was", "is", "very", "not", "who", "where")
WORDS += ("good", "great", "fine", "lovely", "bad", "awful", "dull", "poor", "in", "of", "what", "it", "and")
PRETRAINED_CLASSES = 5


# --- images ----------------------------------------------------------------------------------------------------------


def slowly(*cases: Any) -> list[Any]:
    """Return these cases of a test for the slow suite alone, others of their kind being in the default one."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]


def picture(color: str = "red", seed: int = 0, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """Noise around a colour: no two seeds give the same pixels."""
    generator = np.random.default_rng([seed, *color.encode()])
    noise = generator.normal(0, 30, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.array(COLORS[color]) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write_classes(folder: Path, sizes: Mapping[str, int], first_seed: int = 0) -> Path:
    """A folder with a folder of images per class; a class is also the colour of its images."""
    for name, size in sizes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(size):
            color = name if name in COLORS else list(COLORS)[len(name) % len(COLORS)]
            picture(color, first_seed + number).save(folder / name / f"{number:03d}.png")
    return folder


def write_discs(folder: Path, test: int = 6) -> Path:
    """Write discs on noise and the mask of each, in three splits, and return the folder."""
    from hftransfer.tasks import head_task

    pairs = iter(head_task("image-segmentation").made_up(22 + test))
    for split, count in (("train", 16), ("validation", 6), ("test", test)):
        for part in ("images", "masks"):
            (folder / part / split).mkdir(parents=True)
        for number in range(count):
            image, mask = next(pairs)
            image.save(folder / "images" / split / f"{number}.png")
            Image.fromarray(np.where(mask == 1, 7, 0).astype(np.uint8)).save(folder / "masks" / split / f"{number}.png")
    (folder / "classes.txt").write_text("0 ground\n7 disc\n")
    return folder


def bomb() -> bytes:
    """A PNG of a few bytes whose header claims 60,000 × 60,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# --- models ----------------------------------------------------------------------------------------------------------


def tiny_model(family: str) -> tuple[Any, Any]:
    """A pretrained stand-in: a model with random weights and its image processor."""
    import transformers as tf

    labels = {index: f"thing {index}" for index in range(PRETRAINED_CLASSES)}
    square = {"height": 32, "width": 32}
    model: Any
    processor: Any = None
    match family:
        case "resnet":
            config = tf.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], layer_type="basic", id2label=labels
            )
            model = tf.ResNetForImageClassification(config)
            processor = tf.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
        case "vit":
            config = tf.ViTConfig(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                image_size=32,
                patch_size=8,
                initializer_range=0.2,
                id2label=labels,
            )
            model = tf.ViTForImageClassification(config)
            processor = tf.ViTImageProcessor(size=square)
        case "timm":
            pretrained = {
                "input_size": [3, 64, 64],
                "interpolation": "bicubic",
                "crop_pct": 0.9,
                "crop_mode": "center",
                "mean": [0.5, 0.5, 0.5],
                "std": [0.5, 0.5, 0.5],
                "num_classes": PRETRAINED_CLASSES,
                "classifier": "classifier",
            }
            config = tf.TimmWrapperConfig(architecture="test_efficientnet", id2label=labels, pretrained_cfg=pretrained)
            model = tf.TimmWrapperForImageClassification(config)
        case "convnext":
            config = tf.ConvNextConfig(
                hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], image_size=32, initializer_range=0.2, id2label=labels
            )
            model = tf.ConvNextForImageClassification(config)
            processor = tf.ConvNextImageProcessor(size={"shortest_edge": 32})
        case "convnextv2":
            config = tf.ConvNextV2Config(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, image_size=32, id2label=labels)
            model = tf.ConvNextV2ForImageClassification(config)
            processor = tf.ConvNextImageProcessor(size={"shortest_edge": 32})
        case "swin":
            config = tf.SwinConfig(
                image_size=32,
                patch_size=4,
                embed_dim=8,
                depths=[1, 1],
                num_heads=[1, 2],
                window_size=4,
                initializer_range=0.2,
                id2label=labels,
            )
            model = tf.SwinForImageClassification(config)
            processor = tf.ViTImageProcessor(size=square)
        case "mobilenet_v2":
            config = tf.MobileNetV2Config(depth_multiplier=0.35, image_size=32, id2label=labels)
            model = tf.MobileNetV2ForImageClassification(config)
            processor = tf.MobileNetV2ImageProcessor(size={"shortest_edge": 32}, crop_size=square)
        case "efficientnet":
            config = tf.EfficientNetConfig(
                width_coefficient=0.25, depth_coefficient=0.2, image_size=32, hidden_dim=320, id2label=labels
            )
            model = tf.EfficientNetForImageClassification(config)
            processor = tf.EfficientNetImageProcessor(size=square)
        case "dinov2":
            config = tf.Dinov2Config(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=8,
                initializer_range=0.2,
                id2label=labels,
            )
            model = tf.Dinov2ForImageClassification(config)
            processor = tf.BitImageProcessor(size={"shortest_edge": 32}, crop_size=square)
        case "clip" | "siglip" | "metaclip_2" | "siglip2":
            tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
            text = {"vocab_size": 99, **tower, "bos_token_id": 1, "eos_token_id": 2}
            # SigLIP 2 takes images of any proportions.
            vision = {**tower, "patch_size": 8, **({"num_patches": 16} if family == "siglip2" else {"image_size": 32})}
            name = {"clip": "CLIP", "siglip": "Siglip", "metaclip_2": "MetaClip2", "siglip2": "Siglip2"}[family]
            config = getattr(tf, f"{name}Config")(vision_config=vision, text_config=text, id2label=labels)
            model = getattr(tf, f"{name}ForImageClassification")(config)
            if family == "siglip":
                processor = tf.SiglipImageProcessor(size=square)
            elif family == "siglip2":
                processor = tf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
            else:
                processor = tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square)
        case "timm_resnet":
            pretrained = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9}
            pretrained |= {"interpolation": "bicubic", "classifier": "fc", "num_classes": PRETRAINED_CLASSES}
            config = tf.TimmWrapperConfig(architecture="test_resnet", id2label=labels, pretrained_cfg=pretrained)
            model = tf.TimmWrapperForImageClassification(config)
        case _:
            raise ValueError(family)
    return model, processor


def tiny_tokenizer() -> Any:
    """A tokenizer of whole words, with the special tokens of BERT."""
    import transformers as tf
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS, ",", ".", "?"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def _tiny_text_config(family: str) -> Any:
    import transformers as tf

    size: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    size |= {"intermediate_size": 64, "vocab_size": 64, "initializer_range": 0.2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    match family:
        case "bert":
            return tf.BertConfig(**size)
        case "mpnet":
            return tf.MPNetConfig(**size)
        case "distilbert":
            return tf.DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=64)
        case "roberta":
            return tf.RobertaConfig(**size, **special)
        case "electra":
            return tf.ElectraConfig(embedding_size=16, **size)
        case "deberta-v2":
            relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
            return tf.DebertaV2Config(**size, **relative, norm_rel_ebd="layer_norm", share_att_key=True)
        case "modernbert":
            return tf.ModernBertConfig(**size, **special, cls_token_id=1, sep_token_id=2)
        case "gpt2":
            sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 64, "initializer_range": 0.2}
            return tf.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)
        case "llama":
            return tf.LlamaConfig(**size, **special, num_key_value_heads=2, max_position_embeddings=128)
        case "albert":  # its layers share their weights
            return tf.AlbertConfig(**size, embedding_size=16)
        case "openai-gpt":  # its blocks give lists
            return tf.OpenAIGPTConfig(n_embd=32, n_layer=2, n_head=2, vocab_size=64, initializer_range=0.2)
        case "mixtral":
            experts = {"num_local_experts": 2, "num_experts_per_tok": 1}
            return tf.MixtralConfig(**size, **special, **experts, num_key_value_heads=2, max_position_embeddings=128)
        case "t5":
            return tf.T5Config(d_model=32, d_ff=64, d_kv=16, num_layers=2, num_heads=2, vocab_size=64)
    raise ValueError(family)


def write_tiny_text_model(family: str, folder: Path, *, spans: bool = False) -> None:
    """Nothing; writes a backbone without a head, or one with a head for spans."""
    import transformers as tf

    config = _tiny_text_config(family)
    kind = tf.AutoModelForQuestionAnswering if spans else tf.AutoModel
    kind.from_config(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


WRITERS = ("gpt2", "llama", "qwen2", "gemma2")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<s>' + message['role'] + '\n' + message['content'] + '<end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def byte_tokenizer(*, chat: str | None = CHAT_TEMPLATE, end: str | None = "<end>", pad: str | None = None) -> Any:
    """A tokenizer of single bytes, whose padding token is the end token if none is given."""
    import transformers as tf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: index for index, sign in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "<end>", "<pad>"])
    made = tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token=end, pad_token=pad or end)
    made.chat_template = chat
    return made


def tiny_writer(family: str) -> Any:
    """A decoder with random weights that vary, its head tied but for Qwen2's, for the tokens of `byte_tokenizer`."""
    import transformers as tf

    size: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 264}
    size |= {"intermediate_size": 48, "num_key_value_heads": 1, "max_position_embeddings": 256}
    size |= {"initializer_range": 0.2, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": None}
    config: Any
    match family:
        case "gpt2":
            own = {"n_embd": 32, "n_layer": 3, "n_head": 2, "vocab_size": 264, "n_positions": 256}
            config = tf.GPT2Config(**own, initializer_range=0.2, bos_token_id=256, eos_token_id=257)
        case "llama":
            config = tf.LlamaConfig(**size, tie_word_embeddings=True)
        case "qwen2":
            config = tf.Qwen2Config(**size, tie_word_embeddings=False)
        case "gemma2":
            config = tf.Gemma2Config(**size, head_dim=16, final_logit_softcapping=3.0, sliding_window=16)
        case _:
            raise ValueError(family)
    return tf.AutoModelForCausalLM.from_config(config).eval()


def write_tiny_writer(family: str, folder: Path, **options: Any) -> Path:
    """The folder with a decoder and its tokenizer."""
    torch.manual_seed(3)
    tiny_writer(family).save_pretrained(folder)
    byte_tokenizer(**options).save_pretrained(folder)
    return folder


def write_tiny_open_clip(folder: Path, *, captions: bool = False) -> None:
    """A model of open_clip, or a CoCa, which writes captions as well."""
    import json

    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    vision: dict[str, Any] = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text: dict[str, Any] = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    model: Any
    if captions:
        own: dict[str, Any] = {**text, "attn_pooler_heads": 2}
        vision |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        text |= {"embed_cls": True, "output_tokens": True}
        model = open_clip.CoCa(16, multimodal_cfg=own, text_cfg=dict(text), vision_cfg=dict(vision))
    else:
        model = open_clip.CLIP(embed_dim=16, vision_cfg=dict(vision), text_cfg=dict(text))
    config: dict[str, Any] = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}}
    if captions:
        config["model_cfg"] |= {"multimodal_cfg": own, "custom_text": True}
    config["preprocess_cfg"] = {"mean": [0.5] * 3, "std": [0.5] * 3}
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def tiny_keras(classes: int = PRETRAINED_CLASSES, side: int | None = 32, *, named: str = "mobilenetv2_tiny") -> Any:
    """A model of Keras with residual sums, a branch that weighs channels, and odd paddings; its weights vary."""
    from hftransfer.adapters.libraries import keras_on_torch

    keras = keras_on_torch()
    layers = keras.layers
    keras.utils.set_random_seed(7)

    def normed(x: Any, name: str) -> Any:
        return layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(x)

    image = keras.Input((side, side, 3))
    x = layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(6.0)(normed(x, "stem"))
    for block in range(3):
        y = layers.ZeroPadding2D(((0, 1), (0, 1)))(x) if block == 1 else x
        y = layers.DepthwiseConv2D(3, padding="valid" if block == 1 else "same", strides=1 + (block == 1))(y)
        y = layers.Activation("silu")(normed(y, f"block{block}"))
        weighed = layers.Reshape((1, 1, 12))(layers.GlobalAveragePooling2D()(y))
        y = layers.Multiply()([y, layers.Conv2D(12, 1, activation="sigmoid")(weighed)])
        y = layers.Conv2D(12, 1)(y)
        x = layers.Activation("relu")(y if block == 1 else layers.Add()([x, y]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(classes, activation="softmax", name="predictions")(x), name=named)
    random = np.random.default_rng(3)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(random.uniform(-0.5, 0.5, variable.shape))
        elif variable.name == "kernel":
            variable.assign(random.normal(0, 0.6, variable.shape))
    return model


def write_tiny_keras(folder: Path) -> None:
    """A folder with a tiny model in Keras' own file."""
    folder.mkdir(parents=True)
    save_keras(tiny_keras(), folder / "model.keras")


def save_keras(model: Any, file: Path) -> Path:
    """The file with a model of Keras, which warns of numpy's ways as it writes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(file)
    return file


DUAL_FAMILIES = ("clip-dual", "siglip-dual", "vision-text-dual")
RELATED_DUAL_FAMILIES = ("align-dual", "chinese-clip-dual", "siglip2-dual")


def write_tiny_dual_encoder(family: str, folder: Path) -> None:
    import transformers as tf

    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": tokenizer.sep_token_id}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, **sizes, **ids}
    vision = {**sizes, "image_size": 32, "patch_size": 8, "initializer_range": 0.2}
    square = {"height": 32, "width": 32}
    processor: Any = tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square)
    model: Any
    if family == "clip-dual":
        model = tf.CLIPModel(tf.CLIPConfig(vision_config=vision, text_config=text, projection_dim=16))
    elif family == "siglip-dual":
        text |= {"projection_size": 32}
        model = tf.SiglipModel(tf.SiglipConfig(vision_config=vision, text_config=text))
        processor = tf.SiglipImageProcessor(size=square)
    elif family == "siglip2-dual":
        own = {**sizes, "patch_size": 8, "num_patches": 16}
        model = tf.Siglip2Model(tf.Siglip2Config(vision_config=own, text_config=text | {"projection_size": 32}))
        processor = tf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    elif family == "align-dual":
        small = {"width_coefficient": 0.25, "depth_coefficient": 0.2, "image_size": 32}
        model = tf.AlignModel(tf.AlignConfig(vision_config=small, text_config=text, projection_dim=80))
        lively(model.vision_model)
        model.temperature.data.fill_(0.2)
        processor = tf.EfficientNetImageProcessor(size=square)
    elif family == "chinese-clip-dual":
        model = tf.ChineseCLIPModel(tf.ChineseCLIPConfig(vision_config=vision, text_config=text, projection_dim=16))
    else:
        vit, bert = tf.ViTConfig(**vision), tf.BertConfig(**{k: v for k, v in text.items() if k != "bos_token_id"})
        config = tf.VisionTextDualEncoderConfig.from_vision_text_configs(vit, bert, projection_dim=16)
        model = tf.VisionTextDualEncoderModel(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def lively(model: Any) -> None:
    """Nothing; gives a convolutional network weights, scales and statistics as training would: its features vary."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    images = [picture(color, seed, (64, 64)) for seed in range(4) for color in COLORS]
    pixels = torch.tensor(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2) / 127.5 - 1
    model.train()
    with torch.no_grad():
        for _ in range(20):  # the running statistics move a tenth of the way each time
            model(pixels)
    model.eval()


TinyModels = Callable[[str], Path]


def load_model(reference: Path | str, **options: Any) -> ht.Predictor:
    """What `hftransfer.load` gives, which is a model with a head."""
    found = ht.load(reference, **options)
    assert isinstance(found, ht.Predictor)
    return found


def load_dual_model(reference: Path | str, **options: Any) -> ht.DualPredictor:
    """What `hftransfer.load` gives, which is a dual encoder."""
    found = ht.load(reference, **options)
    assert isinstance(found, ht.DualPredictor)
    return found


# --- runs ------------------------------------------------------------------------------------------------------------

Finished = Callable[[str], Result]


NO_PICTURES = {"figures": False, "report": False}
"""Of a recipe's output, in tests of other things: figures and the page take longer than all the rest of a tiny run."""


def recipe_for(model: Path | str, data: Path | str, **train: Any) -> dict[str, Any]:
    """A recipe as Python values; in float32 unless told otherwise, and without pictures."""
    return {
        "task": "image-classification",
        "model": str(model),
        "data": {"source": str(data)},
        "train": {"precision": "fp32", **train},
        "output": NO_PICTURES,
    }


# --- the surroundings ------------------------------------------------------------------------------------------------


def faults_of(error: pytest.ExceptionInfo[Any]) -> str:
    """What a person reads of an error."""
    return "\n".join(error.value.faults)


def missing_words(text: str, words: Iterable[str]) -> list[str]:
    """The words that a message lacks."""
    return [word for word in words if word not in text]


# --- texts -----------------------------------------------------------------------------------------------------------


def question(number: int, word: str, group: str = "") -> dict[str, Any]:
    """A record in SQuAD's columns."""
    context = f"the story {number} was very {word} ."
    answers = {"text": [word], "answer_start": [context.index(word)]}
    title = group or f"article {number % 5}"
    return {"id": f"q{number}", "title": title, "question": "what was it ?", "context": context, "answers": answers}


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium with a small window; the test is skipped where there is none."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("no chromium and chromedriver here")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=420,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """Let a SIGTERM end what is trained meanwhile, in the middle of this step, counted from 0."""
    from hftransfer.training.interrupts import Interrupted
    from hftransfer.training.loop import _Run

    part = _Run._part

    def stopped(self: _Run, *given: Any) -> float:
        if self.at.steps == step:
            raise Interrupted(signal.SIGTERM)
        return part(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(_Run, "_part", stopped)
        with pytest.raises(Interrupted):
            yield
