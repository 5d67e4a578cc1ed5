"""From a checkpoint to its adapter: the family is read from the checkpoint's own configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hftransfer.adapters.base import Adapter, Pooling
from hftransfer.adapters.causal import CausalAdapter
from hftransfer.adapters.checkpoint import MODULE, Checkpoint
from hftransfer.adapters.embedding import load_embedding_classifier
from hftransfer.adapters.heads import Head, load_head
from hftransfer.adapters.images import ImageAdapter, TimmAdapter
from hftransfer.adapters.keras import load_keras
from hftransfer.adapters.libraries import damage_as_model_error, quiet_transformers, seeded
from hftransfer.adapters.modules import load_module
from hftransfer.adapters.open_clip import load_open_clip
from hftransfer.adapters.parts import Parts
from hftransfer.adapters.pretrained import (
    LoadingReport,
    config_of,
    lacking,
    loading,
    model_of,
    name_classes,
    require_whole,
    without_new_pooler,
)
from hftransfer.adapters.processors import load_image_processor, load_tokenizer
from hftransfer.adapters.scoring import require_names
from hftransfer.adapters.segmenters import MapForm, load_segmenter
from hftransfer.adapters.text_pairs import PairedClassifier, PairedTextAdapter
from hftransfer.adapters.texts import ENDLESS_TOKENS, PooledClassifier, PooledTextAdapter, TextAdapter
from hftransfer.base.errors import ModelError, must_be

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Form:
    """The model to make of a checkpoint: its head, the classes (None: those it has), the pooling."""

    head: Head
    class_names: tuple[str, ...] | None
    pooling: Pooling
    seed: int
    problem_type: str | None = None
    pair: Literal["joint", "features"] = "joint"

    @property
    def new_head(self) -> bool:
        """Return whether the head waits to be trained (one without named classes: `class_names` is empty, not None)."""
        return self.class_names is not None and self.head.is_new


def load_adapter(
    checkpoint: Checkpoint,
    class_names: Sequence[str] | None = None,
    *,
    head: Head,
    pooling: Pooling = "native",
    seed: int = 0,
    problem_type: str | None = None,
    pair: Literal["joint", "features"] = "joint",
    size: tuple[int, int] | None = None,
    known: Parts | None = None,
) -> Adapter:
    """Return the adapter of a checkpoint, in float32 and eval mode.

    With `class_names` the head is new (it has these classes and waits to be trained); without, it must be there.
    The seed initialises what is new; `problem_type` is what transformers calls a new head's purpose. Of pairs of texts
    whose `pair` is by features each text is read by itself. Of a head on maps `size` is what images are brought to,
    (height, width); the model's own where None. What is `known` of its parts is not found out again.

    Raises:
        ModelError: the weights are not whole, or no model with such a head can be made of them.
    """
    if head.of_maps:
        with damage_as_model_error(checkpoint.name), quiet_transformers(), seeded(seed):
            dense: Literal["dense", "native"] = "dense" if pooling == "dense" else "native"
            names = None if class_names is None else tuple(class_names)
            segmenter = load_segmenter(checkpoint, MapForm(head, names, size, dense))
            segmenter.known = known
            segmenter.require_parts()
            return segmenter
    form = Form(head, None if class_names is None else tuple(class_names), pooling, seed, problem_type, pair)
    with damage_as_model_error(checkpoint.name):
        return _loaded(checkpoint, form, known)


def _loaded(checkpoint: Checkpoint, form: Form, known: Parts | None) -> Adapter:
    with quiet_transformers(), seeded(form.seed):
        adapter, info = _made(checkpoint, form)
        adapter.known = known
        if info is not None:
            _require_weights(adapter, info, form)
        adapter.require_parts()
        # That of an embedding has begun already.
        if form.new_head and form.pooling != "embedding" and adapter.head_is_linear:
            adapter.begin_head()
    return adapter


def _made(checkpoint: Checkpoint, form: Form) -> tuple[Adapter, LoadingReport | None]:
    """Return the adapter, and of models of transformers what it says of their weights."""
    if form.pooling == "embedding":
        return load_embedding_classifier(checkpoint, form.class_names), None
    if checkpoint.family == "open_clip":
        return load_open_clip(checkpoint, form.class_names), None
    if checkpoint.keras is not None:
        return load_keras(checkpoint, form.class_names, form.head, form.problem_type), None
    if checkpoint.family == MODULE:
        return load_module(checkpoint, form.class_names, form.head, form.problem_type), None
    model, info = _load_model(checkpoint, form)
    return _adapter_of(model, checkpoint, form), info


def _adapter_of(model: PreTrainedModel | PooledClassifier, checkpoint: Checkpoint, form: Form) -> Adapter:
    name, family, head = checkpoint.name, checkpoint.family, form.head
    if head.modality == "image":
        of_images = TimmAdapter if family == "timm_wrapper" else ImageAdapter
        return of_images(model, load_image_processor(checkpoint), name, family, head)
    if head.writes:
        return CausalAdapter(model, load_tokenizer(checkpoint), name, family, head)
    of_texts = PooledTextAdapter if isinstance(model, PooledClassifier) else TextAdapter
    if isinstance(model, PairedClassifier):
        of_texts = PairedTextAdapter
    adapter = of_texts(model, load_tokenizer(checkpoint), name, family, head)
    if isinstance(adapter, PooledTextAdapter) and checkpoint.whole is not None:
        # Where its folder has no number, sentence-transformers reads all that the model and its tokenizer take.
        whole = adapter.max_tokens if adapter.max_tokens < ENDLESS_TOKENS else None
        if (read := checkpoint.read_tokens or whole) is not None:
            adapter.folder_tokens = read
    return adapter


def _load_model(checkpoint: Checkpoint, form: Form) -> tuple[PreTrainedModel | PooledClassifier, LoadingReport]:
    """Return the native model, and what transformers says of missing and mismatched weights."""
    import transformers

    pooled = form.pooling != "native"
    with loading(f"model '{checkpoint.name}'", form.head.words, checkpoint.family):
        config = config_of(checkpoint)
        kind = getattr(transformers, _backbone_class(config) if pooled else form.head.auto_class)
        _adapt_config(config, form)
        if form.head.names_classes:
            require_names(config.id2label, checkpoint.name)
        model, info = model_of(kind, checkpoint, config, new_head=form.new_head)
        if checkpoint.family == "timm_wrapper":
            _give_one_head(model, info, is_new=form.new_head)
    if form.new_head and not pooled:
        _fill_backbone(model, info, checkpoint)
    return (_pooled(model, info, checkpoint, form), info) if pooled else (model, info)


def _backbone_class(config: PreTrainedConfig) -> str:
    """Return the auto class of the backbone whose tokens are pooled: of T5 and its kin the encoder alone."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES as ENCODERS

    has_own_half = str(ENCODERS.get(config.model_type, "")).endswith("EncoderModel")
    return "AutoModelForTextEncoding" if has_own_half else "AutoModel"


def _give_one_head(model: PreTrainedModel, info: LoadingReport, *, is_new: bool) -> None:
    """Give a network of timm one linear head: for two of a distilled one, of which no weights are missing then, and for
    a convolution."""
    from hftransfer.adapters.distilled import with_one_head
    from hftransfer.adapters.pointwise import with_linear_head

    with_linear_head(getattr(model, "timm_model", None))
    second = with_one_head(model, is_new=is_new)
    info["missing_keys"] = set(info["missing_keys"]) - second
    info["mismatched_keys"] = {one for one in info["mismatched_keys"] if one[0] not in second}


def _fill_backbone(model: PreTrainedModel, info: LoadingReport, checkpoint: Checkpoint) -> None:
    """Fill a backbone whose weights transformers did not find from the bare backbone in the folder: Llama's class for
    questions, for one, looks for them under another name than checkpoints have."""
    import torch
    import transformers

    # The backbone's attribute, `model` or `bert`, with which names of its tensors begin.
    prefix = str(getattr(model, "base_model_prefix", ""))
    backbone = getattr(model, prefix, None) if prefix else None
    # A new head is missing too, and rightly: names below the prefix are the backbone's.
    absent = {name for name in info["missing_keys"] if name.startswith(f"{prefix}.")}
    if backbone is None or not absent:
        return
    config = config_of(checkpoint)
    _leave_classes_to_transformers(config)
    bare, report = transformers.AutoModel.from_pretrained(
        str(checkpoint.folder),
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # Of another class the same names could be other layers.
    if type(bare) is type(backbone) and not report["missing_keys"]:
        there = bare.state_dict()
        backbone.load_state_dict(there, strict=False)  # the bare one may lack a pooler
        info["missing_keys"] = set(info["missing_keys"]) - {f"{prefix}.{name}" for name in there}


def _pooled(backbone: PreTrainedModel, info: LoadingReport, checkpoint: Checkpoint, form: Form) -> PooledClassifier:
    """Return the backbone under pooling and a linear head: a new one, or the one in `head.safetensors`."""
    unused = without_new_pooler(backbone, info)
    info["missing_keys"] = {f"backbone.{name}" for name in set(info["missing_keys"]) - unused}
    kind = PairedClassifier if form.pair == "features" else PooledClassifier
    model = kind(backbone, form.pooling, len(backbone.config.id2label))
    if not form.new_head:
        load_head(model.head, checkpoint)
    return model


def _adapt_config(config: PreTrainedConfig, form: Form) -> None:
    """Give the configuration the new classes, and remove what keeps transformers from reading timm's own."""
    _leave_classes_to_transformers(config)
    if not form.class_names:
        return
    name_classes(config, form.class_names)
    config.problem_type = form.problem_type
    # How sentence-transformers reads a cross-encoder: one number goes through a sigmoid unless this names another
    # function (6.2.0), and what it says of the pretrained head does not hold for a new one.
    vars(config).pop("sbert_ce_default_activation_function", None)
    vars(config).pop("sentence_transformers", None)
    if form.problem_type == "regression" and form.head.modality == "text" and form.pooling == "native":
        config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}


def _leave_classes_to_transformers(config: PreTrainedConfig) -> None:
    """Remove the number of classes that timm writes among a model's arguments: transformers passes its own."""
    if isinstance(getattr(config, "model_args", None), dict):
        config.model_args.pop("num_classes", None)


_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def _require_no_more_layers(adapter: Adapter, surplus: Iterable[str]) -> None:
    """Return if the weights hold no more layers than the configuration says; what else is beside them (the head of
    another task) is left.

    Raises:
        ModelError: they do: the model would answer with a part of itself.
    """
    # The same names but for the number of the layer.
    known = {_NUMBER.sub("N", name) for name in adapter.model.state_dict() if _NUMBER.search(name)}
    layers = sorted(name for name in surplus if _NUMBER.search(name) and _NUMBER.sub("N", name) in known)
    if layers:
        got = f"weights of more layers ({layers[0]} and {len(layers) - 1} more)"
        remedy = "Its config.json belongs to another model."
        raise ModelError(must_be(f"model '{adapter.name}'", "as deep as its config.json says", got, remedy))


def _require_weights(adapter: Adapter, info: LoadingReport, form: Form) -> None:
    """Return if all weights came from the checkpoint; those of a new head may be missing."""
    head_names = adapter.split.new_parameters()
    absent = lacking(info)
    adapter.fresh = frozenset(absent)
    _require_no_more_layers(adapter, info["unexpected_keys"])
    if form.new_head:
        absent -= head_names
    what = "head weights" if absent <= head_names else "weights"
    require_whole(f"model '{adapter.name}'", absent, what)
