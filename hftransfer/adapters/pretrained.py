"""Models that transformers makes of a checkpoint's folder, in float32: faults are told in words, weights are whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict, cast

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.adapters.sizes import require_fitting_model
from hftransfer.base.errors import HftransferError, ModelError, first_line, must_be, some

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from hftransfer.adapters.sizes import ModelClass


class LoadingReport(TypedDict):
    """The part of transformers' loading report that is read: names of tensors, mismatched ones with both shapes."""

    missing_keys: set[str]
    unexpected_keys: set[str]
    mismatched_keys: set[str | tuple[str, tuple[int, ...], tuple[int, ...]]]


@contextmanager
def loading(where: str, allowed: str, family: str) -> Iterator[None]:
    """Raise what comes up while transformers loads a model of a family as an error of the model.

    Raises:
        ModelError: it is not `allowed`, or its weights are damaged.
    """
    import safetensors

    try:
        yield
    except safetensors.SafetensorError as error:
        got = f"weights that are truncated or damaged ({error})"
        raise ModelError(must_be(where, "a folder with complete weights", got)) from error
    except HftransferError:
        raise
    except Exception as error:  # whatever transformers comes upon in a configuration
        raise ModelError(must_be(where, allowed, f"{family} ({first_line(error)})")) from error


def config_of(checkpoint: Checkpoint) -> PreTrainedConfig:
    """Return a checkpoint's configuration."""
    import transformers

    config: PreTrainedConfig = transformers.AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    return config


def model_of(
    kind: ModelClass, checkpoint: Checkpoint, config: PreTrainedConfig, *, new_head: bool = False
) -> tuple[PreTrainedModel, LoadingReport]:
    """Return the model that a class of transformers makes of a checkpoint by this configuration, and what transformers
    says of missing and mismatched weights; those of a `new_head` may be of another shape.

    Raises:
        ModelError: the configuration is of a far larger model than the weights beside it.
    """
    import torch

    require_fitting_model(checkpoint.name, kind, config, checkpoint.shapes)
    model, report = kind.from_pretrained(
        str(checkpoint.folder),
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=new_head,
        output_loading_info=True,
    )
    return model, cast("LoadingReport", report)


def lacking(report: LoadingReport) -> set[str]:
    """Return the names of tensors that are missing, or of another shape: both are left as random."""
    mismatched = {entry[0] if isinstance(entry, tuple | list) else entry for entry in report["mismatched_keys"]}
    return set(report["missing_keys"]) | mismatched


def require_whole(where: str, absent: Collection[str], what: str = "weights") -> None:
    """Return if no weights are absent.

    Raises:
        ModelError: some are.
    """
    if absent:
        remedy = "Missing weights are never filled with random ones."
        got = f"no {what} {some(sorted(absent), 1)}"
        raise ModelError(must_be(where, f"a checkpoint with all its {what}", got, remedy))


def without_new_pooler(backbone: PreTrainedModel, report: LoadingReport) -> set[str]:
    """Return the names of a pooler's tensors that a checkpoint lacks; nothing reads such a pooler, and the backbone
    loses it."""
    unused = {name for name in report["missing_keys"] if name.startswith("pooler.")}
    if unused and getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    return unused


def name_classes(config: PreTrainedConfig, names: Sequence[str]) -> None:
    """Give a configuration the names of classes."""
    config.num_labels = len(names)  # some configurations keep a number of their own
    config.id2label = dict(enumerate(names))
    config.label2id = {label: index for index, label in enumerate(names)}
    if hasattr(config, "label_names"):  # timm's own list of names would win over id2label when loaded
        config.label_names = list(names)
