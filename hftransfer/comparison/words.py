"""What a comparison comes to, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hftransfer.comparison.statistics import Difference

if TYPE_CHECKING:
    from hftransfer.comparison.study import Arm


def strategy_in_words(short: str) -> str:
    """`fine-tune:2` as a person would say it."""
    kind, _, number = short.partition(":")
    if kind == "linear-probe":
        return "the linear probe"
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
    low, high = difference.interval
    real = "real" if difference.is_real else "may be chance"
    points = f"{100 * difference.mean:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    return f"{points}: {real}, p = {difference.holm_p:.2g}"


def advice_on(arms: Sequence[Arm], differences: Sequence[Difference]) -> str:
    """Which arm to take: the cheapest of those that are not surely worse than the best, and what the others would
    bring. `arms` are in order, the best first."""
    best = arms[0]
    if len(arms) == 1:
        return f"{_capital(arm_in_words(best))}: {best.score:.4f}. There was nothing to compare it with."
    beaten = {arm.name for arm in arms[1:] if (d := between(differences, best.name, arm.name)) and d.is_real}
    rivals = [arm for arm in arms if arm.name not in beaten]
    taken = min(rivals, key=lambda arm: arm.seconds)
    said = [f"Take {arm_in_words(taken)}: {taken.score:.4f} in {_seconds(taken.seconds)}."]
    if taken is not best and (d := between(differences, taken.name, best.name)):
        said.append(
            f"{_capital(arm_in_words(best))} had the best mean, {100 * d.mean:+.1f} points for "
            f"{_times(best, taken)} the time, but that may be chance."
        )
    for arm in rivals:
        if arm not in (taken, best) and (d := between(differences, taken.name, arm.name)):
            said.append(f"{_capital(arm_in_words(arm))}: {100 * d.mean:+.1f} points, which may be chance.")
    for other in (arm for arm in arms if arm.name in beaten):
        if (d := between(differences, other.name, taken.name)) is None:
            continue
        cost = f"for {_times(taken, other)} the time"
        real = "" if d.is_real else ", which may be chance"
        said.append(f"That is {100 * d.mean:+.1f} points over {arm_in_words(other)}, {cost}{real}.")
    if not beaten and len(rivals) > 1:
        said.append("No difference is sure; more test examples or seeds would tell.")
    return " ".join(said)


def _times(one: Arm, other: Arm) -> str:
    ratio = one.seconds / max(other.seconds, 1e-9)
    return f"{ratio:.0f}x" if ratio >= 9.5 else f"{ratio:.1f}x"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
