"""All tasks by name."""

from __future__ import annotations

from hftransfer.tasks.base import Task
from hftransfer.tasks.classification import ImageClassification, TextClassification
from hftransfer.tasks.question_answering import QuestionAnswering

TASKS: dict[str, Task] = {
    task.name: task for task in (ImageClassification(), TextClassification(), QuestionAnswering())
}
