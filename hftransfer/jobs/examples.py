"""The examples on a run's page: mistakes and what they rest on, what is right, and what was learned from."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hftransfer.base.errors import HftransferError
from hftransfer.base.plain import JsonObject
from hftransfer.data.images import enough_for
from hftransfer.data.inspection import decode_row
from hftransfer.data.rows import Row
from hftransfer.jobs.learned import Learned
from hftransfer.report.page import Group, Picture, Said
from hftransfer.report.rendering import DIVIDER, Marked
from hftransfer.tasks.shown import ExampleGroup, Layers, Mark

if TYPE_CHECKING:
    from hftransfer.adapters.base import Adapter

SHOWN = 12
_MISTAKES, _EXPLAINED = 24, 6
_PATIENCE_SECONDS = (2.0, 6.0)
"""No further mistake is explained after as long as the run learned; after so long at the least, and at the most."""
PICTURE_PX, _LONGEST_TEXT, _AROUND = 400, 400, 80
_STRIP_PX, _MOST_KEYS = 1000, 60


@dataclass(frozen=True)
class _Tested:
    """The test examples of a classifier: the output of each that is explained, and what is said of those shown."""

    rows: list[Row]
    predicted: Mapping[int, int] | np.ndarray
    said: dict[int, str]
    adapter: Adapter | None
    """None where no model can be explained."""
    max_tokens: int | None
    explained: str = "the wrong class"
    cells: Sequence[str] = ()
    """The cell of the confusion matrix of each, where there is one."""
    patience_seconds: float = _PATIENCE_SECONDS[1]
    """No further picture is explained after so long."""

    @classmethod
    def of(
        cls,
        learned: Learned,
        predicted: Mapping[int, int] | np.ndarray,
        said: dict[int, str],
        learning_seconds: float,
        **more: Any,
    ) -> _Tested:
        """Return those of a run that learned for so long."""
        adapter = learned.adapter if learned.task.explains else None
        max_tokens = learned.model_facts.max_tokens if learned.model_facts else None
        patience = min(max(learning_seconds, _PATIENCE_SECONDS[0]), _PATIENCE_SECONDS[1])
        rows = learned.splits.test.rows
        return cls(rows, predicted, said, adapter, max_tokens, patience_seconds=patience, **more)


def groups_of(learned: Learned, learning_seconds: float) -> list[Group]:
    """Return test examples that show how good the model is, as its task shows them. Explaining them takes about as long
    as learning did, or less."""
    test = learned.judged.get("test")
    if "retrieval.parquet" in learned.tables:
        return _retrieved(learned)
    if test is None:
        return []
    if test.groups:
        return [_group_of(group, learned, learning_seconds) for group in test.groups if group.examples]
    if test.probabilities is None:
        return _answers(learned.splits.test.rows, test.columns)
    groups = _judged_groups(learned, test.probabilities, learning_seconds)
    if not learned.task.reader.fields and len(learned.splits.train):
        groups.append(_samples(learned.splits.train.rows))
    return groups


def _group_of(group: ExampleGroup, learned: Learned, learning_seconds: float) -> Group:
    """Return a group of examples as the page shows them: pictures or texts, explained where an output is named."""
    rows = learned.splits.test.rows
    chosen = [one.place for one in group.examples][:SHOWN]
    if any(one.marks for one in group.examples):
        texts = [
            Said(one.caption, _marked(rows[one.place].content.texts[0], one.marks), where_of(rows, one.place))
            for one in group.examples[:SHOWN]
        ]
        return Group(group.title, group.kind, group.note, texts=texts)
    if any(one.layers for one in group.examples):
        strips = [
            Picture(_strip(rows[one.place], one.layers), one.caption, _row_of(one.place))
            for one in group.examples[:SHOWN]
            if one.layers
        ]
        return Group(group.title, group.kind, group.note, pictures=strips, wide=True, key=_key_of(group))
    outputs = {one.place: one.output for one in group.examples if one.output is not None}
    said = {one.place: one.caption for one in group.examples}
    tested = _Tested.of(learned, outputs, said, learning_seconds, explained=group.explained)
    shown = _shown(learned)(group.title, group.kind, chosen, tested, explains=len(outputs) == len(group.examples))
    return replace(shown, note=" ".join(filter(None, (group.note, shown.note))))


def _strip(row: Row, layers: Layers) -> Image.Image:
    """Return an image, and over it the truth, the prediction, and where they differ, side by side."""
    from hftransfer.tasks.outcomes import colored_over

    height, width = layers.truth.shape
    picture = decode_row(row).resize((width, height))
    wrong = (layers.truth >= 0) & (layers.truth != layers.predicted)
    # The picture is dimmed, so that what is wrong stands out in red; what is ignored is light grey.
    pixels = np.asarray(picture, dtype=np.float32) * 0.45 + 40
    pixels[wrong] = (214, 60, 50)
    pixels[layers.truth < 0] = (235, 235, 235)
    parts = [
        *(picture, colored_over(picture, layers.truth, 0.65), colored_over(picture, layers.predicted, 0.65)),
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)),
    ]
    factor = min(2.0, _STRIP_PX / (4 * width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    strip = Image.new("RGB", (4 * size[0] + 6, size[1]), "white")
    for place, part in enumerate(parts):
        strip.paste(part.resize(size), (place * (size[0] + 2), 0))
    return strip


def _key_of(group: ExampleGroup) -> list[tuple[str, str]]:
    """Return the names of the classes, each with its colour."""
    from hftransfer.tasks.outcomes import class_color

    names = next(one.layers.names for one in group.examples if one.layers)
    key = [(name, "rgb({}, {}, {})".format(*class_color(place))) for place, name in enumerate(names[:_MOST_KEYS])]
    return [*key, (f"and {len(names) - _MOST_KEYS} more", "none")] if len(names) > _MOST_KEYS else key


def _marked(text: str, marks: Sequence[Mark]) -> list[Marked]:
    """Return a text in parts, the marked ones with what is said of them."""
    parts, end = [], 0
    for mark in sorted(marks, key=lambda mark: mark.start):
        parts.append(Marked(text[end : mark.start]))
        parts.append(Marked(f"{text[mark.start : mark.end]} [{mark.label}]", 1.0 if mark.is_right else -1.0))
        end = max(end, mark.end)
    return [part for part in (*parts, Marked(text[end:])) if part.text.strip()]


def _judged_groups(learned: Learned, probabilities: np.ndarray, learning_seconds: float) -> list[Group]:
    """Return the worst mistakes, the surest right ones and the least sure, by the probabilities (N, C); no cell of the
    confusion matrix fills a group alone."""
    labels, names = learned.splits.test.class_ids, learned.splits.class_names
    predicted = probabilities.argmax(axis=1)  # (N,)
    own = probabilities[np.arange(len(labels)), labels]  # (N,)
    cells = [f"{label}-{found}" for label, found in zip(labels.tolist(), predicted.tolist(), strict=True)]
    rising = [int(i) for i in np.argsort(own, kind="stable")]
    wrong = [i for i in rising if predicted[i] != labels[i]]
    right = [i for i in rising if predicted[i] == labels[i]]
    worst, surest = in_turns(wrong, cells, _MISTAKES), in_turns(right[::-1], cells, SHOWN)
    unsure = [i for i in in_turns(right, cells, SHOWN) if i not in set(surest)]
    sure = probabilities.max(axis=1)
    said = {i: f"{names[labels[i]]}, predicted as {names[predicted[i]]} ({sure[i]:.0%})" for i in worst}
    said |= {index: f"{names[labels[index]]} ({own[index]:.0%})" for index in (*surest, *unsure)}
    show, tested = _shown(learned), _Tested.of(learned, predicted, said, learning_seconds, cells=cells)
    title = f"Worst mistakes: {len(wrong)} of {len(labels)} test examples"
    groups = [show(title, "wrong", worst, tested, explains=True)] if wrong else []
    if unsure:
        groups.append(show("Correct, but least confident", "right", unsure, tested, explains=False))
    if surest:
        groups.append(show("Correct and most confident", "right", surest, tested, explains=False))
    return groups


def in_turns(order: Sequence[int], cells: Sequence[str], most: int) -> list[int]:
    """Return at most so many places, in their order: the first of every cell, then the second of each, and so on."""
    turns: dict[str, int] = {}
    ranked = []
    for rank, place in enumerate(order):
        turn = turns[cells[place]] = turns.get(cells[place], -1) + 1
        ranked.append((turn, rank, place))
    return [place for _, place in sorted((rank, place) for _, rank, place in sorted(ranked)[:most])]


def _retrieved(learned: Learned) -> list[Group]:
    """Return test images whose captions found them last, and first."""
    table, rows = learned.tables["retrieval.parquet"], {row.id: row for row in learned.splits.test.rows}
    ranks = np.asarray(table["image_rank"])
    order = np.argsort(ranks, kind="stable")
    last = [int(place) for place in order[::-1] if ranks[place] > 0][:SHOWN]
    first = [int(place) for place in order if ranks[place] == 0][:SHOWN]

    def group(title: str, kind: str, chosen: list[int]) -> Group:
        shown = [
            Picture(
                small_of(rows[table["id"][i]]),
                f"“{table['caption'][i][:_AROUND]}”: place {ranks[i] + 1}",
                str(table["id"][i]),
            )
            for i in chosen
        ]
        return Group(title, kind, f"Of {len(rows)} test images, by the caption.", pictures=shown)

    groups = [("Images that their caption finds late", "wrong", last), ("Found first", "right", first)]
    return [group(*given) for given in groups if given[2]]


def _pictures(title: str, kind: str, chosen: list[int], tested: _Tested, *, explains: bool) -> Group:
    explained = chosen[:_EXPLAINED] if explains and tested.adapter is not None else []
    # What is explained is read whole, as the model read it; of the others as much as is shown.
    images = {i: decode_row(tested.rows[i], None if i in explained else enough_for(PICTURE_PX)) for i in chosen}
    maps = _maps(tested, {i: images[i] for i in explained})
    blank = {index: "; the map is blank" for index, own in maps.items() if own is None}
    shown = [
        Picture(
            _small(image),
            tested.said[index] + blank.get(index, ""),
            where_of(tested.rows, index),
            maps.get(index),
            tested.cells[index] if tested.cells else "",
        )
        for index, image in images.items()
    ]
    note = (
        f"Maps show what supported {tested.explained}, for the first examples only (see hftransfer explain)."
        if maps
        else ""
    )
    if blank:
        note += " Where the map is blank, nothing in the image did."
    return Group(title, kind, note, pictures=shown)


def _maps(tested: _Tested, images: dict[int, Image.Image]) -> dict[int, Image.Image | None]:
    """Return what the model saw of some images, with what spoke for the predicted class over it (None: nothing did); of
    as many as its patience allows."""
    if tested.adapter is None or not images:
        return {}
    from hftransfer.attribution.maps import class_maps, is_blank
    from hftransfer.attribution.network import PixelModel, find_spot
    from hftransfer.report.figures import overlaid

    found: dict[int, Image.Image | None] = {}
    try:
        asked = PixelModel(tested.adapter)
        spot = find_spot(asked)
        began = time.perf_counter()
        for index, image in images.items():
            # A map may take many passes: the page must not take longer than what it tells of.
            if time.perf_counter() - began > tested.patience_seconds:
                break
            pixels = asked.encode([image])
            own = class_maps(asked, pixels, [int(tested.predicted[index])], "auto", spot)[0]
            shown = (255 * overlaid(asked.seen(pixels)[0], own)).round().astype(np.uint8)
            found[index] = None if is_blank(own) else _small(Image.fromarray(shown))
    except HftransferError:
        return found  # the page is whole without them
    return found


def small_of(row: Row) -> Image.Image:
    """Return a row's image as large as a page shows it."""
    return _small(decode_row(row, enough_for(PICTURE_PX)))


def _small(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    image.thumbnail((PICTURE_PX, PICTURE_PX))
    return image


def where_of(rows: Sequence[Row], place: int, split: str = "test") -> str:
    """Return where an example is from: its name, and what that leaves open of its split and its row in there."""
    name = str(rows[place].id)
    if re.search(r":\d+$", name):
        return name if split in name else f"{name}, {split}"
    return f"{name}, {_row_of(place, '' if name.startswith(split) else split)}"


def _row_of(place: int, split: str = "test") -> str:
    return f"{split} row {place + 1}".strip()


def _samples(rows: list[Row]) -> Group:
    """Training images, of all classes in turn."""
    cells = [str(row.target) for row in rows]
    chosen = in_turns(range(len(rows)), cells, SHOWN)
    shown = [Picture(small_of(rows[i]), cells[i], where_of(rows, i, "train")) for i in chosen]
    return Group("What it learned from", pictures=shown)


def _shown(learned: Learned) -> Callable[..., Group]:
    """Return what makes a group of a run's examples: texts or pictures."""
    return _texts if learned.task.reader.fields else _pictures


def _texts(title: str, kind: str, chosen: list[int], tested: _Tested, *, explains: bool) -> Group:
    shown, weighed = [], False
    for place, index in enumerate(chosen):
        parts = tested.rows[index].content.texts
        text = " ".join(parts)
        words = divided(parts)
        if explains and place < _EXPLAINED and len(text) <= _LONGEST_TEXT:
            words = _weighed(tested, parts, int(tested.predicted[index])) or words
            weighed = weighed or any(word.weight is not None for word in words)
        cell = tested.cells[index] if tested.cells else ""
        shown.append(Said(tested.said[index], words, where_of(tested.rows, index), cell))
    spoke = f"Green words supported {tested.explained}, red words opposed it (integrated gradients)."
    note = spoke if weighed else ""
    if any(not word.is_read for one in shown for word in one.words):
        note += " Words struck out were not read: the text is longer than the model's limit."
    return Group(title, kind, note, texts=shown)


def _weighed(tested: _Tested, texts: tuple[str, ...], target: int) -> list[Marked]:
    """Return the words of a text with their weights; none where the embeddings of a model can't be reached."""
    from hftransfer.attribution.words import attribute_words

    try:
        given = (texts[0], texts[1]) if len(texts) > 1 else texts[0]
        parts = attribute_words(tested.adapter, given, target, steps=16, max_tokens=tested.max_tokens).words
    except (HftransferError, RuntimeError, TypeError, ValueError):
        return []
    weighed = [[Marked(word.text, word.weight, word.weight is not None) for word in part] for part in parts]
    return [word for place, own in enumerate(weighed) for word in ([DIVIDER, *own] if place else own)]


def divided(texts: Sequence[str]) -> list[Marked]:
    """Return texts as they are shown, cut where they are long, with dividers between them."""
    shown = [Marked(text[:_LONGEST_TEXT] + ("…" if len(text) > _LONGEST_TEXT else "")) for text in texts]
    return [part for place, own in enumerate(shown) for part in ([DIVIDER, own] if place else [own])]


def _answers(rows: list[Row], columns: JsonObject) -> list[Group]:
    """Return the worst answers beside those that were wanted, and the surest right ones."""
    from hftransfer.metrics.spans import span_f1

    scores = [span_f1(p, list(gold)) for p, gold in zip(columns["prediction"], columns["answers"], strict=True)]
    order = sorted(range(len(rows)), key=lambda i: (scores[i], -columns["score"][i]))
    wrong = [i for i in order if scores[i] < 1]
    right = sorted((i for i in order if scores[i] == 1), key=lambda i: -columns["score"][i])
    groups = [("Worst answers", "wrong", wrong), ("Most confident correct answers", "right", right)]
    return [
        Group(f"{title}: {len(own)} of {len(rows)}", kind, texts=[_answer(rows[i], columns, i) for i in own[:SHOWN]])
        for title, kind, own in groups
        if own
    ]


def _answer(row: Row, columns: JsonObject, index: int) -> Said:
    question, context = row.content.texts
    start, end = columns["start"][index], columns["end"][index]
    gold = " / ".join(dict.fromkeys(columns["answers"][index])) or "(no answer)"
    answer = columns["prediction"][index] or "(no answer)"
    words = [
        Marked(question),
        DIVIDER,
        Marked(f"… {context[max(0, start - _AROUND) : start]}"),
        Marked(answer, 1.0),
        Marked(f"{context[end : end + _AROUND]} …"),
    ]
    return Said(f"expected: {gold}; confidence {columns['score'][index]:.0%}", words, str(row.id))
