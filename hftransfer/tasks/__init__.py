"""What can be learned: a task is one module, and its name stands in `TASKS`."""

from __future__ import annotations

from typing import Any

from hftransfer.data.targets import TargetKind
from hftransfer.tasks.contract import Task
from hftransfer.tasks.head_task import HeadTask
from hftransfer.tasks.image_classification import ImageClassification, ImageRegression
from hftransfer.tasks.image_segmentation import ImageSegmentation
from hftransfer.tasks.image_text import ImageText
from hftransfer.tasks.question_answering import QuestionAnswering
from hftransfer.tasks.text_classification import TextClassification, TextRegression
from hftransfer.tasks.text_generation import TextGeneration
from hftransfer.tasks.token_classification import TokenClassification
from hftransfer.tasks.zero_shot import ZeroShot

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *(ImageClassification(), TextClassification(), TokenClassification(), QuestionAnswering()),
        *(ImageSegmentation(), TextGeneration()),
        *(ZeroShot(), ImageText(), TextRegression(), ImageRegression()),
    )
}
"""All tasks by the name that a recipe gives; other packages may add theirs."""


def head_task(name: str) -> HeadTask[Any]:
    """Return a task whose runs train a head on one network.

    Raises:
        KeyError: there is none of this name.
    """
    task = TASKS[name]
    if not isinstance(task, HeadTask):
        raise KeyError(name)
    return task


def for_targets(task: Task, kind: TargetKind) -> HeadTask[Any]:
    """Return a task whose runs train a head, as it is for rows with such targets."""
    own = task.for_targets(kind)
    assert isinstance(own, HeadTask)
    return own


def head_tasks() -> list[HeadTask[Any]]:
    """Return the tasks whose runs train a head."""
    return [task for task in TASKS.values() if isinstance(task, HeadTask) and task.learns == "head"]
