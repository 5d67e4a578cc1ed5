"""What a comparison leaves: tables, pictures, and one page that needs nothing beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from hftransfer.base.errors import WriteError, counted, must_be, some
from hftransfer.base.html import jpeg_uri, render_page
from hftransfer.base.plain import JsonObject
from hftransfer.base.tabular import csv_text
from hftransfer.metrics.metric import metric_words
from hftransfer.report.headline import first_told
from hftransfer.report.rendering import plain_text, sentence
from hftransfer.study.charts import study_charts
from hftransfer.study.figures import draw_study
from hftransfer.study.words import difference_in_words
from hftransfer.tasks.shown import Chance

if TYPE_CHECKING:
    from hftransfer.study.disagreements import Disagreement
    from hftransfer.study.results import Arm, CellResult, Study

_COLUMNS = ("model", "strategy", "shots", "seed", "score", "low", "high", "seconds",
            "activations_seconds", "trainable", "folder", "error")  # fmt: skip
SECONDS_IN_WORDS = (
    "Seconds are those of learning, the median over seeds: the pass through the frozen layers, as if nothing were "
    "cached, and training. Reading data, loading the model, scores and pages take equally long for all."
)
_MOST_KEYS = 60
_PAIR_COLUMNS = ("first", "second", "difference", "low", "high", "p", "holm_p", "mcnemar_p_by_seed", "test_examples")


def write_study(study: Study, differing: Sequence[Disagreement] = (), first: Disagreement | None = None) -> None:
    """Write `comparison.csv`, `pairs.csv`, `comparison.md`, `comparison.html` with examples that arms do not agree on
    and one for its `first` screen, and `figures/`.

    Raises:
        WriteError: they can't be written.
    """
    try:
        if study.arms:
            draw_study(study, study.folder / "figures")
        (study.folder / "comparison.csv").write_text(csv_text(_COLUMNS, _cells(study)), encoding="utf-8")
        (study.folder / "pairs.csv").write_text(csv_text(_PAIR_COLUMNS, _pairs(study)), encoding="utf-8")
        (study.folder / "comparison.md").write_text(markdown_of(study), encoding="utf-8")
        study.report.write_text(html_of(study, differing, first), encoding="utf-8")
    except OSError as error:
        raise WriteError(must_be(f"the folder {study.folder}", "writable", str(error))) from error


def markdown_of(study: Study) -> str:
    """Return the comparison as Markdown: advice, arms, pairs, numbers of shots, and what failed."""
    lines = [f"# Strategies compared: {plain_text(study.title)}", "", plain_text(study.advice), ""]
    lines += [part for note in notes_of(study) for part in (plain_text(note), "")]
    lines += _table(study, study.arms)
    lines += ["", f"{chance_in_words(study)} {SECONDS_IN_WORDS}", ""]
    if study.curve:
        lines += ["## By training examples of each class", "", *_table(study, study.curve), ""]
    if study.differences:
        lines += [plain_text(f"- {d.second} over {d.first}: {difference_in_words(d)}") for d in study.differences]
        lines += ["", test_in_words(study), ""]
    lines += [plain_text(f"- failed: {one.cell.name}: {one.error.splitlines()[0]}") for one in study.failed]
    return "\n".join(lines).rstrip() + "\n"


def html_of(study: Study, differing: Sequence[Disagreement] = (), first: Disagreement | None = None) -> str:
    """Return the comparison as one page: no file beside it, no request, readable on a phone, light and dark."""
    return render_page(
        "hftransfer.study",
        "page.html.jinja",
        study=study,
        metric=sentence(metric_words(study.metric)),
        told=_runs_in_words(study),
        first=_shown(first) if first is not None else None,
        headline=_headline(study),
        advice=two_sentences(study.advice),
        rows=[arm.row() for arm in study.arms],
        curve=[arm.row() for arm in study.curve],
        notes=[sentence(note) for note in notes_of(study)],
        chance=chance_in_words(study),
        seconds=SECONDS_IN_WORDS,
        tested=test_in_words(study),
        pairs=[(d, difference_in_words(d)) for d in study.differences],
        charts=study_charts(study),
        differing=[_shown(one) for one in differing],
        has_maps=any(verdict.map is not None for one in differing for verdict in one.verdicts),
        masked=any(one.mask is not None for one in differing),
        key=_key_of(next((one.classes for one in differing if one.classes), ())),
        runs=[(one, _page_of(study, one)) for one in study.results],
    )


def _runs_in_words(study: Study) -> str:
    strategies, models = len({arm.strategy for arm in study.arms}), len({arm.model for arm in study.arms})
    compared = counted(strategies, "strategy").replace("strategys", "strategies")
    return f"{counted(len(study.results), 'run')}: {compared}{f' of {models} models' if models > 1 else ''}"


def _headline(study: Study) -> JsonObject | None:
    """Return the score of the best arm as the first screen has it; None where no run finished."""
    best = next(iter(study.arms), None)
    metric = next((result.metric for result in study.results if result.metric is not None), None)
    if best is None or metric is None:
        return None
    among = f", the best of {len(study.arms)}" if len(study.arms) > 1 else ""
    seeds = f", mean of {len(best.results)} seeds" if len(best.results) > 1 else ""
    of = f"of {best.name}{among}{seeds}"
    return first_told(metric, best.score, best.interval, of, _chance_of(best.results))


def _chance_of(results: Sequence[CellResult]) -> Chance | None:
    """Return what the best constant answer reaches in the mean over seeds, whose splits differ."""
    found = [result.chance for result in results if result.chance is not None]
    if not found:
        return None
    words = {chance.words for chance in found}
    same = found[0].words if len(words) == 1 else "the best constant answer"
    return Chance(fmean(chance.score for chance in found), same)


def two_sentences(advice: str) -> tuple[str, str]:
    """Return the first two sentences of an advice, and the others."""
    parts = re.split(r"(?<=[.])\s+(?=[A-Z])", advice)
    return " ".join(parts[:2]), " ".join(parts[2:])


def _page_of(study: Study, result: CellResult) -> str:
    """Return where the page of a cell lies, seen from that of the comparison; empty where it has none."""
    page = result.folder / "report.html"
    return page.relative_to(study.folder).as_posix() if page.is_file() else ""


def _shown(one: Disagreement) -> dict[str, object]:
    best = max(verdict.score for verdict in one.verdicts)
    verdicts = [
        {
            "arm": verdict.arm,
            "said": verdict.said,
            "kind": "right" if verdict.score == best else "wrong",
            "map": jpeg_uri(verdict.map) if verdict.map is not None else "",
        }
        for verdict in one.verdicts
    ]
    source, mask = (jpeg_uri(picture) if picture is not None else "" for picture in (one.image, one.mask))
    told = {"name": one.name, "truth": one.truth, "texts": one.texts}
    return {**told, "source": source, "mask": mask, "verdicts": verdicts}


def _key_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names of the classes of masks, each with its colour as CSS has it."""
    from hftransfer.tasks.outcomes import class_color

    return [(name, "rgb({}, {}, {})".format(*class_color(place))) for place, name in enumerate(names[:_MOST_KEYS])]


def notes_of(study: Study) -> list[str]:
    """Return what a reader has to know first: that the comparison is not whole."""
    notes = list(study.notes)
    if study.failed:
        notes.append(f"{len(study.failed)} of {len(study.results)} runs failed: see below.")
    if study.missing:
        notes.append(
            f"Interrupted: {study.missing} of {len(study.results) + study.missing} runs are not done. "
            "The same command with --skip-done goes on."
        )
    return notes


def _table(study: Study, arms: Sequence[Arm]) -> list[str]:
    head = ("strategy", metric_words(study.metric), "95 % interval", "seconds", "trained parameters", "seeds")
    rows = [head, ["---"] * len(head), *(arm.row() for arm in arms)]
    return [f"| {' | '.join(map(plain_text, row))} |" for row in rows]


def chance_in_words(study: Study) -> str:
    """Return what the intervals speak of."""
    told = []
    if any(arm.over_seeds for arm in study.arms):
        told.append(
            "Means over seeds with 95 % intervals (Student's t): each seed is another split of the data and another "
            "training."
        )
    if alike := [arm.name for arm in study.arms if len(arm.results) > 1 and not arm.over_seeds]:
        told.append(f"Seeds change nothing for {some(alike, 3)}: the 95 % intervals are over test examples there.")
    one = "One seed: the 95 % intervals are over test examples, and tell nothing about other splits or trainings."
    return " ".join(told) or one


def test_in_words(study: Study) -> str:
    """Return how pairs were tested."""
    return (
        f"{counted(len(study.differences), 'pair')}, compared on the same test examples. p comes from a paired "
        "permutation test, corrected for the number of pairs (Holm). The 95 % interval has the differences that this "
        "test does not reject. A difference is real if p is below 0.05 and the interval leaves out 0: for these seeds, "
        "it is then more than luck with the test examples. An example that several seeds tested counts once."
    )


def _cells(study: Study) -> list[list[object]]:
    rows = []
    for one in study.results:
        cell, (low, high) = one.cell, one.interval or ("", "")
        own = [cell.model, cell.strategy, cell.shots, cell.seed]
        measured = (
            [one.score, low, high, one.seconds, one.activations_seconds, one.trainable] if not one.error else [""] * 6
        )
        rows.append([*own, *measured, one.folder.relative_to(study.folder), one.error])
    return rows


def _pairs(study: Study) -> list[list[object]]:
    return [
        [d.first, d.second, d.mean, *d.interval, d.p, d.holm_p, " ".join(f"{p:.4g}" for p in d.mcnemar), d.examples]
        for d in study.differences
    ]
