"""From a checkpoint to its adapter: the family is read from the checkpoint's own configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hftransfer.adapters.base import quiet_transformers
from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.adapters.images import AnyImageClassifier, ImageClassifier, ResNet, Timm, ViT
from hftransfer.errors import ModelError, first_line, must_be

_ADAPTERS: dict[str, type[ImageClassifier]] = {"resnet": ResNet, "vit": ViT, "timm_wrapper": Timm}


def load_adapter(checkpoint: Checkpoint, class_names: Sequence[str] | None = None) -> ImageClassifier:
    """The adapter of a checkpoint, in float32 and eval mode.

    With `class_names` the head is new (it has these classes and waits to be trained); without, it must be there.

    Raises:
        ModelError: the weights are not whole, or no image classifier can be made of them.
    """
    with quiet_transformers():
        model, info = _load_model(checkpoint, class_names)
        processor = _load_processor(checkpoint)
    adapter = _ADAPTERS.get(checkpoint.family, AnyImageClassifier)(model, processor, checkpoint.name)
    _require_weights(adapter, info, new_head=class_names is not None)
    if class_names is not None:
        adapter.head.reset_parameters()
    return adapter


def _load_model(checkpoint: Checkpoint, class_names: Sequence[str] | None) -> tuple[Any, dict[str, Any]]:
    """The native model, and what transformers says of missing and mismatched weights."""
    import safetensors
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification

    name, folder = checkpoint.name, str(checkpoint.folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _adapt_config(config, class_names)
        model, info = AutoModelForImageClassification.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=class_names is not None,
            output_loading_info=True,
        )
    except safetensors.SafetensorError as error:
        got = f"weights that are truncated or damaged ({error})"
        raise ModelError(must_be(f"model '{name}'", "a folder with whole weights", got)) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        got = f"{checkpoint.family} ({first_line(error)})"
        raise ModelError(must_be(f"model '{name}'", "an image classifier that transformers loads", got)) from error
    return model, info


def _adapt_config(config: Any, class_names: Sequence[str] | None) -> None:
    """Nothing; the configuration gets the new classes, and loses what keeps transformers from reading timm's own."""
    if isinstance(getattr(config, "model_args", None), dict):
        config.model_args.pop("num_classes", None)  # timm wrote it; transformers passes its own
    if class_names is None:
        return
    config.id2label = dict(enumerate(class_names))
    config.label2id = {label: index for index, label in enumerate(class_names)}
    config.problem_type = None
    if hasattr(config, "label_names"):  # timm's own list of names would win over id2label when loaded
        config.label_names = list(class_names)


def _load_processor(checkpoint: Checkpoint) -> Any:
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "Add the preprocessor_config.json of the pretrained model."
        raise ModelError(
            must_be(f"model '{checkpoint.name}'", "one with an image processor", "none", remedy)
        ) from error


def _require_weights(adapter: ImageClassifier, info: dict[str, Any], *, new_head: bool) -> None:
    """Nothing, if all weights came from the checkpoint; those of a new head may be missing."""
    head_names = {
        name
        for name, parameter in adapter.model.named_parameters()
        if any(parameter is p for p in adapter.head.parameters())
    }
    mismatched = {entry[0] if isinstance(entry, tuple | list) else entry for entry in info["mismatched_keys"]}
    absent = set(info["missing_keys"]) | mismatched
    if new_head:
        absent -= head_names
    if absent:
        missing = sorted(absent)
        what = "head weights" if set(missing) <= head_names else "weights"
        got = f"no {what} {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        remedy = "Missing weights are never filled with random ones."
        raise ModelError(must_be(f"model '{adapter.name}'", f"a checkpoint with all its {what}", got, remedy))
