"""Which settings of a recipe go together, where one network learns under a head."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hftransfer.base.errors import HftransferError, must_be, nearest
from hftransfer.base.plain import changed
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.tasks.contract import Task, Wishes


def faults_of(look: Callable[[], object]) -> list[str]:
    """Return what is told when something is looked at."""
    try:
        look()
    except HftransferError as error:
        return list(error.faults)
    return []


def faults_of_head(task: Task, wishes: Wishes) -> list[str]:
    """Return which settings do not go together, as far as that can be told without the model."""
    strategy, train, faults = wishes.strategy, wishes.train, list[str]()
    changes_images = task.reader.modality == "image"
    by_names = ("prompts", "class_names") if strategy.from_zero_shot else ()
    for name in ("prompts", "class_names", "compare_prompts", "zero_shot_data"):
        if (value := getattr(wishes, name)) and name not in by_names:
            remedy = "It goes with strategy.head_init: zero-shot." if name in ("prompts", "class_names") else ""
            faults.append(must_be(name, f"left out for task {task.name}", value, remedy))
    if strategy.from_zero_shot and wishes.prompts is not None:
        faults += faults_of(lambda: templates_of(wishes.prompts or ""))
    if strategy.interpolate is not None and not strategy.from_zero_shot:
        remedy = "It mixes what was learned with what the names of the classes say. Leave it out."
        faults.append(must_be("strategy.interpolate", "given with strategy.head_init: zero-shot", "none", remedy))
    if getattr(strategy, "dora", False) and strategy.interpolate is not None:
        faults.append(must_be("strategy.interpolate", "left out with strategy.dora", strategy.interpolate))
    if wishes.data.streaming and task.reader.decodes and (again := _read_again(wishes)):
        faults.append(must_be("data.streaming", f"left out with {again}", "true", FETCHED_ONCE))
    if wishes.data.shots is not None and not task.has_classes:
        why = "takes several labels a row" if task.has_labels else "has no classes"
        allowed = f"left out for task {task.name}, which {why}"
        faults.append(must_be("data.shots", allowed, wishes.data.shots))
    names = [metric.name for metric in task.metrics]
    if train.metric is not None and train.metric not in names:
        allowed = f"a metric of task {task.name} ({', '.join(names)})"
        faults.append(must_be("train.metric", allowed, f"'{train.metric}'", nearest(train.metric, names)))
    if train.loss is not None and train.loss not in task.losses:
        allowed = " or ".join(task.losses) or "left out"
        faults.append(must_be("train.loss", f"{allowed} for task {task.name}", train.loss))
    if train.augment != "none" and not changes_images:
        faults.append(must_be("train.augment", f"none for task {task.name}", train.augment))
    for tracker in train.trackers:
        if find_spec(tracker) is None:
            remedy = f"Install it: pip install {tracker.replace('_', '-')}."
            faults.append(must_be("train.trackers", "packages that are installed", f"'{tracker}'", remedy))
    for name, value in (("mixup", train.mixup), ("cutmix", train.cutmix)):
        if value is not None and not changes_images:
            faults.append(must_be(f"train.{name}", f"left out for task {task.name}", value))
    for name in ("tokens_per_batch", "micro_tokens"):
        if (value := getattr(train, name)) is not None and task.reader.modality != "text":
            faults.append(must_be(f"train.{name}", f"left out for task {task.name}, which reads no texts", value))
    if train.packing and not task.packs:
        faults.append(must_be("train.packing", f"left out for task {task.name}", "true"))
    if strategy.contrasts:
        faults += _faults_of_contrast(task, wishes)
    if train.views and train.augment == "none":
        faults.append(must_be("train.views", "left out when train.augment is none", train.views))
    if train.cache == "on" and train.augment != "none" and not train.views and not strategy.head_alone:
        remedy = "New views in every epoch can't be cached; train.views: 4 caches four."
        faults.append(must_be("train.cache", "auto or off with train.augment and no train.views", "on", remedy))
    if train.class_weights != "none" and not task.weighs_classes:
        faults.append(must_be("train.class_weights", f"none for task {task.name}", train.class_weights))
    elif isinstance(train.class_weights, dict) and not task.weighs_by_name:
        faults.append(must_be("train.class_weights", f"none or auto for task {task.name}", train.class_weights))
    return faults


FETCHED_ONCE = (
    "Every epoch would fetch all images again. A linear probe reads them once; so do a few last stages "
    "(strategy.unfreeze, or last of LoRA), whose input is kept."
)
"""Why images that stay on the Hub can't be read in each epoch."""


def _read_again(wishes: Wishes) -> str:
    """Return the setting by which each epoch reads the images again; empty where none does."""
    strategy, train = wishes.strategy, wishes.train
    if not strategy.freezes_some:
        return f"strategy.kind: {strategy.kind} of the whole network"
    if train.augment != "none" and not train.views and not strategy.head_alone:
        return f"train.augment: {train.augment} and no train.views"
    changing = [name for name in ("mixup", "cutmix") if getattr(train, name) is not None]
    if changing:
        return f"train.{changing[0]}"
    return "train.cache: off" if train.cache == "off" and not strategy.head_alone else ""


def _faults_of_contrast(task: Task, wishes: Wishes) -> list[str]:
    """Return what does not go with features that learn by pairs of examples."""
    faults, beside, train = list[str](), "left out with strategy.objective: contrastive", wishes.train
    if not task.has_classes:
        faults.append(must_be("strategy.objective", f"cross-entropy for task {task.name}", "contrastive"))
    if (init := wishes.strategy.head_init) in ("zero-shot", "solved"):
        remedy = "The head is solved at the end." if init == "solved" else ""
        faults.append(must_be("strategy.head_init", beside, init, remedy))
    if getattr(wishes.strategy, "gradual", False):
        faults.append(must_be("strategy.gradual", beside, "true", "The head is the last to learn there."))
    if train.batch_size < 2:
        allowed = "2 or more with strategy.objective: contrastive"
        faults.append(must_be("train.batch_size", allowed, 1, "A single example has no pair."))
    if 1 in wishes.data.numbers_of_shots:
        remedy = "Two examples of a class make a pair."
        faults.append(must_be("data.shots", "2 or more with strategy.objective: contrastive", 1, remedy))
    names = ("micro_batch_size", "tokens_per_batch", "micro_tokens")
    idle = changed(train, (*names, "metric", "label_smoothing", "class_weights", "mixup", "cutmix"))
    return faults + [must_be(f"train.{name}", beside, value) for name, value in idle.items()]
