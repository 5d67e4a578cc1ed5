"""The page of a run: one file that needs nothing beside it, readable on a phone, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from hftransfer.base.errors import counted
from hftransfer.base.html import jpeg_uri, render_page
from hftransfer.base.plain import JsonObject, shown_number
from hftransfer.metrics.metric import metric_words, score_name
from hftransfer.report.headline import chance_by, first_told
from hftransfer.report.rendering import Marked, marked_words, sentence
from hftransfer.report.run_charts import Drawn, Matrix
from hftransfer.report.tables import (
    CLASS_SCORES,
    duration,
    folds_in_words,
    refit_in_words,
    scores_of_classes,
    seconds_of,
)
from hftransfer.strategies import KEPT_START, method_in_words, start_is_kept
from hftransfer.tasks.contract import Task

_MOST_CLASSES = 200
_CLASS_COLUMNS = {
    **{"train": "train", "validation": "validation", "test": "test"},
    **CLASS_SCORES,
    "unseen": "AUROC unseen",
}
MOST_BYTES = 3 << 20
"""Bytes of a page: where its pictures take more they are made smaller."""
_EDGES_PX = (400, 288, 208, 144, 96)
"""Longest edges of pictures, of which the largest is taken that the page has room for."""
_LONGEST_FIRST, _LONGEST_LINE = 280, 160


@dataclass(frozen=True)
class Picture:
    """A picture with what is said under it."""

    image: Image.Image
    caption: str
    where: str = ""
    """The file, split and row that it is from."""
    map: Image.Image | None = None
    """The same picture under what it rests on."""
    cell: str = ""
    """The cell of the confusion matrix that it counts in."""


@dataclass(frozen=True)
class Said:
    """A text in words, and what is said above it."""

    caption: str
    words: Sequence[Marked]
    where: str = ""
    cell: str = ""


@dataclass(frozen=True)
class Group:
    """Some examples of one kind, such as the worst mistakes."""

    title: str
    kind: str = ""
    """right, wrong or neither."""
    note: str = ""
    pictures: Sequence[Picture] = ()
    texts: Sequence[Said] = ()
    wide: bool = False
    """Whether pictures are strips, which take more room."""
    key: Sequence[tuple[str, str]] = ()
    """The names of colours in the pictures, each with its colour as CSS has it."""


@dataclass(frozen=True)
class RunPage:
    """The content of a run's page."""

    title: str
    task: Task
    metrics: JsonObject
    class_names: Sequence[str]
    counts: Mapping[str, Sequence[int]]
    data: str
    recipe: str
    command: str
    usage: str
    environment: JsonObject
    charts: Sequence[Drawn] = ()
    matrices: Sequence[Matrix] = ()
    """The first one's cells choose examples."""
    groups: Sequence[Group] = field(default_factory=list)
    date: str = ""
    comparison: str = ""
    """The way to the page of the comparison that the run is a cell of, where it is one."""

    def html(self) -> str:
        """Return the page; names and texts, wherever they come from, are shown and never obeyed."""
        for edge in _EDGES_PX:
            page = self._html(edge)
            if len(page) <= MOST_BYTES:
                break
        return page

    def _html(self, edge: int) -> str:
        groups = [_shown(group, edge) for group in self.groups]
        return render_page(
            "hftransfer.report",
            "page.html.jinja",
            title=self.title,
            subtitle=self._subtitle(),
            comparison=self.comparison,
            headline=self._headline(),
            first=self._first(edge),
            told=self._told(),
            scores=self._scores(),
            charts=self.charts,
            matrices=self.matrices,
            classes=(classes := self._classes()),
            class_columns=_columns_of(classes),
            folds=self._folds(),
            groups=groups,
            facts=self._facts(),
            usage=self.usage,
            command=self.command,
            recipe=self.recipe,
        )

    @property
    def _judged(self) -> JsonObject:
        judged: JsonObject = self.metrics["test"] or self.metrics["validation"]
        return judged

    def _subtitle(self) -> str:
        return f"{self.data}: {self.task.words.done} by {self.metrics['model']} with {method_in_words(self.metrics)}"

    def _learned_from(self) -> str:
        if (refit := self.metrics.get("refit")) is not None:
            return f"{refit['examples']:,} examples of training and validation"
        return f"{self.metrics['examples'].get('train', 0):,} training examples"

    def _told(self) -> list[tuple[str, str]]:
        """Return what a reader wants to know first beside the score."""
        learned = self.metrics["parameters"]["trainable"]
        return [
            *([("date", self.date)] if self.date else []),
            ("took", duration(self.metrics["seconds"].get("total", 0.0))),
            ("model", self.metrics["model"]),
            ("strategy", method_in_words(self.metrics)),
            ("data", f"{self.data}, {self._learned_from()}"),
            ("trained", f"{learned:,} parameters"),
        ]

    def _first(self, edge: int) -> dict[str, object] | None:
        """Return one example for the first screen: the surest that is right where there is one."""
        if (side := self._side_by_side()) is not None:
            return side
        order = sorted(enumerate(self.groups), key=lambda one: (one[1].kind != "right", -one[0]))
        for _, group in order:
            if group.pictures and not group.wide:
                one = group.pictures[0]
                return {"source": jpeg_uri(one.image, edge), "caption": one.caption, "text": ""}
        for _, group in order:
            if group.wide and group.pictures:
                one = group.pictures[0]
                part = one.image.width // 4 if one.image.width > 2 * one.image.height else one.image.width
                return {"source": jpeg_uri(one.image.crop((0, 0, part, one.image.height)), edge),
                        "caption": one.caption, "text": ""}  # fmt: skip
            if group.texts and group.kind:
                said = group.texts[0]
                text = " / ".join(word for word in ("".join(_parts(said.words))).split("\n") if word)
                return {"source": "", "caption": said.caption, "text": text[:_LONGEST_FIRST]}
        return None

    def _side_by_side(self) -> dict[str, object] | None:
        """Return a text written before training and after it, where there are some, with its prompt."""
        group = next((group for group in self.groups if group.texts and not group.kind), None)
        if not self._before or group is None:
            return None
        said, lines = group.texts[0], group.texts[0].caption.split("\n")
        text = " / ".join(line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in lines)
        prompt = " ".join("".join(_parts(said.words)).split())
        return {"source": "", "caption": prompt[:_LONGEST_FIRST], "text": text}

    def _headline(self) -> JsonObject:
        metric = self.task.headline
        split = "test" if self.metrics["test"] else "validation"
        interval = self._judged.get(f"{metric.name}_interval")
        ends = (interval[0], interval[1]) if interval else None
        of = f"on {self.metrics['examples'][split]:,} {self._tested(split)}"
        told = first_told(metric, self._judged[metric.name], ends, of, chance_by(self.metrics, metric))
        return {**told, "chance": told["chance"] or self._before_in_words()}

    def _before_in_words(self) -> str:
        """Return the headline before training, and other scores without bounds then and now."""
        before, metric = self._before, self.task.headline
        if metric.name not in before:
            return ""
        others = [
            one for one in self.task.metrics if one.in_progress and not one.is_bounded and one.name != metric.name
        ]
        further = [
            f" {sentence(one.words)} {shown_number(self._judged[one.name])}"
            f" ({shown_number(before[one.name])} before training)."
            for one in others
            if one.name in before and one.name in self._judged
        ]
        return f"Before training: {shown_number(before[metric.name])}.{''.join(further)}"

    def _tested(self, split: str) -> str:
        """Return what the headline is measured on."""
        folds = self.metrics.get("folds")
        return f"{split} examples" if folds is None else f"examples, each tested once in {folds['count']} folds"

    def _folds(self) -> dict[str, object] | None:
        """Return the folds of a cross-validation: what they come to in words, and a row of each."""
        folds = self.metrics.get("folds")
        if folds is None:
            return None
        scores: list[JsonObject] = folds["scores"]
        shown = [metric.name for metric in self.task.metrics if metric.in_progress or metric is self.task.headline]
        sizes, chosen = ("fold", "train", "validation", "test"), ("l2", "epochs", "temperature")
        names = [*sizes, *(name for name in (*shown, *chosen) if name in scores[0])]
        rows = [[_in_cell(row.get(name, ""), exact=name in shown) for name in names] for row in scores]
        words = " ".join(folds_in_words(folds))
        return {"words": words, "names": [sentence(metric_words(name)) for name in names], "rows": rows}

    def _scores(self) -> list[dict[str, str]]:
        rows = []
        for name, value in self._judged.items():
            if isinstance(value, float):
                told = {split: self.metrics[split].get(name) for split in ("test", "validation")}
                told["before"] = self._before.get(name)
                shown = {split: "" if score is None else shown_number(score) for split, score in told.items()}
                rows.append({"name": sentence(score_name(name, self._judged)), **shown})
        return rows

    @property
    def _before(self) -> JsonObject:
        """Return the metrics before training, on the split that is shown first."""
        split = "test" if self.metrics["test"] else "validation"
        before: JsonObject = self.metrics.get("before", {}).get(split, {})
        return before

    def _classes(self) -> list[dict[str, str]]:
        if per_class := self._judged.get("per_class"):
            return [self._class_row(name, scores) for name, scores in list(per_class.items())[:_MOST_CLASSES]]
        measured = scores_of_classes(self._judged, self.class_names)
        unseen: Mapping[str, float] = self._judged.get("unseen_class_auroc_by_class", {})
        return [
            {
                "name": name,
                **{split: str(self.counts[split][index]) for split in ("train", "validation", "test")},
                **measured[name],
                "unseen": f"{unseen[name]:.4f}" if name in unseen else "",
            }
            for index, name in enumerate(self.class_names[:_MOST_CLASSES])
            if name in measured
        ]

    def _class_row(self, name: str, scores: JsonObject) -> dict[str, str]:
        sizes = dict.fromkeys(("train", "validation", "test"), "")
        if name in self.class_names and self.counts:
            place = list(self.class_names).index(name)
            sizes = {split: str(self.counts[split][place]) for split in sizes}
        elif "support" in scores:
            sizes["test"] = str(scores["support"])
        return {"name": name, **sizes, **scores_of_classes({"per_class": {name: scores}}, ())[name]}

    def _facts(self) -> list[tuple[str, str]]:
        metrics, said = self.metrics, self.environment
        parameters = metrics["parameters"]
        facts = [("trained parameters", f"{parameters['trainable']:,} of {parameters['total']:,}")]
        facts += [("refit", told)] if (told := refit_in_words(metrics)) else []
        facts += [("kept", KEPT_START)] if start_is_kept(metrics) else []
        facts += [(f"seconds: {name}", f"{value:.1f}") for name, value in seconds_of(metrics["seconds"]).items()]
        facts.append(("peak memory", f"{metrics['peak_memory_bytes'] / 2**20:,.0f} MiB"))
        facts.append(("device", f"{said['device']}, {said['precision']}, {counted(said['threads'], 'thread')}"))
        facts += [
            (name, said["versions"][name])
            for name in ("hftransfer", "torch", "transformers")
            if name in said["versions"]
        ]
        return facts


def _parts(words: Sequence[Marked]) -> list[str]:
    return ["\n" if word.divides else f"{word.text} " for word in words]


def _columns_of(rows: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return the columns of the classes that have something to tell: the key of each, and its title."""
    return [(key, sentence(title)) for key, title in _CLASS_COLUMNS.items() if any(row.get(key) for row in rows)]


def _in_cell(value: object, *, exact: bool) -> str:
    if not isinstance(value, float):
        return str(value)
    return shown_number(value) if exact else f"{value:.4g}"


def _shown(group: Group, edge: int) -> dict[str, object]:
    if group.wide:
        edge *= 3  # a strip has several pictures beside each other
    return {
        "title": group.title,
        "kind": group.kind,
        "note": sentence(group.note),
        "wide": group.wide,
        "key": group.key,
        "has_maps": any(one.map is not None for one in group.pictures),
        "pictures": [
            {
                "caption": one.caption,
                "where": one.where,
                "cell": one.cell,
                "source": jpeg_uri(one.image, edge),
                "map": jpeg_uri(one.map, edge) if one.map is not None else "",
            }
            for one in group.pictures
        ],
        "texts": [
            {"caption": one.caption, "where": one.where, "cell": one.cell, "words": marked_words(one.words)}
            for one in group.texts
        ],
    }
