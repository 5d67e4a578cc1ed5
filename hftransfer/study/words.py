"""What a comparison comes to, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hftransfer.study.statistics import Difference, examples_needed

if TYPE_CHECKING:
    from hftransfer.study.results import Arm


# Costs that differ by less are alike.
_ALIKE = 1.25


def strategy_in_words(short: str) -> str:
    """Return `fine-tune:2` as a person would say it."""
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
    """Return an arm as a person would say it; with its model where there are several."""
    said = strategy_in_words(arm.strategy)
    return said if arm.name == arm.strategy else f"{said} of {arm.model.rsplit('/', 1)[-1]}"


def between(differences: Sequence[Difference], first: str, second: str) -> Difference | None:
    """Return the difference of two arms, whichever way round; `mean` is that of the second over the first."""
    for one in differences:
        if (one.first, one.second) == (first, second):
            return one
        if (one.first, one.second) == (second, first):
            low, high = one.interval
            return Difference(first, second, -one.mean, (-high, -low), one.p, one.holm_p, one.mcnemar, one.examples)
    return None


def difference_in_words(difference: Difference) -> str:
    """Return a difference in points, with its interval, and whether it is more than chance."""
    real = "real" if difference.is_real else "may be chance"
    said = f"{_points(difference)}: {real}, p = {difference.holm_p:.2g}"
    if not difference.mcnemar:
        return said
    return f"{said} (McNemar, seed by seed: {', '.join(f'{p:.2g}' for p in difference.mcnemar)})"


def advice_on(arms: Sequence[Arm], differences: Sequence[Difference], margin: float = 0.01) -> str:
    """Return which arm to take, and what the others would bring. `arms` are in order, the best mean first.

    Taken is the best; or one that costs clearly less, where it is shown to be worse by less than `margin` (0.01 is a
    point), if at all; of those that cost nearly as little the best mean. Where the best is not surely better than all
    others, and the test examples are so few that they can show neither, none is advised. What could not be paired with
    the best is not advised.
    """
    if not arms:
        return "No run finished."
    best = arms[0]
    if len(arms) == 1:
        return f"{_capital(arm_in_words(best))}: {best.score:.4f}. There was nothing to compare it with."
    to_best = {arm.name: d for arm in arms[1:] if (d := between(differences, best.name, arm.name))}
    open_to = [arm for arm in arms[1:] if arm.name in to_best and not to_best[arm.name].is_real]
    as_good = [best, *(arm for arm in arms[1:] if arm.name in to_best and to_best[arm.name].is_no_loss(margin))]
    least = min(arm.seconds for arm in as_good)
    # `as_good` is in the order of the means: of those that cost little, the first is best.
    taken = next(arm for arm in as_good if arm.seconds <= _ALIKE * least)
    fewest = min((d.examples for d in to_best.values() if d.examples is not None), default=None)
    too_few = fewest is not None and fewest < examples_needed(margin) and bool(open_to)
    if too_few:
        said = [
            f"{fewest} test examples are too few to advise; the best so far is {arm_in_words(best)}: {_came_to(best)}."
        ]
    else:
        said = [f"Take {arm_in_words(taken)}: {_came_to(taken)}."]
        if taken is not best:
            said.append(f"It is worse than the best mean by less than {_margin(margin)}, if at all.")
        said += [
            f"{_capital(arm_in_words(arm))} costs less, but was not shown to be worse by less than {_margin(margin)}."
            for arm in open_to
            if arm not in as_good and _ALIKE * arm.seconds < taken.seconds
        ]
    said += _beside(arms, differences, taken, open_to)
    if differences and not any(d.is_real for d in differences):
        said.append("No difference is sure; more test examples or seeds would tell.")
    return " ".join(said)


def _beside(
    arms: Sequence[Arm], differences: Sequence[Difference], taken: Arm, open_to: Sequence[Arm]
) -> Iterator[str]:
    """Yield what the other arms would bring, or cost, beside the one that is taken."""
    best = arms[0]
    for arm in (arm for arm in (best, *open_to) if arm is not taken):
        if d := between(differences, taken.name, arm.name):
            mean = " had the best mean" if arm is best else ""
            gain = f"{_points(d)} for {_cost(arm, taken)}{'' if d.is_real else ', which may be chance'}"
            yield f"{_capital(arm_in_words(arm))}{mean + ',' if mean else ':'} {gain}."
    for arm in (arm for arm in arms[1:] if arm not in open_to and arm is not taken):
        if d := between(differences, arm.name, taken.name):
            chance = "" if d.is_real else ", which may be chance"
            yield f"That is {_points(d)} over {arm_in_words(arm)} for {_cost(taken, arm)}{chance}."
        else:
            yield f"{_capital(arm_in_words(arm))} could not be compared with it on the same examples."


def _came_to(arm: Arm) -> str:
    return f"{arm.score:.4f} in {_seconds(arm.seconds)}"


def _margin(margin: float) -> str:
    points = f"{100 * margin:g}"
    return f"{points} {'point' if points == '1' else 'points'}"


def _points(difference: Difference) -> str:
    mean, low, high = (round(100 * each, 1) + 0.0 for each in (difference.mean, *difference.interval))  # no -0.0
    return f"{mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


def _cost(one: Arm, other: Arm) -> str:
    """Return what one arm costs beside another, in training time and trained parameters."""
    parameters = _ratio(one.trainable, other.trainable)
    return f"{_ratio(one.seconds, other.seconds)} the training time and {parameters} the trained parameters"


def _ratio(one: float, other: float) -> str:
    ratio = one / max(other, 1e-9)
    if ratio >= 0.95:
        return f"{ratio:,.0f} times" if ratio >= 9.5 else f"{ratio:.2g} times"
    return f"{ratio:.0%} of" if ratio > 0.1 else f"1/{1 / max(ratio, 1e-9):,.0f} of"


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
