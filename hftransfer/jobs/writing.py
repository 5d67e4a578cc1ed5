"""What a run leaves in its folder, whatever its task."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from hftransfer.base.errors import DataError, FetchError, HftransferError, first_line
from hftransfer.base.plain import JsonObject
from hftransfer.base.run_folder import LOGS, RunFolder, write_table
from hftransfer.base.runs import start_of
from hftransfer.base.tabular import csv_text
from hftransfer.jobs.cards import EXAMPLES, write_examples, write_own_card
from hftransfer.jobs.identity import resolved_yaml
from hftransfer.jobs.learned import Learned
from hftransfer.jobs.pages import page_of
from hftransfer.jobs.session import Session
from hftransfer.predictors.predictor import save_model
from hftransfer.recipe import LoadedRecipe
from hftransfer.report.page import RunPage

T = TypeVar("T")


def write_run(folder: RunFolder, loaded: LoadedRecipe, learned: Learned, session: Session) -> JsonObject:
    """Write all that a run leaves, and return its metrics."""
    # When a run began stands in one place, and is told from there by its page, its card and the lists of runs.
    learned = replace(learned, started=start_of(folder.path, session.clock.began))
    metrics = learned.metrics(session.clock.all_seconds())
    _write_model(folder, learned, metrics, loaded.name)
    folder.write_text("recipe.yaml", resolved_yaml(loaded, learned.facts, folder.path))
    folder.write_json("environment.json", learned.environment)
    _write_tables(folder, learned)
    if loaded.recipe.output.figures:
        draw_figures(folder, learned, metrics, session)
    if loaded.recipe.hub.share_examples and not learned.task.reader.fields:
        _or_said(EXAMPLES, lambda: write_examples(folder, learned.splits.test.rows), session)
    folder.note_all_in(LOGS)
    page = None
    if loaded.recipe.output.report:
        with session.stage("report"):
            page = _page(folder, loaded, learned, metrics, session)
    # Page, card and metrics tell the same seconds: none are counted from here on.
    metrics["seconds"] = session.clock.all_seconds()
    if page is not None:
        _write_page(folder, page, metrics, session)
    _write_cards(folder, learned, metrics, loaded.name)
    folder.write_json("metrics.json", metrics)
    return metrics


def _write_model(folder: RunFolder, learned: Learned, metrics: JsonObject, name: str) -> None:
    """Write the model, where one was trained, with its card; of LoRA the merged model too, where it is wanted."""
    write_native, adapter, facts = learned.save_model, learned.adapter, learned.model_facts
    if write_native is None:
        return

    def save(draft: Path) -> None:
        write_native(draft, folder.path / "model")
        write_own_card(draft, learned, metrics, name=name)

    folder.write_folder("model", save)
    if adapter is None or adapter.peft is None or facts is None or not facts.merge:
        return
    native = facts.model_copy(update={"base": None})

    def save_merged(draft: Path) -> None:
        save_model(adapter.merged(), native, draft)
        write_own_card(draft, learned, metrics, native, name)

    folder.write_folder("merged", save_merged)


def _write_tables(folder: RunFolder, learned: Learned) -> None:
    for name, columns in learned.tables.items():
        write_table(folder, name, dict(columns))
    sheets = {**learned.sheets, **({"history.csv": learned.history.table} if learned.history.rows else {})}
    for name, rows in sheets.items():
        folder.write_text(name, csv_text(list(rows[0]), [row.values() for row in rows]))
    if learned.splits.skipped:
        skipped = [[entry.split, entry.id, entry.reason] for entry in learned.splits.skipped]
        folder.write_text("skipped.csv", csv_text(["split", "id", "reason"], skipped))


def draw_figures(folder: RunFolder, learned: Learned, metrics: JsonObject, session: Session) -> None:
    """Draw what there is to be seen of a run: its epochs, what was tried, and how its test examples were judged."""
    from hftransfer.report import figures

    splits, names, test = learned.splits, learned.splits.class_names, learned.judged.get("test")
    if learned.history.rows:
        history = learned.history
        figures.draw_history(folder.file("figures/history.png"), history.table, history.kept_epoch, history.kept)
    if len(learned.l2_path) > 1:
        figures.draw_l2(folder.file("figures/l2.png"), learned.l2_path, learned.l2_measure)
    if prompts := learned.sheets.get("prompts.csv"):
        figures.draw_prompts(folder.file("figures/prompts.png"), prompts, metrics["test"]["accuracy"])
    if shots := learned.sheets.get("shots.csv"):
        before = metrics.get("zero_shot", {}).get("before", {}).get("accuracy")
        figures.draw_shots(folder.file("figures/shots.png"), shots, metrics["shots"], before)
    for plot in test.plots if test is not None else ():
        figures.draw_plot(folder.file(f"figures/{plot.name}.png"), plot)
    if test is None or test.probabilities is None:
        return
    has_pictures = not learned.task.reader.fields
    ids = splits.test.class_ids
    if len(splits.train):
        figures.draw_calibration(folder.file("figures/calibration.png"), test.probabilities, ids)
    if "confusion_matrix" in test.metrics:
        path = folder.file("figures/confusion_matrix.png")
        figures.draw_confusion_matrix(path, test.metrics["confusion_matrix"], names)
    if not has_pictures:
        return
    probabilities, train = test.probabilities, splits.train
    if len(train):
        path = folder.file("figures/examples.png")
        _or_said(path.name, partial(figures.draw_examples, path, train.rows, train.class_ids, names), session)
    path = folder.file("figures/mistakes.png")
    _or_said(path.name, partial(figures.draw_mistakes, path, splits.test.rows, ids, probabilities, names), session)


def _write_cards(folder: RunFolder, learned: Learned, metrics: JsonObject, name: str) -> None:
    """Write the cards anew, which were made with the models before all seconds were known."""
    for part in ("model", "merged"):
        if (card := folder.written(f"{part}/README.md")) is not None:
            facts = learned.model_facts
            own = facts.model_copy(update={"base": None}) if part == "merged" and facts is not None else None
            write_own_card(card.parent, learned, metrics, own, name)


def _page(
    folder: RunFolder, loaded: LoadedRecipe, learned: Learned, metrics: JsonObject, session: Session
) -> RunPage | None:
    """Return the page, or say why there is none: what is computed is not lost for it."""
    return _or_said("report.html", lambda: page_of(folder, loaded, learned, metrics), session)


def _write_page(folder: RunFolder, page: RunPage, metrics: JsonObject, session: Session) -> None:
    """Write the page with the seconds of the run, or say why it can't be."""
    own = {**page.metrics, "seconds": metrics["seconds"]}
    _or_said("report.html", lambda: folder.write_text("report.html", replace(page, metrics=own).html()), session)


def _or_said(name: str, work: Callable[[], T], session: Session) -> T | None:
    """Return what some work on a page or picture comes to, or say that there is none of that name, and why."""
    try:
        return work()
    except (DataError, FetchError) as error:  # an image that was there before
        session.progress.line(f"{name} could not be written ({first_line(error)}); all else is complete")
        return None
    except (HftransferError, OSError):
        raise  # a full disk: the other results could not be written either
    except Exception as error:
        session.progress.note("".join(traceback.format_exception(error)).rstrip())
        session.progress.line(
            f"{name} could not be written ({type(error).__name__}: {first_line(error)}); all else is complete"
        )
        return None
