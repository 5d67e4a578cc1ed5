"""The model card: metadata that the Hub checks, and a page that says what the model is, how good, and how to use it
without this library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.adapters.checkpoint import object_in
from hftransfer.adapters.terms import is_creative_commons, is_non_commercial
from hftransfer.base.errors import counted, printable
from hftransfer.base.plain import JsonObject, shown_number, shown_value
from hftransfer.base.run_folder import HubSettings
from hftransfer.base.runs import moment
from hftransfer.data.depth import PixelRange
from hftransfer.demo.drawings import DRAWINGS
from hftransfer.hub.publish import BEGIN, END, RESULTS, public_text
from hftransfer.hub.usage import dual_use, keras_use, module_use, native_use, with_hftransfer
from hftransfer.metrics.metric import metric_words, score_name
from hftransfer.report.rendering import plain_text, sentence
from hftransfer.report.tables import CLASS_SCORES, duration, folds_in_words, refit_in_words, scores_of_classes
from hftransfer.strategies import KEPT_START, method_in_words, start_is_kept
from hftransfer.tasks.contract import Task
from hftransfer.tasks.facts import OF_DRAWINGS, ModelFacts

if TYPE_CHECKING:
    import jinja2
    from huggingface_hub import EvalResult, ModelCardData

_LEARNED = {
    "linear-probe": "The head alone, on features of the frozen network; where it is one linear layer it was solved and "
    "its standardisation is folded into its weights.",
    "fine-tune": "The head and the unfrozen stages.",
    "lora": "Low-rank matrices beside frozen layers (LoRA), and the head.",
    "contrastive": " By pairs of examples: features of a class were drawn together, and the head was solved on them.",
}
_MOST_CLASSES = 60  # in the table of classes
_FEW, _UNEVEN, _OFF = 20, 3.0, 0.05
# What a way of training is called in the literature: arXiv's number, a key, authors and title, all of 2021.
_PAPERS = {
    "contrastive": (
        "2209.11055",
        "tunstall2022setfit",
        "Tunstall and others",
        "Efficient Few-Shot Learning Without Prompts",
    ),
    "lora": ("2106.09685", "hu2021lora", "Hu and others", "LoRA: Low-Rank Adaptation of Large Language Models"),
    "towers": ("2111.07991", "zhai2021lit", "Zhai and others", "LiT: Zero-Shot Transfer with Locked-image text Tuning"),
    "interpolate": ("2109.01903", "wortsman2021wise", "Wortsman and others", "Robust fine-tuning of zero-shot models"),
}


@dataclass(frozen=True)
class Card:
    """The content of a model card, as values."""

    task: Task
    metrics: JsonObject
    """As in `metrics.json`."""
    data_source: str
    """Without the way to it on this disk."""
    version: str
    bases: tuple[str, ...]
    """The base model, or the two towers."""
    library: str = "transformers"
    """The one that reads the model, by its name on the Hub."""
    hub_id: str | None = None
    """That of the base model, None where it isn't on the Hub."""
    base_licenses: tuple[str, ...] = ()
    """Those of the base models, as far as they are known."""
    class_names: tuple[str, ...] = ()
    facts: ModelFacts = field(default_factory=ModelFacts)
    settings: HubSettings = field(default_factory=HubSettings)
    dataset_id: str | None = None
    dataset_config: str | None = None
    max_tokens: int | None = None
    """The length in tokens to which texts are cut."""
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By split, how many examples of each class there are."""
    skipped: int = 0
    recipe: str = ""
    environment: JsonObject = field(default_factory=dict)
    seed: int | None = None
    name: str = ""
    """That of the recipe, where there was one."""
    pads: bool = True
    """Whether texts of several lengths may go through it together, padded."""
    pads_always: bool = False
    """Of a dual encoder: whether its texts are all padded to one length."""
    examples: Sequence[Mapping[str, str]] = ()
    """Of the test split, for the Hub's page to try the model with."""

    @property
    def is_dual(self) -> bool:
        """Return whether the model is a dual encoder that learned from captions."""
        return self.task.learns == "towers"

    @property
    def title(self) -> str:
        """The name of the recipe, or those of what it was made from, and how."""
        if self.name:
            return plain_text(self.name)
        return plain_text(f"{' + '.join(Path(name).name for name in self.bases)} {self.metrics['strategy']}")

    @property
    def judged(self) -> JsonObject:
        """The metrics of the test split, or of the validation split where there is none."""
        judged: JsonObject = self.metrics["test"] or self.metrics["validation"]
        return judged

    @property
    def scores(self) -> dict[str, float]:
        """The metrics that are one number."""
        return {name: value for name, value in self.judged.items() if isinstance(value, float)}


def write_card(folder: Path, card: Card) -> None:
    """Write `README.md` with valid card metadata into a model folder.

    Of a local path only the last part is written: folders of a person's disk are not published.
    """
    from huggingface_hub import ModelCard

    body = _template().render(**_results_section(card), **_data_section(card), **_usage_section(card, folder))
    page = f"---\n{metadata(card).to_yaml()}\n---\n{BEGIN}\n{body.strip()}\n\n{END}\n"
    ModelCard(page).save(folder / "README.md")


def metadata(card: Card) -> ModelCardData:
    """Return what the Hub reads: a `ModelCardData`."""
    from huggingface_hub import ModelCardData

    strategy, is_lora = card.metrics["strategy"], card.facts.base is not None
    pipeline_tag, other_tag = card.task.tags
    papers = [f"arxiv:{paper[0]}" for paper in _papers_of(card)]
    more: dict[str, object] = {}
    if card.hub_id is not None:
        more["base_model_relation"] = "adapter" if is_lora else "finetune"
    if card.examples:
        more["widget"] = [{key: printable(text) for key, text in example.items()} for example in card.examples]
    return ModelCardData(
        library_name="peft" if is_lora else card.library,
        pipeline_tag=pipeline_tag,
        base_model=card.hub_id,
        # Of the base models' licences only Creative Commons' are sure to have the names of the Hub's list.
        license=card.settings.license or next(filter(is_creative_commons, card.base_licenses), None),
        language=list(card.settings.language) or None,
        datasets=[card.dataset_id] if card.dataset_id else None,
        tags=["hftransfer", "transfer-learning", *([other_tag] if other_tag else []), strategy, *papers],
        metrics=None if card.is_dual else list(card.scores),
        model_name=card.title,
        eval_results=None if card.is_dual else _eval_results(card),
        **more,
    )


def _eval_results(card: Card) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    data = plain_text(card.data_source)
    return [
        EvalResult(
            task_type=card.task.tags[0],
            task_name=card.task.words.title,
            dataset_type=card.dataset_id or data,
            dataset_name=data,
            dataset_config=card.dataset_config,
            dataset_split=_split_of(card),
            metric_type=name,
            metric_name=sentence(metric_words(name)),
            metric_value=round(value, 6),
        )
        for name, value in card.scores.items()
    ]


def _split_of(card: Card) -> str:
    """Return what the scores are of: a split, or all examples, each by a model of the others."""
    if "folds" in card.metrics:
        return "cross-validation"
    return "test" if card.metrics["test"] else "validation"


def _template() -> jinja2.Template:
    import jinja2

    source = files("hftransfer.hub").joinpath("card.md.jinja").read_text(encoding="utf-8")
    # What is filled in is made harmless by plain_text: this is Markdown, for which HTML's escapes are wrong.
    return jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(source)  # noqa: S701


# --- results ---------------------------------------------------------------------------------------------------------


def _results_section(card: Card) -> dict[str, object]:
    test, validation = card.metrics["test"], card.metrics["validation"]
    before = card.metrics.get("before", {}).get(_split_of(card), {})
    rows = []
    for name in card.scores:
        interval = test.get(f"{name}_interval") if test else None
        told = shown_number(test[name]) if test else ""
        told += f" ({shown_number(interval[0])} to {shown_number(interval[1])})" if interval else ""
        of_validation = validation.get(name)
        shown = "" if of_validation is None else shown_number(of_validation)
        row = {"name": sentence(score_name(name, test or validation)), "test": told, "validation": shown}
        rows.append({**row, "before": shown_number(before[name]) if name in before else ""})
    has_intervals = any("(" in row["test"] for row in rows)
    return {
        "title": card.title,
        "about": _about(card),
        "description": _safe_markdown(card.settings.description),
        "scores": rows,
        "has_intervals": has_intervals,
        "has_before": any(row["before"] for row in rows),
        "measured": _measured(card, has_intervals=has_intervals),
        "further": list(_further(card)),
        "place_of_figures": RESULTS,
    }


def _about(card: Card) -> str:
    base, strategy = " and ".join(f"`{plain_text(name)}`" for name in card.bases), card.metrics["strategy"]
    if card.is_dual:
        return (
            f"{base} brought into one space by images with captions ({strategy}), with hftransfer {card.version}. It "
            "finds images by texts and texts by images, and tells images apart by the names of classes."
        )
    goal = f"{len(card.class_names)} {card.task.words.labels}" if card.class_names else card.task.words.goal
    return f"{base} adapted to {goal} by {method_in_words(card.metrics)} with hftransfer {card.version}."


def _measured(card: Card, *, has_intervals: bool) -> str:
    seed = "" if card.seed is None else f", seed {card.seed}"
    chance = " An interval says what the number of test examples leaves to chance, not what another seed would give."
    run = "One run"
    if folds := card.metrics.get("folds"):
        run = f"A cross-validation of {folds['count']} folds"
    return f"{run}{seed}.{chance if has_intervals else ''}"


def _further(card: Card) -> Iterator[str]:
    """Yield what else was measured: k-shot curves, and zero-shot before and after."""
    for entry in card.metrics.get("shots", ()):
        low, high = entry.get("accuracy_interval") or (None, None)
        spread = "" if low is None else f" (95 % interval over {entry['draws']} draws: {low:.4f} to {high:.4f})"
        yield f"With {entry['shots']} examples of each class: accuracy {entry['accuracy']:.4f}{spread}."
    if folds := card.metrics.get("folds"):
        yield " ".join(plain_text(line) for line in folds_in_words(folds))
    told = card.metrics.get("zero_shot") or {}
    if "accuracy" in told:
        yield f"Images told apart by class names afterwards: accuracy {told['accuracy']:.4f}."
    if "before" in told:
        before, after = told["before"]["accuracy"], told["after"]["accuracy"]
        yield f"By the names of the classes alone, before training: accuracy {before:.4f}; afterwards {after:.4f}."


# --- data ------------------------------------------------------------------------------------------------------------


def _data_section(card: Card) -> dict[str, object]:
    counts, splits = card.counts, ("train", "validation", "test")
    measured = scores_of_classes(card.judged, card.class_names)
    columns = {key: title for key, title in CLASS_SCORES.items() if any(own.get(key) for own in measured.values())}
    rows = [
        {
            "name": plain_text(name),
            **{split: counts[split][index] if split in counts else "" for split in splits},
            **{column: measured.get(name, {}).get(column, "") for column in columns},
        }
        for index, name in enumerate(card.class_names[:_MOST_CLASSES])
    ]
    if more := len(card.class_names) - len(rows):
        rows.append({"name": f"and {more} more", **dict.fromkeys((*splits, *columns), "")})
    source = f"`{plain_text(card.data_source)}`"
    return {
        "data": f"[{source}](https://hf.co/datasets/{card.dataset_id})" if card.dataset_id else source,
        "examples": card.metrics["examples"],
        "unit": card.task.words.unit,
        "folds": card.metrics.get("folds", {}).get("count"),
        "skipped": card.skipped,
        "prompts": _prompts(card),
        "classes": rows,
        "class_columns": columns,
        "limits": list(_limits(card)),
    }


def _prompts(card: Card) -> str:
    """Return how prompts become what the model reads; a template that would steer the page is in the recipe alone."""
    told = "" if card.is_dual else card.task.prompts_in_words(card.facts.template)
    return "" if set("<>") & set(told) else printable(told)


def _limits(card: Card) -> Iterator[str]:
    """Yield what a person should know before they rely on the model, as far as the run tells."""
    if card.facts.data == DRAWINGS or card.data_source == DRAWINGS:
        yield f"It is a demonstration, and not for photos: {OF_DRAWINGS}."
    for name in filter(is_non_commercial, card.base_licenses):
        yield f"The licence of what it was made from, `{name}`, allows no commercial use; that holds for it too."
    tested = card.metrics["examples"]["test"] or card.metrics["examples"]["validation"]
    yield f"Its scores are those of {tested} examples of the data named above; other data may score otherwise."
    if card.class_names or card.task.lora_use(None):
        yield card.task.words.limit
    if (half := card.facts.half_width) is not None and card.facts.coverage is not None:
        told = f"the validation split's numbers lay so near in {card.facts.coverage:.0%} of the cases"
        yield f"Its intervals reach {shown_value(half)} to both sides, whatever the input: {told}."
    if card.facts.pixels is not None:
        told = f"the values {PixelRange(*card.facts.pixels).in_words} became 0 to 255"
        yield f"Of greyscale images of more than 8 bits {told}: code without hftransfer must do the same first."
    train = list(card.counts.get("train", ()))
    if train and min(train) < _FEW:
        name = plain_text(card.class_names[train.index(min(train))])
        yield f"Few examples to learn from: `{name}` has {min(train)}."
    if train and max(train) > _UNEVEN * max(1, min(train)):
        yield f"Classes are uneven in training, {min(train)} to {max(train)} examples: the rare ones do worse."
    if (error := card.scores.get("expected_calibration_error", 0.0)) > _OFF:
        yield f"Its probabilities are {error:.2f} off on average: don't read them as frequencies."
    if confused := _most_confused(card):
        yield confused
    if len(card.task.reader.fields) == 1 and card.max_tokens and not getattr(card.task, "from_windows", False):
        yield f"It reads the first {card.max_tokens:,} tokens of a text."
    yield "What the base model learned before, with its errors and its licence, is still in it."


def _most_confused(card: Card) -> str | None:
    matrix = card.judged.get("confusion_matrix")
    if not matrix or len(card.class_names) < 3:
        return None
    # Off the diagonal alone: those on it are right.
    wrong, true, taken = max((n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j)
    names = [plain_text(card.class_names[index]) for index in (true, taken)]
    return f"Most often `{names[0]}` is taken for `{names[1]}` ({wrong} of {sum(matrix[true])})." if wrong else None


# --- use -------------------------------------------------------------------------------------------------------------


def _usage_section(card: Card, folder: Path) -> dict[str, object]:
    base = f'"{card.hub_id or "path/to/" + plain_text(card.bases[0])}"'
    recipe = printable(public_text(card.recipe).strip())
    parameters = card.metrics["parameters"]
    return {
        "native": _native(card, folder, base),
        "own": with_hftransfer(card.task, card.facts),
        "parameters": {f"{name}_text": f"{parameters[name]:,}" for name in ("trainable", "total")},
        "learned": "" if card.is_dual else _learned(card),
        "what_was_chosen": "the head's L2 strength" if card.metrics.get("objective") else "the best model",
        "hardware": _hardware(card),
        "has_recipe": bool(recipe),
        "recipe": "" if set("<>`") & set(recipe) else recipe,  # it lies beside the card in any case
        "citations": list(_citations(card)),
    }


def _native(card: Card, folder: Path, base: str) -> str:
    """Return how the model is used in plain Keras, torch, open_clip, peft or transformers."""
    if card.library == "keras":
        return keras_use(card.task, object_in(folder / "preprocessor_config.json"))
    if card.library == "pytorch":
        return module_use(card.task, object_in(folder / "config.json"))
    is_open_clip = (folder / "open_clip_config.json").is_file()
    if card.is_dual:
        return dual_use(is_open_clip=is_open_clip, pads_always=card.pads_always)
    text = native_use(card.task, card.facts, base, card.max_tokens, is_open_clip=is_open_clip)
    if not card.pads:
        text = text.replace("padding=True, ", "") + "\n\nGive it one text at a time: padding would change its scores."
    is_half = card.facts.pooling in ("mean", "cls", "last") and _is_encoder_alone(folder)
    return text.replace("AutoModel", "AutoModelForTextEncoding") if is_half else text


def _is_encoder_alone(folder: Path) -> bool:
    """Return whether a folder holds the encoder of a model that has a decoder, too, such as T5."""
    names = object_in(folder / "config.json").get("architectures")
    return isinstance(names, list) and any(str(name).endswith("EncoderModel") for name in names)


def _learned(card: Card) -> str:
    more = _LEARNED["contrastive"] if card.metrics.get("objective") else ""
    learned = _LEARNED[card.metrics["strategy"]]
    if card.task.lora_use(None):  # its head is the pretrained model's own
        learned = learned.replace(", and the head", "").replace("The head and ", "")
    kept = KEPT_START if start_is_kept(card.metrics) else ""
    return " ".join(part for part in (learned + more, kept, refit_in_words(card.metrics)) if part)


def _hardware(card: Card) -> str:
    said = card.environment
    if not said:
        return ""
    seconds, memory = card.metrics.get("seconds", {}).get("total"), card.metrics.get("peak_memory_bytes")
    parts = [f"{said.get('device', 'cpu')}, {said.get('precision', 'fp32')}", counted(said.get("threads", 1), "thread")]
    parts += [f"took {duration(seconds)}"] if seconds else []
    parts += [f"at most {memory / 2**30:.1f} GiB of memory"] if memory else []
    began = f" Started {moment(said['started'])}." if said.get("started") else ""
    libraries = ", ".join(f"{name} {said['versions'][name]}" for name in ("torch", "transformers"))
    return f"Hardware and time: {', '.join(parts)}.{began} With {libraries}."


def _papers_of(card: Card) -> list[tuple[str, str, str, str]]:
    names = ["towers"] if card.is_dual else []
    names += ["lora"] if card.metrics["strategy"] == "lora" else []
    names += ["contrastive"] if card.metrics.get("objective") else []
    names += ["interpolate"] if "learned" in (card.metrics.get("zero_shot") or {}) else []
    return [_PAPERS[name] for name in names]


def _citations(card: Card) -> Iterator[str]:
    yield f"@software{{hftransfer, title = {{hftransfer}}, version = {{{card.version}}}}}"
    for arxiv, key, authors, title in _papers_of(card):
        yield (
            f"@misc{{{key}, author = {{{authors}}}, title = {{{title}}}, year = {{20{arxiv[:2]}}}, "
            f"eprint = {{{arxiv}}}, archivePrefix = {{arXiv}}}}"
        )


# --- harmless text ---------------------------------------------------------------------------------------------------


def _safe_markdown(text: str | None) -> str:
    """Return a person's own words on the model: Markdown, but neither HTML nor what could be taken for metadata."""
    if not text:
        return ""
    lines = (printable(re.sub(r"[<>]", "", line).rstrip()) for line in text.strip().splitlines())
    return "\n".join(line for line in lines if line.strip("- ") or not line.strip())
