"""Probabilities that mean what they say: a temperature, and sets of labels that hold the true one as often as asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LEAST_ROWS = 20
"""Rows from which on their log loss may choose a temperature."""
_FEWEST_ROWS, _FEW_ROWS = 8, 100
"""From so many rows on, and with fewer than so many, being right less often than sure may choose one."""
_UNLIKELY, _UNLIKELY_OF_FEW = 0.15, 0.3
"""Probability below which being right so seldom counts as no chance; with fewer than 20 rows the second."""
_FOLDS = 5
_SURE = 1.645
"""Standard errors that a gain has to be above zero: 95 %, one-sided."""
_MOST = np.log(100.0)
_STEPS = 200
"""So many steps of coverage are kept: half a percent each."""


def temperature_of(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return what logits (N, C) are divided by, so that the log loss of class ids (N,) is least (Guo et al., arXiv
    1706.04599), where a temperature of all but a fifth of them surely lowers the log loss of that fifth. (One wrong row
    can else make a good model unsure: measured where 99 % are right.)

    Else it is 1; but of a few rows that are right less often than they are sure, it is the one at which they are not.
    """
    if not np.isfinite(logits).all():
        return 1.0
    found = _surely_best(logits, labels) if len(labels) >= _LEAST_ROWS else 1.0
    return _consistent(logits, labels) if found == 1.0 and _FEWEST_ROWS <= len(labels) < _FEW_ROWS else found


def _surely_best(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature of the least log loss; 1 where it is not surely lower."""
    fold, plain = np.arange(len(labels)) % _FOLDS, log_losses(logits, labels)
    gains = np.empty(len(labels))
    for number in range(_FOLDS):
        own, rest = fold == number, fold != number
        gains[own] = plain[own] - log_losses(logits[own] / _best(logits[rest], labels[rest]), labels[own])
    best = _best(logits, labels)
    sure = gains.mean() > _SURE * gains.std() / np.sqrt(len(gains))
    return best if sure and log_loss(logits / best, labels) < plain.mean() else 1.0


def _consistent(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which the likeliest labels are as probable as they are often right (Clarté et al.,
    arXiv 2303.02644); 1 unless being right so seldom is unlikely for what is so sure.

    A network that saw a hundred examples many times is sure of all that it says, and the log loss of fifteen others
    hangs on one or two of them. How often they are right is known better.
    """
    from scipy.optimize import brentq
    from scipy.special import bdtr, softmax

    def sureness(power: float) -> float:
        return float(softmax(logits.astype(np.float64) * np.exp(-power), axis=1).max(axis=1).mean())

    count, right = len(labels), int((logits.argmax(axis=1) == labels).sum())
    unlikely = _UNLIKELY_OF_FEW if count < _LEAST_ROWS else _UNLIKELY
    if bdtr(right, count, min(sureness(0.0), 1.0)) >= unlikely:
        return 1.0
    wanted = (right + 0.5) / (count + 1)
    if sureness(_MOST) >= wanted:
        return float(np.exp(_MOST))
    return float(np.exp(brentq(lambda power: sureness(power) - wanted, 0.0, _MOST)))


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log loss in nats of logits (N, C) with class ids (N,)."""
    return float(log_losses(logits, labels).mean())


def log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the log loss in nats (N,) of each row of logits (N, C) with its class id (N,)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)  # (N, C)
    own = shifted[np.arange(len(labels)), labels]  # (N,)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - own)


def _best(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature of the least log loss; as few rows can't show that no label is ever wrong, of N one in
    N + 2 counts as another class (Platt, Probabilistic outputs for support vector machines, 1999, section 2.2)."""
    from scipy.optimize import minimize_scalar

    count, classes = logits.shape
    other = float(classes / max(1, classes - 1) / (count + 2))

    def loss(power: float) -> float:
        scaled = logits.astype(np.float64) * np.exp(-power)  # (N, C)
        # The mean is over all classes, of which the true one is a part: the share of others comes to 1 / (N + 2).
        return log_loss(scaled, labels) + other * float((scaled[np.arange(count), labels] - scaled.mean(axis=1)).mean())

    # The log loss is convex in one over the temperature, so that there is one valley.
    found = minimize_scalar(loss, bounds=(-_MOST, _MOST))
    return float(np.exp(found.x))


def conformity_of(own: np.ndarray, is_likeliest: np.ndarray) -> tuple[float, ...] | None:
    """Return, from the probabilities (N,) of the true labels of examples that were not learned from, and whether each
    was the likeliest label (N,), the least probability that a further label of a set needs, for coverages of 0, 0.005,
    … 1; None where there are too few.

    Split-conformal sets (Sadinle, Lei and Wasserman 2019, JASA 114) that always hold the likeliest label, as a set
    without any would say nothing: it conforms whatever its probability, like the sets of Romano et al. (arXiv
    2006.02544) that are never empty. Of n examples the ⌈(n + 1) · coverage⌉-th worst counts, and the true label of a
    new one is in its set at least that often; as often as the model is right, where that is more.
    """
    if len(own) < _LEAST_ROWS:
        return None
    falling = np.sort(np.where(is_likeliest, 1.0, own))[::-1]
    ranks = [int(np.ceil((len(own) + 1) * step / _STEPS - 1e-9)) for step in range(_STEPS + 1)]
    least = [1.0 if rank == 0 else float(falling[rank - 1]) if rank <= len(own) else 0.0 for rank in ranks]
    # A hair less: what is rounded must not leave out the very example that it comes from.
    return tuple(round(max(0.0, each - 1e-6), 7) for each in least)


def set_scores(probabilities: np.ndarray, labels: np.ndarray, conformity: Sequence[float]) -> dict[str, float]:
    """Return how many labels the sets for a coverage of 90 % have in the mean, and how often they hold the true one, of
    probabilities (N, C) and class ids (N,)."""
    inside = probabilities >= needed_for(conformity, 0.9)  # (N, C)
    rows = np.arange(len(labels))
    inside[rows, probabilities.argmax(axis=1)] = True
    return {"set_size_90": float(inside.sum(axis=1).mean()), "set_coverage_90": float(inside[rows, labels].mean())}


def needed_for(conformity: Sequence[float], coverage: float) -> float:
    """Return the least probability of a further label in sets that hold the true one as often as `coverage` says."""
    return conformity[min(_STEPS, int(np.ceil(coverage * _STEPS - 1e-9)))]
