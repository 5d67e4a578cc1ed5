"""A trained model loaded back, whatever it is and wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint, sidecar
from hftransfer.adapters.families import PAIRED
from hftransfer.base.collection import as_usual
from hftransfer.predictors.predictor import Place, Predictor, find_place, load_predictor, with_module
from hftransfer.tasks.facts import is_of_dual

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn
    from transformers import BaseImageProcessor

    from hftransfer.predictors.dual import DualPredictor

Precisions = Literal["auto", "fp32", "bf16"]


def load(
    model: str | os.PathLike[str],
    *,
    precision: Precisions = "fp32",
    base: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    module: nn.Module | None = None,
    processor: Callable[[Image.Image], Tensor] | BaseImageProcessor | None = None,
    head: nn.Module | None = None,
) -> Predictor | DualPredictor:
    """Return the trained model of a run folder, of a model folder or of a Hub id, ready to predict: a `Predictor`, or
    of a dual encoder a `DualPredictor`, which is told the labels when it predicts.

    Full models, LoRA's matrices (on their base model), merged models, probes on pooled features or an open_clip tower;
    any native checkpoint of transformers with a head for a task of ours loads too. `revision` is a branch, tag or
    commit of a Hub id. Of LoRA, `base` names where the base model is, if it is not where it was in training.

    Of a network of torch that was given as an object its weights alone are saved: `module` is the network again, and
    `processor` what made its pixels. Of a head that was given as one `head` is the module again: its weights are put
    back.

    In fp32 its predictions are those of plain transformers; `auto` is faster where the hardware computes bf16, and
    probabilities then differ by some hundredths at most.

    Raises:
        ModelError: there is no whole model there; a missing head is never replaced by a random one.
    """
    place = replace(find_place(model, revision), head=head)
    if module is not None:
        place = with_module(place, module, processor)
    dual = _dual_at(place)
    found: Predictor | DualPredictor
    if dual is None or head is not None:
        found = load_predictor(place, precision, base)
    else:
        from hftransfer.predictors.dual import DualPredictor

        found = DualPredictor(dual, precision)
    as_usual()
    return found


def _dual_at(place: Place) -> Checkpoint | None:
    """Return the dual encoder that lies there without a head of ours, if there is one."""
    said = sidecar(place.folder)
    if (said and not is_of_dual(said)) or (place.folder / "adapter_config.json").is_file():
        return None
    checkpoint = place.checkpoint or find_checkpoint(str(place.folder))
    if checkpoint is None or not (said or checkpoint.family in PAIRED):
        return None
    has_head = any(one.endswith("ForImageClassification") for one in checkpoint.architectures)
    return None if has_head else checkpoint
