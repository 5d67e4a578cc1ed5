"""Images told apart by the names of classes alone: nothing is trained."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from hftransfer.adapters.families import require_paired
from hftransfer.base.errors import must_be
from hftransfer.base.plain import changed
from hftransfer.base.progress import Progress
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Splits, build_test_only
from hftransfer.strategies import LinearProbe
from hftransfer.tasks.contract import Wishes, Words
from hftransfer.tasks.head_task import HeadTask
from hftransfer.tasks.image_classification import ImageClassification
from hftransfer.tasks.prompts import templates_of
from hftransfer.tasks.sense import faults_of

_OF_LEARNING = ("class_weights", "augment", "views", "mixup", "cutmix", "packing")


class ZeroShot(ImageClassification):
    """Images told apart by class names alone; nothing is trained."""

    name = "zero-shot-image-classification"
    learns = "nothing"
    cross_validates = False
    keys = frozenset({"prompts", "class_names", "compare_prompts"})
    drafted = None
    starter = None
    judges_labels = False
    words = Words(
        title="Zero-Shot Image Classification",
        unit="images",
        done="images told apart by class names",
        example='ht.zero_shot("MODEL", ["photo.jpg"], ["cat", "dog"])',
    )

    @property
    @override
    def several(self) -> HeadTask[Any]:
        return self  # one of the names is chosen

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        trains_nothing = f"left out for task {self.name}, which trains nothing"
        faults = []
        if wishes.data.shots is not None:
            faults.append(must_be("data.shots", trains_nothing, wishes.data.shots))
        if wishes.data.labels == "multi" or wishes.data.label_columns:
            faults.append(must_be("data.labels", f"auto or one for task {self.name}", "several labels"))
        given = wishes.train.of_steps | changed(wishes.train, _OF_LEARNING)
        faults += [must_be(f"train.{name}", trains_nothing, value) for name, value in given.items()]
        if wishes.strategy != LinearProbe():
            faults.append(must_be("strategy", trains_nothing, wishes.strategy.kind))
        if wishes.prompts is not None:
            faults += faults_of(lambda: templates_of(wishes.prompts or ""))
        if wishes.compare_prompts and not faults and len(templates_of(wishes.prompts or "simple")) < 2:
            faults.append(
                must_be("compare_prompts", "left out when there is only one template", "true", "Try openai-7.")
            )
        return faults

    @override
    def require_model(self, name: str, family: str) -> None:
        require_paired(name, family)

    @override
    def split(
        self, found: Found, settings: DataSettings, seed: int, progress: Progress, *, decode: bool = False
    ) -> Splits:
        """Return the test split alone: all rows, where there is none."""
        del seed
        return build_test_only(found, settings, progress, self.reader, decode=decode)
