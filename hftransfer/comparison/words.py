"""What a comparison comes to, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hftransfer.comparison.statistics import Difference

if TYPE_CHECKING:
    from hftransfer.comparison.study import Arm


_ALIKE = 1.25
"""Costs that differ by less are alike."""


def strategy_in_words(short: str) -> str:
    """`fine-tune:2` as a person would say it."""
    kind, _, number = short.partition(":")
    if kind == "linear-probe":
        return "the linear probe"
    if kind == "contrastive":
        return "contrastive fine-tuning"
    if kind == "lora":
        return f"LoRA of rank {number}" if number else "LoRA"
    if number in ("", "all"):
        return "fine-tuning the whole network"
    return "fine-tuning the last stage" if number == "1" else f"fine-tuning the last {number} stages"


def arm_in_words(arm: Arm) -> str:
    """An arm as a person would say it; with its model where there are several."""
    said = strategy_in_words(arm.strategy)
    return said if arm.name == arm.strategy else f"{said} of {arm.model.rsplit('/', 1)[-1]}"


def between(differences: Sequence[Difference], first: str, second: str) -> Difference | None:
    """The difference of two arms, whichever way round; `mean` is that of the second over the first."""
    for one in differences:
        if (one.first, one.second) == (first, second):
            return one
        if (one.first, one.second) == (second, first):
            low, high = one.interval
            return Difference(first, second, -one.mean, (-high, -low), one.p, one.holm_p, one.mcnemar)
    return None


def difference_in_words(difference: Difference) -> str:
    """A difference in points, with its interval, and whether it is more than chance."""
    real = "real" if difference.is_real else "may be chance"
    said = f"{_points(difference)}: {real}, p = {difference.holm_p:.2g}"
    if not difference.mcnemar:
        return said
    return f"{said} (McNemar, seed by seed: {', '.join(f'{p:.2g}' for p in difference.mcnemar)})"


def advice_on(arms: Sequence[Arm], differences: Sequence[Difference]) -> str:
    """Which arm to take: the cheapest of those that are not surely worse than the best (of those that cost nearly as
    little, the one with the best mean), and what the others would bring. `arms` are in order, the best first; what
    could not be paired with the best is not advised."""
    if not arms:
        return "No run finished."
    best = arms[0]
    if len(arms) == 1:
        return f"{_capital(arm_in_words(best))}: {best.score:.4f}. There was nothing to compare it with."
    to_best = {arm.name: between(differences, best.name, arm.name) for arm in arms[1:]}
    rivals = [best, *(arm for arm in arms[1:] if (d := to_best[arm.name]) and not d.is_real)]
    least = min(arm.seconds for arm in rivals)
    taken = next(arm for arm in rivals if arm.seconds <= _ALIKE * least)
    said = [f"Take {arm_in_words(taken)}: {taken.score:.4f} in {_seconds(taken.seconds)}."]
    for arm in (arm for arm in rivals if arm is not taken):
        if d := between(differences, taken.name, arm.name):
            mean = " had the best mean" if arm is best else ""
            gain = f"{_points(d)} for {_cost(arm, taken)}{'' if d.is_real else ', which may be chance'}"
            said.append(f"{_capital(arm_in_words(arm))}{mean + ',' if mean else ':'} {gain}.")
    for arm in (arm for arm in arms if arm not in rivals):
        if d := between(differences, arm.name, taken.name):
            chance = "" if d.is_real else ", which may be chance"
            said.append(f"That is {_points(d)} over {arm_in_words(arm)} for {_cost(taken, arm)}{chance}.")
        else:
            said.append(f"{_capital(arm_in_words(arm))} could not be paired with it.")
    if differences and not any(d.is_real for d in differences):
        said.append("No difference is sure; more test examples or seeds would tell.")
    return " ".join(said)


def _points(difference: Difference) -> str:
    mean, low, high = (round(100 * each, 1) + 0.0 for each in (difference.mean, *difference.interval))  # no -0.0
    return f"{mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


def _cost(one: Arm, other: Arm) -> str:
    """What one arm costs beside another, in time and in parameters that learn."""
    parameters = _ratio(one.trainable, other.trainable)
    return f"{_ratio(one.seconds, other.seconds)} the time and {parameters} the parameters that learn"


def _ratio(one: float, other: float) -> str:
    ratio = one / max(other, 1e-9)
    return f"{ratio:,.0f}x" if ratio >= 9.5 else f"{ratio:.2g}x"


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
