"""One label per image."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np


class ImageClassification:
    """Scores class probabilities against labels."""

    name: ClassVar[str] = "image-classification"
    needs: ClassVar[str] = "pooled"

    @staticmethod
    def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """The metrics of probabilities (N, C) for labels (N,): fractions in [0, 1], and the confusion matrix
        (rows true, columns predicted, counts)."""
        from hftransfer.metrics.classification import score_probabilities

        return score_probabilities(probabilities, labels)


TASKS = {ImageClassification.name: ImageClassification}
