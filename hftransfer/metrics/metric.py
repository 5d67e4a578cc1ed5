"""What is known of a metric: its name, which way is better, and what it is of one example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Scores: TypeAlias = dict[str, Any]
"""Metrics by their names: a number in most cases, an interval of two, or a confusion matrix as lists of counts."""


@dataclass(frozen=True)
class Metric:
    """A metric that may choose the best epoch."""

    name: str
    higher_is_better: bool = True
    title: str = ""
    """Its name on pages, where that is another."""
    is_share: bool = False
    """Whether it is a share of examples that are right, each of which counts as 0 or 1."""
    is_bounded: bool = True
    """Whether it lies between 0 and 1, of each example too."""
    in_progress: bool = False
    """Whether it is shown after each epoch."""

    @property
    def words(self) -> str:
        """The name for people."""
        return self.title or self.name


def score_name(name: str, scores: Scores) -> str:
    """Return what people call a score; precision and recall of one of two classes say of which."""
    words = name.replace("_", " ")
    positive = scores.get("positive_class")
    return f"{words} of '{positive}'" if positive is not None and name in ("precision", "recall") else words
