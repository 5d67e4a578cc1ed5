"""Which model of a training is kept: the best epoch's, or the mean of all epochs' weights.

Validation splits of small data have a few dozen rows: the epoch that is best on them is often not the best. The mean of
the weights of all epochs and of the solved start (weight averaging: Izmailov et al., arXiv 1803.05407; with the start:
Wortsman et al., arXiv 2109.01903) needs no choice. Epoch e counts e + 1 times: a long training is far
from its start. docs/strategies.md has what it was worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hftransfer.tasks.contract import Judged
    from hftransfer.tasks.head_task import HeadTask


def mean_serves(task: HeadTask[Any], labels: np.ndarray | None, best: Judged, mean: Judged) -> bool:
    """Return whether validation can't tell surely that the best epoch's model is better than that of the mean.

    Better by more than a standard error of the difference over the rows is sure. Of classes, whose `labels` are given,
    the mean's log loss must not be higher by more than two either.
    """
    sign = 1 if task.compared.higher_is_better else -1
    gains = sign * (np.array(task.of_each(best.columns)) - np.array(task.of_each(mean.columns)))  # (N,)
    if not _within(gains, 1):
        return False
    if labels is None or best.probabilities is None or mean.probabilities is None:
        return True
    # Two: a mean is less sure of what it says than late epochs are, and that alone is no fault.
    return _within(gains, 1) and _within(
        _log_losses(mean.probabilities, labels) - _log_losses(best.probabilities, labels), 2
    )


def _log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the log loss (N,) of each row, from probabilities (N, C) and class ids (N,)."""
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(own, np.finfo(np.float64).tiny)))


def _within(differences: np.ndarray, errors: float) -> bool:
    """Return whether the mean of differences (N,) is at most so many of its standard errors above 0."""
    if len(differences) < 2:
        return bool(differences.sum() <= 0)
    # Differences that are all equal have no error: rounding must not decide.
    return bool(differences.mean() <= errors * differences.std(ddof=1) / np.sqrt(len(differences)) + 1e-12)
