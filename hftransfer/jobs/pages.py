"""The page of a run, put together from what the run knows: its mistakes, what they rest on, and what is right."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from hftransfer.base.errors import HftransferError, counted
from hftransfer.base.extras import has_extra
from hftransfer.base.plain import JsonObject
from hftransfer.base.run_folder import RunFolder
from hftransfer.data.images import enough_for
from hftransfer.data.inspection import decode_row
from hftransfer.data.rows import Row
from hftransfer.hub.publish import public_text
from hftransfer.jobs.identity import public_name, resolved_yaml
from hftransfer.jobs.learned import Learned
from hftransfer.recipe import LoadedRecipe
from hftransfer.report.page import Group, Picture, RunPage, Said
from hftransfer.report.rendering import Marked
from hftransfer.tasks.shown import ExampleGroup, Layers, Mark

if TYPE_CHECKING:
    from hftransfer.adapters.base import Adapter

_USAGE = """import hftransfer as ht

model = ht.load("THIS_FOLDER")      # or: hftransfer predict THIS_FOLDER INPUT"""
_FIGURES = ("confusion_matrix", "calibration", "history", "l2", "shots", "prompts")
_SHOWN, _EXPLAINED = 12, 6
_PATIENCE_SECONDS = 6.0
"""No further mistake is explained after so long."""
_PX, _LONGEST_TEXT, _AROUND = 192, 400, 80
_STRIP_PX, _MOST_KEYS = 1000, 60
_MOST_AUDITED = 4_000_000
"""Numbers in the features of an audit that takes a few seconds."""


_ON_AUDIT = (
    "Of the rows that this run saw. hftransfer audit judges labels in the same way and lists all findings; it looks "
    "closer for near duplicates, and at rows that data.shots left out."
)


def write_page(folder: RunFolder, loaded: LoadedRecipe, learned: Learned, metrics: JsonObject) -> None:
    """Write `report.html`."""
    page = RunPage(
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
        figures=[path for name in _figures_of(learned) if (path := folder.written(f"figures/{name}.png")) is not None],
        groups=[*_groups(learned), *_audit_groups(learned, loaded.recipe.train.seed)],
    )
    folder.write_text("report.html", page.html())


def _figures_of(learned: Learned) -> list[str]:
    test = learned.judged.get("test")
    return [*_FIGURES, *(plot.name for plot in test.plots)] if test is not None else list(_FIGURES)


def _models(learned: Learned) -> list[str]:
    """Return the names of the pretrained models: one, or two towers."""
    model = learned.recipe.model
    return [str(model.image), str(model.text)] if model.is_pair else [model.name]


def _usage(learned: Learned) -> str:
    """Return how the model is used in Python."""
    if learned.task.learns == "head":
        return _USAGE
    model = "THIS_FOLDER" if learned.save_model is not None else public_name(learned.recipe.model.name)
    labels = ", ".join(f'"{name}"' for name in learned.splits.class_names[:3]) or '"cat", "dog"'
    return f'import hftransfer as ht\n\nht.zero_shot("{model}", ["photo.jpg"], [{labels}])'


def _audit_groups(learned: Learned, seed: int) -> list[Group]:
    """Return what is wrong with the data, where the features of a probe tell it at little cost."""
    from hftransfer.auditing.examine import LEAST_QUICKLY, Subject, examine
    from hftransfer.auditing.findings import TITLES
    from hftransfer.auditing.sheets import pictures_of

    numbers = sum(part.shape[0] * part.shape[1] for part in learned.features.values())
    if not 0 < numbers <= _MOST_AUDITED or not has_extra("audit"):
        return []
    subject = Subject.of(learned.splits, learned.task.reader, learned.features)
    audit = examine(subject, seed, least=LEAST_QUICKLY)
    groups = []
    for kind, count in audit.counts().items():
        pictures = [Picture(_small_of(row), caption) for row, caption in pictures_of(audit, kind, _SHOWN)]
        own = [] if pictures else audit.of(kind)[:_SHOWN]
        texts = [Said(f"{one.id} ({one.split}): {one.reason}", [Marked(_beside(audit.texts_of(one)))]) for one in own]
        note = _ON_AUDIT if kind == next(iter(audit.counts())) else ""
        groups.append(Group(f"Data: {counted(count, 'row')} {TITLES[kind]}", "", note, pictures, texts))
    if audit.notes:
        groups.append(Group("Data as a whole", texts=[Said("", [Marked(note)]) for note in audit.notes]))
    return groups


def _beside(texts: tuple[str, str]) -> str:
    return " | ".join(text[:_LONGEST_TEXT] for text in dict.fromkeys(texts) if text)


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


def _groups(learned: Learned) -> list[Group]:
    """Return test examples that show how good the model is, as its task shows them."""
    test = learned.judged.get("test")
    if "retrieval.parquet" in learned.tables:
        return _retrieved(learned)
    if test is None:
        return []
    if test.groups:
        return [_group_of(group, learned) for group in test.groups if group.examples]
    if test.probabilities is None:
        return _answers(learned.splits.test.rows, test.columns)
    groups = _judged_groups(learned, test.probabilities)
    if not learned.task.reader.fields and len(learned.splits.train):
        groups.append(_samples(learned.splits.train.rows))
    return groups


def _group_of(group: ExampleGroup, learned: Learned) -> Group:
    """Return a group of examples as the page shows them: pictures or texts, explained where an output is named."""
    rows = learned.splits.test.rows
    chosen = [one.place for one in group.examples][:_SHOWN]
    if any(one.marks for one in group.examples):
        texts = [Said(one.caption, _marked(rows[one.place].content.texts[0], one.marks)) for one in group.examples]
        return Group(group.title, group.kind, group.note, texts=texts[:_SHOWN])
    if any(one.layers for one in group.examples):
        strips = [Picture(_strip(rows[one.place], one.layers), one.caption) for one in group.examples if one.layers]
        key = [_key_of(group)] if group.kind == "wrong" else []
        return Group(group.title, group.kind, group.note, pictures=[*key, *strips][: _SHOWN + 1], wide=True)
    outputs = {one.place: one.output for one in group.examples if one.output is not None}
    said = {one.place: one.caption for one in group.examples}
    max_tokens = learned.model_facts.max_tokens if learned.model_facts else None
    adapter = learned.adapter if learned.task.explains else None
    show = _texts if learned.task.reader.fields else _pictures
    tested = _Tested(rows, outputs, said, adapter, max_tokens, group.explained)
    shown = show(group.title, group.kind, chosen, tested, explains=len(outputs) == len(group.examples))
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


def _key_of(group: ExampleGroup) -> Picture:
    """Return the colours of the classes."""
    from PIL import ImageDraw, ImageFont

    from hftransfer.tasks.outcomes import class_color

    names = next(one.layers.names for one in group.examples if one.layers)
    shown, columns = list(enumerate(names))[:_MOST_KEYS], 6
    rows = -(-len(shown) // columns)
    key = Image.new("RGB", (_STRIP_PX, 26 * rows + 6), "white")
    pen, font = ImageDraw.Draw(key), ImageFont.load_default(15)
    for place, name in shown:
        x, y = 8 + (place % columns) * (_STRIP_PX // columns), 6 + 26 * (place // columns)
        pen.rectangle((x, y, x + 18, y + 18), fill=class_color(place))
        pen.text((x + 24, y), "".join(c if c.isprintable() else "?" for c in name[:18]), fill="black", font=font)
    more = f" (the first {_MOST_KEYS} of {len(names)})" if len(names) > _MOST_KEYS else ""
    return Picture(key, f"the colours of the classes{more}")


def _marked(text: str, marks: Sequence[Mark]) -> list[Marked]:
    """Return a text in parts, the marked ones with what is said of them."""
    parts, end = [], 0
    for mark in sorted(marks, key=lambda mark: mark.start):
        parts.append(Marked(text[end : mark.start]))
        parts.append(Marked(f"{text[mark.start : mark.end]} [{mark.label}]", 1.0 if mark.is_right else -1.0))
        end = max(end, mark.end)
    return [part for part in (*parts, Marked(text[end:])) if part.text.strip()]


def _judged_groups(learned: Learned, probabilities: np.ndarray) -> list[Group]:
    """Return the worst mistakes and the surest right ones, by the probabilities (N, C)."""
    rows, labels, names = learned.splits.test.rows, learned.splits.test.class_ids, learned.splits.class_names
    predicted = probabilities.argmax(axis=1)  # (N,)
    own = probabilities[np.arange(len(labels)), labels]  # (N,)
    wrong = [int(i) for i in np.argsort(own, kind="stable") if predicted[i] != labels[i]]
    right = [int(i) for i in np.argsort(-own, kind="stable") if predicted[i] == labels[i]]
    sure = probabilities.max(axis=1)
    said = {i: f"{names[labels[i]]}, seen as {names[predicted[i]]} ({sure[i]:.0%})" for i in wrong[:_SHOWN]}
    said |= {index: f"{names[labels[index]]} ({own[index]:.0%})" for index in right[:_SHOWN]}
    title = f"Worst mistakes: {len(wrong)} of {len(labels)} test examples are wrong"
    show = _texts if learned.task.reader.fields else _pictures
    adapter = learned.adapter if learned.task.explains else None
    max_tokens = learned.model_facts.max_tokens if learned.model_facts else None
    tested = _Tested(rows, predicted, said, adapter, max_tokens)
    groups = [show(title, "wrong", wrong, tested, explains=True)] if wrong else []
    if right:
        groups.append(show("Most confident and right", "right", right, tested, explains=False))
    return groups


def _retrieved(learned: Learned) -> list[Group]:
    """Return test images whose captions found them last, and first."""
    table, rows = learned.tables["retrieval.parquet"], {row.id: row for row in learned.splits.test.rows}
    ranks = np.asarray(table["image_rank"])
    order = np.argsort(ranks, kind="stable")
    last = [int(place) for place in order[::-1] if ranks[place] > 0][:_SHOWN]
    first = [int(place) for place in order if ranks[place] == 0][:_SHOWN]

    def group(title: str, kind: str, chosen: list[int]) -> Group:
        shown = [
            Picture(_small_of(rows[table["id"][i]]), f"“{table['caption'][i][:_AROUND]}”: place {ranks[i] + 1}")
            for i in chosen
        ]
        return Group(title, kind, f"Of {len(rows)} test images, by the caption.", pictures=shown)

    groups = [("Images that their caption finds late", "wrong", last), ("Found first", "right", first)]
    return [group(*given) for given in groups if given[2]]


def _pictures(title: str, kind: str, chosen: list[int], tested: _Tested, *, explains: bool) -> Group:
    chosen = chosen[:_SHOWN]
    images = {index: decode_row(tested.rows[index]) for index in chosen}
    maps = _maps(tested.adapter, images, tested.predicted) if explains and tested.adapter is not None else {}
    blank = {index: "; the map is blank" for index, own in maps.items() if own is None}
    shown = [
        Picture(maps.get(index) or _small(image), tested.said[index] + blank.get(index, ""))
        for index, image in images.items()
    ]
    note = f"Over the first ones lies what spoke for {tested.explained} (hftransfer explain)." if maps else ""
    if blank:
        note += " Where the map is blank, no place in the image did."
    return Group(title, kind, note, pictures=shown)


def _maps(
    adapter: Adapter, images: dict[int, Image.Image], predicted: Mapping[int, int] | np.ndarray
) -> dict[int, Image.Image | None]:
    """Return what the model saw of some images, with what spoke for the predicted class over it (None: nothing did); of
    as many as a few seconds allow."""
    from hftransfer.attribution.maps import class_maps, is_blank
    from hftransfer.attribution.network import PixelModel, find_spot
    from hftransfer.report.figures import overlaid

    found: dict[int, Image.Image | None] = {}
    try:
        asked = PixelModel(adapter)
        spot = find_spot(asked)
        began = time.perf_counter()
        for index in list(images)[:_EXPLAINED]:
            # A map may take many passes: the page must not take longer than a short training.
            if time.perf_counter() - began > _PATIENCE_SECONDS:
                break
            pixels = asked.encode([images[index]])
            own = class_maps(asked, pixels, [int(predicted[index])], "auto", spot)[0]
            shown = (255 * overlaid(asked.seen(pixels)[0], own)).round().astype(np.uint8)
            found[index] = None if is_blank(own) else _small(Image.fromarray(shown))
    except HftransferError:
        return found  # the page is whole without them
    return found


def _small_of(row: Row) -> Image.Image:
    return _small(decode_row(row, enough_for(_PX)))


def _small(image: Image.Image) -> Image.Image:
    return ImageOps.pad(image.convert("RGB"), (_PX, _PX), color="white")


def _samples(rows: list[Row]) -> Group:
    """Training images, of all classes in turn."""
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(str(row.target), []).append(row)
    turns = [own[turn] for turn in range(_SHOWN) for own in by_label.values() if turn < len(own)][:_SHOWN]
    shown = [Picture(_small_of(row), str(row.target)) for row in turns]
    return Group("What it learned from", pictures=shown)


def _texts(title: str, kind: str, chosen: list[int], tested: _Tested, *, explains: bool) -> Group:
    shown, weighed = [], False
    for place, index in enumerate(chosen[:_SHOWN]):
        parts = tested.rows[index].content.texts
        text = " | ".join(parts)
        words = [Marked(text[:_LONGEST_TEXT])]
        if explains and place < _EXPLAINED and len(text) <= _LONGEST_TEXT:
            words = _weighed(tested, parts, int(tested.predicted[index])) or words
            weighed = weighed or any(word.weight is not None for word in words)
        shown.append(Said(tested.said[index], words))
    spoke = f"Green words spoke for {tested.explained}, red ones against it (integrated gradients)."
    note = spoke if weighed else ""
    if any(not word.is_read for one in shown for word in one.words):
        note += " Words struck out were not read: the text is longer than what the model takes."
    return Group(title, kind, note, texts=shown)


def _weighed(tested: _Tested, texts: tuple[str, ...], target: int) -> list[Marked]:
    """Return the words of a text with their weights; none where the embeddings of a model can't be reached."""
    from hftransfer.attribution.words import attribute_words

    try:
        given = (texts[0], texts[1]) if len(texts) > 1 else texts[0]
        parts = attribute_words(tested.adapter, given, target, steps=16, max_tokens=tested.max_tokens).words
    except (HftransferError, RuntimeError, TypeError, ValueError):
        return []
    return [Marked(word.text, word.weight, word.weight is not None) for part in parts for word in part]


def _answers(rows: list[Row], columns: JsonObject) -> list[Group]:
    """Return the worst answers beside those that were wanted, and the surest right ones."""
    from hftransfer.metrics.spans import span_f1

    scores = [span_f1(p, list(gold)) for p, gold in zip(columns["prediction"], columns["answers"], strict=True)]
    order = sorted(range(len(rows)), key=lambda i: (scores[i], -columns["score"][i]))
    wrong = [i for i in order if scores[i] < 1]
    right = sorted((i for i in order if scores[i] == 1), key=lambda i: -columns["score"][i])
    groups = [("Worst answers", "wrong", wrong), ("Surest right answers", "right", right)]
    return [
        Group(f"{title}: {len(own)} of {len(rows)}", kind, texts=[_answer(rows[i], columns, i) for i in own[:_SHOWN]])
        for title, kind, own in groups
        if own
    ]


def _answer(row: Row, columns: JsonObject, index: int) -> Said:
    question, context = row.content.texts
    start, end = columns["start"][index], columns["end"][index]
    gold = " / ".join(dict.fromkeys(columns["answers"][index])) or "(no answer)"
    answer = columns["prediction"][index] or "(no answer)"
    words = [
        Marked(f"{question} … {context[max(0, start - _AROUND) : start]}"),
        Marked(answer, 1.0),
        Marked(f"{context[end : end + _AROUND]} …"),
    ]
    return Said(f"wanted: {gold}; answered with {columns['score'][index]:.0%}", words)
