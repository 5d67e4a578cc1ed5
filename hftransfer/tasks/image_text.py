"""Images and captions that find each other: two towers are brought into one space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from typing_extensions import override

from hftransfer.adapters.families import require_paired
from hftransfer.base.errors import must_be
from hftransfer.base.plain import changed
from hftransfer.base.progress import Progress
from hftransfer.data.pictures import CAPTIONED_IMAGES
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Splits
from hftransfer.data.targets import CAPTIONS
from hftransfer.metrics.metric import Metric
from hftransfer.metrics.retrieval import RETRIEVAL_METRICS
from hftransfer.tasks.contract import Task, Wishes, Words
from hftransfer.tasks.prompts import templates_of
from hftransfer.tasks.sense import faults_of

PROBE_OF_CAPTIONS: Mapping[str, object] = {"batch_size": 512, "epochs": 100, "patience": None}
"""The settings that the projections of two towers are trained with, where they aren't given."""
TOWERS_OF_CAPTIONS: Mapping[str, object] = {"batch_size": 64, "epochs": 10}
"""Those of whole towers."""
_IDLE = ("augment", "views", "mixup", "cutmix", "micro_batch_size", "label_smoothing", "packing")
_SHOWN = ("image_to_text_recall_at_10", "text_to_image_recall_at_10")


class ImageText(Task):
    """Images and captions that find each other."""

    name = "image-text"
    reader = CAPTIONED_IMAGES
    targets = CAPTIONS
    metrics = tuple(Metric(name, in_progress=name in _SHOWN) for name in RETRIEVAL_METRICS)
    learns = "towers"
    judges_labels = False
    drafted = 3
    keys = frozenset({"strategy", "prompts", "class_names", "zero_shot_data"}) | frozenset(
        {"model.image", "model.text", "model.width"}
    )
    losses = ("infonce", "sigmoid")
    words = Words(
        title="Image-Text Retrieval",
        unit="images with their captions",
        done="images and captions brought together",
        example='ht.zero_shot("path/to/this/folder", ["photo.jpg"], ["cat", "dog"])',
    )

    @property
    @override
    def tags(self) -> tuple[str, str]:
        return "zero-shot-image-classification", self.name

    @override
    def usual_train(self, strategy: str) -> Mapping[str, object]:
        """Return large batches and many passes: images with captions are learned from so."""
        return PROBE_OF_CAPTIONS if strategy == "linear-probe" else TOWERS_OF_CAPTIONS

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        faults, train, left_out = list[str](), wishes.train, f"left out for task {self.name}"
        if wishes.data.shots is not None:
            faults.append(must_be("data.shots", f"{left_out}, which has no classes", wishes.data.shots))
        if isinstance(getattr(wishes.strategy, "unfreeze", None), list):
            allowed = f"all or a number of stages of each tower for task {self.name}"
            faults.append(must_be("strategy.unfreeze", allowed, "names"))
        if wishes.strategy.contrasts:
            faults.append(must_be("strategy.objective", f"{left_out}, which has a loss of its own", "contrastive"))
        for name in ("interpolate", "merge"):
            if value := getattr(wishes.strategy, name, None):
                faults.append(must_be(f"strategy.{name}", left_out, value))
        if train.loss not in (None, *self.losses):
            faults.append(must_be("train.loss", f"{' or '.join(self.losses)} for task {self.name}", train.loss))
        if train.metric is not None and train.metric not in RETRIEVAL_METRICS:
            faults.append(must_be("train.metric", f"one of {', '.join(RETRIEVAL_METRICS)}", f"'{train.metric}'"))
        faults += [must_be(f"train.{name}", left_out, value) for name, value in changed(train, _IDLE).items()]
        if wishes.prompts is not None:
            faults += faults_of(lambda: templates_of(wishes.prompts or ""))
        if wishes.compare_prompts:
            faults.append(must_be("compare_prompts", left_out, "true"))
        return faults

    @override
    def require_model(self, name: str, family: str) -> None:
        require_paired(name, family)

    @override
    def split(
        self, found: Found, settings: DataSettings, seed: int, progress: Progress, *, decode: bool = False
    ) -> Splits:
        from hftransfer.data.captions import build_captioned

        return build_captioned(found, settings, seed, progress, decode=decode)

    @override
    def sizes(self, found: Found, settings: DataSettings, progress: Progress) -> tuple[dict[str, int], Sequence[str]]:
        """Return sizes in images, each of which may have several rows."""
        splits = self.split(found, settings, 0, progress)
        return splits.sizes(), splits.notes

    @override
    def drafted_model(self, *, is_installed: Callable[[str], bool]) -> str:
        del is_installed
        return "{image: bundled/efficientnet-lite0, text: bundled/minilm-l6}"

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        del examples
        return ["strategy:", "  kind: linear-probe          # the projections alone; or fine-tune, lora"]
