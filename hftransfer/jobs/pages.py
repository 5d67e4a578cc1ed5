"""The page of a run, put together from what the run knows: its mistakes, what they rest on, and what is right."""

from __future__ import annotations

import numpy as np

from hftransfer.base.errors import counted
from hftransfer.base.extras import has_extra
from hftransfer.base.plain import JsonObject
from hftransfer.base.run_folder import RunFolder
from hftransfer.base.runs import comparison_of, moment
from hftransfer.hub.publish import public_text
from hftransfer.jobs.examples import PICTURE_PX, SHOWN, divided, groups_of
from hftransfer.jobs.identity import public_name, resolved_yaml
from hftransfer.jobs.learned import Learned
from hftransfer.recipe import LoadedRecipe
from hftransfer.report import run_charts
from hftransfer.report.charts import Chart
from hftransfer.report.page import Group, Picture, RunPage, Said
from hftransfer.report.rendering import Marked, sentence
from hftransfer.report.run_charts import Drawn

_USAGE = """import hftransfer as ht

model = ht.load("THIS_FOLDER")      # or: hftransfer predict THIS_FOLDER INPUT"""
_MOST_AUDITED = 4_000_000
"""Numbers in the features of an audit that takes a few seconds."""


_ON_AUDIT = (
    "Of the rows that this run saw. hftransfer audit judges labels in the same way and lists all findings; it looks "
    "closer for near duplicates, and at rows that data.shots left out."
)


def page_of(folder: RunFolder, loaded: LoadedRecipe, learned: Learned, metrics: JsonObject) -> RunPage:
    """Return the content of `report.html`."""
    learning = sum(metrics["seconds"].get(stage, 0.0) for stage in ("activations", "train"))
    return RunPage(
        title=loaded.name,
        task=learned.task,
        metrics={**metrics, "model": " + ".join(map(public_name, _models(learned)))},
        class_names=learned.splits.class_names,
        counts=learned.splits.counts() if learned.splits.class_names else {},
        data=public_name(loaded.recipe.data.source),
        recipe=public_text(resolved_yaml(loaded, learned.facts, folder.path)),
        command="hftransfer run recipe.yaml     # the file beside this page; data.source=… for other data",
        usage=_usage(learned),
        environment=learned.environment,
        charts=_charts(learned, metrics),
        matrices=_matrices(learned),
        groups=[*groups_of(learned, learning), *_audit_groups(learned, loaded.recipe.train.seed)],
        date=moment(learned.environment["started"]) if "started" in learned.environment else "",
        comparison=comparison_of(folder.path),
    )


def _charts(learned: Learned, metrics: JsonObject) -> list[Drawn]:
    """Return what there is to be seen of a run in numbers: its epochs, what was tried, how sure it is, what its task
    draws."""
    charts: list[Drawn] = []
    history, test = learned.history, learned.judged.get("test")
    for plot in test.plots if test is not None else ():
        if (drawn := run_charts.plot_chart(plot)) is not None:
            charts.append(drawn)
    if (curve := _learning_chart(learned)) is not None:
        charts.append(curve)
    if history.rows:
        charts += run_charts.history_charts(history.table, history.kept_epoch, history.kept)
    if shots := learned.sheets.get("shots.csv"):
        before = metrics.get("zero_shot", {}).get("before", {}).get("accuracy")
        charts.append(run_charts.shots_chart(shots, metrics["shots"], before))
    if prompts := learned.sheets.get("prompts.csv"):
        charts += run_charts.prompt_charts(prompts)
    if test is not None and test.probabilities is not None and len(learned.splits.test):
        ids = learned.splits.test.class_ids
        charts.append(run_charts.certainty_chart(test.probabilities, ids))
        charts.append(run_charts.calibration_chart(test.probabilities, ids))
    if len(learned.l2_path) > 1:
        charts.append(run_charts.l2_chart(learned.l2_path, learned.l2_measure))
    return charts


def _learning_chart(learned: Learned) -> Chart | None:
    """Return how good the probe is with fewer examples; None where that can't be told quickly."""
    points = learned.curve() if learned.curve is not None else []
    judged, metric = learned.judged.get("test") or learned.judged.get("validation"), learned.task.headline
    if not points or judged is None:
        return None
    whole = len(learned.splits.train), [float(judged.metrics[metric.name])]
    return run_charts.learning_chart([*((point.examples, point.scores) for point in points), whole], metric)


def _matrices(learned: Learned) -> list[run_charts.Matrix]:
    """Return what is taken for what: of classes first, and what a task draws as a matrix."""
    test = learned.judged.get("test")
    if test is None:
        return []
    found = []
    if counts := test.metrics.get("confusion_matrix"):
        matrix = np.array(counts)
        title = f"Test: {int(np.trace(matrix)):,} of {int(matrix.sum()):,} right"
        told = "{}, predicted as {}"
        names = learned.splits.class_names
        found.append(run_charts.matrix_of(matrix, names, title, ("predicted", "true"), by_row=True, told=told))
    for plot in test.plots:
        if plot.matrix is not None:
            labels, told = (plot.x_label, plot.y_label), f"{plot.y_label} {{}}, {plot.x_label} {{}}"
            found.append(run_charts.matrix_of(plot.matrix, plot.names, plot.title, labels, by_row=False, told=told))
    return found


def _models(learned: Learned) -> list[str]:
    """Return the names of the pretrained models: one, or two towers."""
    model = learned.recipe.model
    return [str(model.image), str(model.text)] if model.is_pair else [model.name]


def _usage(learned: Learned) -> str:
    """Return how the model is used in Python."""
    if learned.task.learns == "head":
        has_own = learned.model_facts is not None and learned.model_facts.own_head is not None
        return _USAGE.replace('FOLDER")', 'FOLDER", head=module)', 1) if has_own else _USAGE
    model = "THIS_FOLDER" if learned.save_model is not None else public_name(learned.recipe.model.name)
    labels = ", ".join(f'"{name}"' for name in learned.splits.class_names[:3]) or '"cat", "dog"'
    return f'import hftransfer as ht\n\nht.zero_shot("{model}", ["photo.jpg"], [{labels}])'


def _audit_groups(learned: Learned, seed: int) -> list[Group]:
    """Return what is wrong with the data, where the features of a probe tell it at little cost."""
    from hftransfer.auditing.examine import LEAST_QUICKLY, Subject
    from hftransfer.auditing.findings import TITLES
    from hftransfer.auditing.kept import kept_or_examined
    from hftransfer.auditing.sheets import pictures_of

    numbers = sum(part.shape[0] * part.shape[1] for part in learned.features.values())
    if not 0 < numbers <= _MOST_AUDITED or not has_extra("audit"):
        return []
    subject = Subject.of(learned.splits, learned.task.reader, learned.features)
    audit = kept_or_examined(subject, seed, LEAST_QUICKLY)
    groups = []
    for kind, count in audit.counts().items():
        pictures = [Picture(*one) for one in pictures_of(audit, kind, SHOWN, px=PICTURE_PX)]
        own = [] if pictures else audit.of(kind)[:SHOWN]
        texts = [Said(f"{one.id} ({one.split}): {one.reason}", _beside(audit.texts_of(one))) for one in own]
        note = _ON_AUDIT if kind == next(iter(audit.counts())) else ""
        groups.append(Group(f"Data: {counted(count, 'row')} {TITLES[kind]}", "", note, pictures, texts))
    if audit.notes:
        groups.append(Group("Data as a whole", texts=[Said("", [Marked(sentence(note))]) for note in audit.notes]))
    return groups


def _beside(texts: tuple[str, str]) -> list[Marked]:
    return divided([text for text in dict.fromkeys(texts) if text])
