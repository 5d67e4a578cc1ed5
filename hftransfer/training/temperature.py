"""The temperature of a finished model, a part of its head: the native model is calibrated by itself."""

from __future__ import annotations

import numpy as np
import torch

from hftransfer.metrics.calibration import log_loss, temperature_of
from hftransfer.tasks.contract import Examples
from hftransfer.training.held_out import HeldOut, out_of_fold
from hftransfer.training.job import Job
from hftransfer.training.likeness import spread_places
from hftransfer.training.loop import predict
from hftransfer.training.sources import Sources

_MOST_LOGITS = 1 << 23
"""Numbers that lie in memory at once."""


def fold_temperature(job: Job, sources: Sources, examples: dict[str, Examples], *, stepped: bool) -> float:
    """Divide the weights and bias of the last layer by the temperature that examples choose which the head did not
    learn from, and return it; 1 where nothing changes: no label, and so no accuracy, ever does. One that was `stepped`
    is sure of what it saw many times; a solved head, and a start that is kept, are not.

    Where the head is solved again in no time these are all of training and validation, each out of its fold: a small
    validation split alone tells little. Else they are those of validation.
    """
    if not may_calibrate(job):
        return 1.0
    if job.taken is not None:
        return _divided(job, job.taken.temperature)
    known = job.compute.processes.first(lambda: out_of_fold(job, sources, examples))
    validation = _of_validation(job, sources, examples)
    held_out = known or validation
    # Of several processes each has the same logits but for rounding: one decides for all.
    temperature = job.compute.processes.first(lambda: _chosen(held_out, validation, stepped=stepped))
    job.made.temperature = _divided(job, temperature)
    if temperature == 1.0:
        return 1.0
    before, after = (log_loss(held_out.logits / each, held_out.labels) for each in (1.0, temperature))
    told = f"log loss of {held_out.words} {before:.4f} to {after:.4f}"
    job.progress.line(f"calibrated: temperature {temperature:.3g}, {told}")
    return temperature


def may_calibrate(job: Job) -> bool:
    """Return whether a temperature may be folded into the head."""
    return job.train.calibrate and job.task.calibrates and job.adapter.last_layer_is_solvable


def _chosen(held_out: HeldOut, validation: HeldOut, *, stepped: bool) -> float:
    """Return the temperature, 1 where it raises the log loss of validation: the heads of the folds are others than the
    model's own, and may have other biases. It may raise that of a few rows where a network learned in steps."""
    found = temperature_of(held_out.logits, held_out.labels)
    plain, scaled = (log_loss(validation.logits / each, validation.labels) for each in (1.0, found))
    return found if scaled < plain or (held_out is validation and stepped) else 1.0


def _of_validation(job: Job, sources: Sources, examples: dict[str, Examples]) -> HeldOut:
    source, classes = sources.others["validation"], max(1, len(job.splits.class_names))
    places = spread_places(len(source), max(1, _MOST_LOGITS // classes))
    logits = np.stack(predict(job.adapter, source, job.compute, places.tolist()))  # (N, C)
    return HeldOut(logits, examples["validation"].split.class_ids[places], "validation")


def _divided(job: Job, temperature: float) -> float:
    """Return the temperature; the last layer's weights and bias are divided by it."""
    head = job.adapter.head
    if temperature != 1.0:
        with torch.no_grad():
            assert head.bias is not None
            weight, bias = head.weight.flatten(1) / temperature, head.bias / temperature  # (C, D), (C,)
            job.adapter.set_head(weight, bias)
    return temperature
