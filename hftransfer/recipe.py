"""A recipe: the settings of all rooms composed, read from YAML 1.2, overridden, and every fault told at once."""

from __future__ import annotations

import difflib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from hftransfer.base.errors import RecipeError, must_be, nearest, user_path
from hftransfer.base.plain import JsonObject
from hftransfer.base.run_folder import HubSettings, OutputSettings
from hftransfer.base.shipped import shipped_recipes
from hftransfer.base.yaml_values import plain_copy, scalar
from hftransfer.data.settings import DataSettings
from hftransfer.strategies import CONTRASTIVE, STRATEGIES, LinearProbe, Strategy, nearest_strategy, strategy_of
from hftransfer.tasks import TASKS
from hftransfer.tasks.contract import OPTIONAL_KEYS, Task
from hftransfer.training.settings import TrainSettings

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

OTHER_TASKS = (
    *("any-to-any", "audio-classification", "audio-text-to-text", "audio-to-audio", "automatic-speech-recognition"),
    *("depth-estimation", "document-question-answering", "feature-extraction", "fill-mask", "graph-ml"),
    *("image-captioning", "image-feature-extraction", "image-text-to-image", "image-to-3d"),
    *("image-text-to-text", "image-to-image", "image-to-text", "image-to-video", "instance-segmentation"),
    *("keypoint-detection", "mask-generation", "multiple-choice"),
    *("object-detection", "panoptic-segmentation", "reinforcement-learning", "robotics"),
    *("sentence-similarity", "sentiment-analysis", "summarization", "table-question-answering", "text-ranking"),
    *("tabular-classification", "tabular-regression", "text-to-3d", "text-to-audio"),
    *("text-to-image", "text-to-speech", "text-to-video", "text2text-generation", "time-series-forecasting"),
    *("translation", "unconditional-image-generation", "video-classification"),
    *("video-text-to-text", "visual-document-retrieval", "visual-question-answering", "voice-activity-detection"),
    *("zero-shot-audio-classification", "zero-shot-classification", "zero-shot-object-detection"),
)
"""Tags of the Hub, and other names of tasks, that people ask for and that are not ours."""
OTHER_NAMES = {
    **dict.fromkeys(
        ("ner", "named-entity-recognition", "part-of-speech", "pos", "pos-tagging"), "token-classification"
    ),
    **dict.fromkeys(("semantic-segmentation", "segmentation"), "image-segmentation"),
    **dict.fromkeys(("causal-lm", "language-modeling", "sft", "instruction-tuning", "chat"), "text-generation"),
}
"""Other names of tasks that are ours."""
_MOST_BYTES = 1 << 20
_LONGEST_SHOWN = 80
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
}

LOCAL_PREFIXES = ("open_clip:local-dir:", "keras:local-dir:")
"""What stands before the path of a model that another library than transformers reads."""

T = TypeVar("T")
Path_ = tuple[str, ...]


class ModelSettings(BaseModel):
    """The pretrained model, or a pair of towers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra=lambda schema: schema.pop("required", None),  # or a pair of towers
    )

    name: str = Field(min_length=1, description="Hub id, local folder or bundled/<name>")
    revision: str | None = Field(None, description="branch, tag or commit of a Hub id")
    weights: Literal["imagenet", "none"] | None = Field(
        None, description="of keras:NAME: imagenet, or none for random weights; imagenet if left out"
    )
    image: str | None = Field(None, min_length=1, description="of image-text: an image backbone, with text beside it")
    text: str | None = Field(None, min_length=1, description="of image-text: a text backbone, with image beside it")
    width: int = Field(256, ge=1, le=65536, description="of a pair of towers: the dimensions of their common space")

    @model_validator(mode="before")
    @classmethod
    def _pair_named(cls, value: object) -> object:
        """Name a pair of towers by both of its names."""
        if isinstance(value, dict) and "name" not in value and value.get("image") and value.get("text"):
            return {"name": f"{value['image']} + {value['text']}", **value}
        return value

    @model_validator(mode="before")
    @classmethod
    def _weights_in_name(cls, value: object) -> object:
        """Let the name of a network of Keras tell its weights, as it is written for other commands: keras:NAME/none."""
        if not isinstance(value, dict) or value.get("weights") not in ("imagenet", "none"):
            return value
        name, weights = str(value.get("name", "")), value["weights"]
        if name.startswith("keras:") and "/" not in name and not name.startswith(LOCAL_PREFIXES):
            return {**value, "name": f"{name}/{weights}"}
        return value

    @model_validator(mode="after")
    def _weights_of_keras_alone(self) -> ModelSettings:
        if self.weights is not None and not re.fullmatch(rf"keras:\w+/{self.weights}", self.name):
            remedy = "Other models bring their own."
            raise ValueError(must_be("weights", "left out unless the model is keras:NAME", self.weights, remedy))
        return self

    @property
    def is_pair(self) -> bool:
        """Return whether two towers are given."""
        return bool(self.image and self.text)


class CompareSettings(BaseModel):
    """The runs of `hftransfer compare`: every strategy with every model, seed and number of shots."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategies: tuple[str, ...] = Field(
        ("linear-probe", "fine-tune:2", "lora:8"), min_length=1, description="in short, as in lora:8 or fine-tune:all"
    )
    models: tuple[str, ...] = Field((), description="names of models; the recipe's own if left out")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="each makes a split and a training of its own")
    shots: tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...] = Field(
        (), description="training examples of each class, or all; as in data.shots if left out"
    )
    margin_points: float = Field(
        1.0, gt=0, lt=100, description="a cheaper strategy is advised if it is shown to lose less than so many points"
    )

    @field_validator("strategies")
    @classmethod
    def _are_strategies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        faults: list[str] = []
        for short in value:
            try:
                strategy_of(short)
            except RecipeError as error:
                faults += error.faults
        if faults:
            raise ValueError("; ".join(faults))
        return value

    @field_validator("strategies", "models", "seeds", "shots")
    @classmethod
    def _differ(cls, value: tuple[T, ...]) -> tuple[T, ...]:
        twice = [str(one) for one in dict.fromkeys(value) if value.count(one) > 1]
        if twice:
            raise ValueError(must_be("the values", "different", f"{', '.join(twice)} twice"))
        return value


class ResolvedFacts(BaseModel):
    """The weights, data and version of a run; written by it, and compared when its recipe is run again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights_sha256: str
    model_revision: str | None = None
    data_fingerprint: str
    hftransfer_version: str


class Recipe(BaseModel):
    """A transfer: which model, onto which data, how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(
        description="a pipeline tag of the Hub", json_schema_extra=lambda schema: schema.update(enum=[*TASKS])
    )
    model: ModelSettings = Field(description="a name, or {name: …, revision: …}")
    data: DataSettings = Field(description="where the examples are")
    strategy: Strategy = Field(LinearProbe(), description="what learns: a kind, or {kind: …, …}")
    train: TrainSettings = Field(TrainSettings(), description="how the computation goes")
    prompts: str | list[str] | None = Field(
        None,
        description="of zero-shot, and of a head that begins with it: templates such as 'a photo of a {}.', or a set "
        "(simple, openai-7, openai-80, cifar, pets, food, flowers); simple if left out",
    )
    class_names: dict[str, str] | list[str] | None = Field(
        None, description="beside prompts: what classes are called in them, by class or in their order"
    )
    compare_prompts: bool = Field(False, description="of zero-shot: tell which templates help and which harm")
    zero_shot_data: str | None = Field(
        None, min_length=1, description="of image-text: labelled images that are told apart by class names afterwards"
    )
    compare: CompareSettings | None = Field(None, description="what `hftransfer compare` compares; of no use to a run")
    output: OutputSettings = Field(OutputSettings(), description="where the results go")
    hub: HubSettings = Field(HubSettings(), description="where on the Hub the model goes, if it should")
    resolved: ResolvedFacts | None = Field(None, description="written by a run: compared when it is repeated")

    @model_validator(mode="before")
    @classmethod
    def _usual_of_task(cls, values: object) -> object:
        """Add the settings of `train:` that a task wants where they aren't given."""
        if not isinstance(values, dict) or not isinstance(values.get("task"), str) or values["task"] not in TASKS:
            return values
        task = TASKS[values["task"]]
        given, strategy = values.get("train", {}), _spelled_out(values.get("strategy", "linear-probe"))
        kind = strategy.get("kind", "linear-probe") if isinstance(strategy, dict) else strategy
        usual = task.usual_train(str(kind))
        return {**values, "train": {**usual, **given} if isinstance(given, dict) else given} if usual else values

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        if value not in TASKS:
            raise PydanticCustomError("unknown_task", "no task of ours")
        return value

    @property
    def chosen_task(self) -> Task:
        """The task of this name, as it is for such data."""
        return TASKS[self.task].for_settings(self.data)

    @field_validator("model", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("strategy", mode="before")
    @classmethod
    def _kind_alone(cls, value: object) -> object:
        return _spelled_out(value)

    @field_validator("data", mode="before")
    @classmethod
    def _source_alone(cls, value: object) -> object:
        return {"source": value} if isinstance(value, str) else value


_PATHS: tuple[Path_, ...] = (
    *(("data",), ("data", "source"), ("zero_shot_data",)),
    *(("model",), ("model", "name"), ("model", "image"), ("model", "text")),
)


def _prefix_of(name: str) -> str:
    """Return what stands before the path in the name of a model on this disk."""
    return next((prefix for prefix in LOCAL_PREFIXES if name.startswith(prefix)), "")


def _from_folder(value: str, folder: Path) -> str:
    """Return a relative path as it is from the current folder, if it leads somewhere from another one; else as it
    stands."""
    before = _prefix_of(value)
    path = value.removeprefix(before)
    try:
        here = Path(path).is_absolute() or path.startswith("~") or not (folder / path).exists()
    except (OSError, ValueError):  # a name too long, or with a NUL character
        here = True
    if here or path == "memory" or folder.resolve() == Path.cwd():
        return value
    return before + os.path.normpath(folder / path)


def seen_from(recipe: Recipe, folder: Path) -> Recipe:
    """Return the same recipe, whose relative paths of data and models on this disk are those from a folder."""

    def way(value: str | None) -> str | None:
        before = _prefix_of(str(value))
        path = Path(str(value).removeprefix(before))
        if value is None or value == "memory" or path.is_absolute() or not path.exists():
            return value
        try:
            return before + Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
        except ValueError:  # on another drive
            return before + str(path.resolve())

    model = recipe.model.model_copy(update={name: way(getattr(recipe.model, name)) for name in ("image", "text")})
    model = model.model_copy(update={"name": way(model.name)})
    data = recipe.data.model_copy(update={"source": way(recipe.data.source)})
    return recipe.model_copy(update={"model": model, "data": data, "zero_shot_data": way(recipe.zero_shot_data)})


def _spelled_out(strategy: object) -> object:
    """Return the settings of a strategy that may be written in short, as `fine-tune:2` is; what is none as it is."""
    settings = {"kind": strategy} if isinstance(strategy, str) else strategy
    if not isinstance(settings, dict):
        return settings
    kind = settings.get("kind", "linear-probe")  # settings alone are those of the default strategy
    if isinstance(kind, str) and (":" in kind or kind == CONTRASTIVE):
        with suppress(RecipeError):  # what is wrong is told with the other faults
            return {**strategy_of(kind), **{name: value for name, value in settings.items() if name != "kind"}}
    return {"kind": "linear-probe", **settings}


_SHORT: dict[Path_, str] = {("model",): "name", ("strategy",): "kind", ("data",): "source"}


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with its name, and where each given value came from: `recipe` or `override`."""

    recipe: Recipe
    name: str
    origins: dict[Path_, str] = field(default_factory=dict)


def load_recipe(
    source: str | Path | Mapping[str, object],
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    folder: Path | None = None,
) -> LoadedRecipe:
    """Return the recipe at a path, of a shipped name, or in a mapping, with `a.b=value` and `~a.b` overrides.

    Overrides may also be a mapping of dotted keys to values. Paths of data and models in a file count from its folder
    (where there is none, from the current one, as those of overrides do); those of a mapping from `folder`, if given.

    Raises:
        RecipeError: there is no such recipe, or it has faults; all of them are told.
    """
    if isinstance(source, Mapping):
        try:
            document = _Document(plain_copy(source), {}, "recipe")
        except RecursionError:
            raise RecipeError(must_be("the recipe", "a mapping", "too many nested levels")) from None
        name = "recipe"
        faults: list[str] = []
        if folder is not None:
            document.count_paths_from(folder)
    else:
        given: object = source
        if not isinstance(given, str | os.PathLike):
            got = type(given).__name__
            raise RecipeError(must_be("the recipe", "a path, the name of a shipped recipe or a mapping", got))
        path = find_recipe(source)
        document, faults = _read(path)
        document.count_paths_from(path.parent)
        # A run's own copy lies in <recipe>/<time>/recipe.yaml: the upper folder names it.
        name = path.stem if path.name != "recipe.yaml" else path.resolve().parent.parent.name or "recipe"
    document.apply(overrides, faults)
    recipe = _validated(document, faults)
    if faults or recipe is None:
        raise RecipeError(*faults)
    return LoadedRecipe(recipe, name, document.origins())


def with_memory(
    overrides: Mapping[str, object] | Sequence[str], data: object, model: str | None = None
) -> Mapping[str, object] | Sequence[str]:
    """Return the overrides, with names for data and a model that are given as Python objects."""
    named = {**({} if data is None else {"data.source": "memory"}), **({} if model is None else {"model": model})}
    if isinstance(overrides, Mapping):
        return {**named, **overrides}
    return [*(f"{key}={name}" for key, name in named.items()), *overrides]


def find_recipe(source: str | Path) -> Path:
    """Return the file of a recipe given by path or shipped name.

    Raises:
        RecipeError: there is none.
    """
    path = user_path(source, "the recipe", RecipeError)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(source) in shipped:
        return shipped[str(source)]
    if path.is_dir():
        inside = path / "recipe.yaml"
        if inside.is_file():
            return inside
        raise RecipeError(must_be("the recipe", "a YAML file", f"the folder '{source}'"))
    remedy = nearest(path.stem, shipped)
    raise RecipeError(must_be("the recipe", "an existing file or the name of a shipped recipe", f"'{source}'", remedy))


def recipe_schema() -> JsonObject:
    """Return the JSON Schema of recipes, for completion in editors."""
    schema = Recipe.model_json_schema()
    for path, key in _SHORT.items():
        described = schema["properties"][path[0]]
        reference = {name: value for name, value in described.items() if name in ("$ref", "allOf")}
        # Each of these may be given in short, by one text.
        described["anyOf"] = [{"type": "string", "title": f"{key} alone"}, reference]
        for name in reference:
            described.pop(name)
    return schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def recipe_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML with every default spelled out; reading it gives the same recipe."""
    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    buffer = io.StringIO()
    values = plain_settings(recipe)
    writer.dump(values, buffer)
    return buffer.getvalue()


def settings_with_origin(loaded: LoadedRecipe) -> list[tuple[str, object, str]]:
    """Return every setting as (dotted key, value, `recipe` | `default` | `override`)."""
    return [
        (key, value, _origin(loaded.origins, tuple(key.split("."))))
        for key, value in flat_settings(loaded.recipe).items()
    ]


def changed_settings(loaded: LoadedRecipe) -> list[tuple[str, str]]:
    """Return the lines of a recipe with the settings alone that differ from the defaults, each with its origin; that
    of a section's heading is empty. What a recipe must have is kept."""
    recipe = loaded.recipe
    least = {"task": recipe.task, "strategy": {"kind": recipe.strategy.kind}}
    needed = {("task",), ("model", "name"), ("data", "source"), ("strategy", "kind")}
    usual: JsonObject = {}
    # Where a task needs more than that, what the recipe says is told, default or not.
    with suppress(RecipeError):
        named = {"model": {"name": recipe.model.name}, "data": {"source": recipe.data.source}}
        usual = plain_settings(load_recipe({**least, **named}).recipe)

    def walk(values: Mapping[str, object], defaults: object, above: Path_) -> Iterator[tuple[str, str]]:
        for key, value in values.items():
            here = (*above, key)
            default = defaults.get(key, _ABSENT) if isinstance(defaults, Mapping) else _ABSENT
            origin, indent = _origin(loaded.origins, here), "  " * len(above)
            if isinstance(value, dict) and value:
                inside = list(walk(value, default, here))
                yield from [(f"{indent}{_key(key)}:", ""), *inside] if inside else []
            elif origin != "default" and (value != default or here in needed) and here[0] != "resolved":
                yield f"{indent}{_key(key)}: {json.dumps(value, ensure_ascii=False)}", origin

    return list(walk(plain_settings(recipe), usual, ()))


def _key(name: str) -> str:
    """Return a key as YAML reads it back."""
    return name if re.fullmatch(r"[A-Za-z_][\w-]*", name) and name.lower() not in _NO_KEYS else json.dumps(name)


_ABSENT = object()
_NO_KEYS = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")


def plain_settings(recipe: Recipe) -> JsonObject:
    """Return the settings of a recipe that its task has, as nested plain values."""
    values = recipe.model_dump(mode="json")
    if values["resolved"] is None:
        del values["resolved"]
    task, keys = recipe.chosen_task, set(recipe.chosen_task.keys)
    if recipe.strategy.from_zero_shot:
        keys |= {"prompts", "class_names"}
    if task.losses:
        keys.add("train.loss")
    absent = OPTIONAL_KEYS - keys
    kept = {name: value for name, value in values.items() if name not in absent}
    for section in ("train", "model"):
        kept[section] = {name: value for name, value in kept[section].items() if f"{section}.{name}" not in absent}
    return kept


def flat_settings(recipe: Recipe) -> JsonObject:
    """Return every setting by its dotted key, as a plain value."""

    def walk(values: Mapping[str, object], above: Path_) -> Iterator[tuple[str, object]]:
        for key, value in values.items():
            here = (*above, key)
            if isinstance(value, dict):
                yield from walk(value, here)
            elif here[0] != "resolved" or value is not None:
                yield ".".join(here), value

    return dict(walk(plain_settings(recipe), ()))


def _origin(origins: Mapping[Path_, str], key: Path_) -> str:
    if key in origins:
        return origins[key]
    above = key[:-1]
    return origins.get(above, "default") if _SHORT.get(above) == key[-1] else "default"


# --- reading YAML ----------------------------------------------------------------------------------------------------


@dataclass
class _Document:
    """Plain values, the line of each key in its file, and the keys that overrides set."""

    values: JsonObject
    lines: dict[Path_, int]
    file: str
    overridden: dict[Path_, str | None] = field(default_factory=dict)

    def where(self, key: Path_) -> str:
        """Return `file:line: dotted.key`, or the override that set it."""
        shown = _dotted(key)
        for length in range(len(key), 0, -1):
            if key[:length] in self.overridden:
                return f"override {shown}"
            if key[:length] in self.lines:
                return f"{self.file}:{self.lines[key[:length]]}: {shown}"
        above_an_override = any(given[: len(key)] == key for given in self.overridden)
        return f"override {shown}" if above_an_override else f"{self.file}: {shown}"

    def count_paths_from(self, folder: Path) -> None:
        """Make those paths of data and models that lead somewhere from the file's folder lead there from here."""
        for key in _PATHS:
            inside = self._section_of(key)
            if inside is not None and isinstance(inside.get(key[-1]), str):
                inside[key[-1]] = _from_folder(inside[key[-1]], folder)

    def origins(self) -> dict[Path_, str]:
        given = dict.fromkeys(self.lines, "recipe")
        if not self.lines:
            given = dict.fromkeys(_leaves(self.values), "recipe")
        return given | dict.fromkeys(self.overridden, "override")

    def apply(self, overrides: Sequence[str] | Mapping[str, object], faults: list[str]) -> None:
        """Set and drop keys, noting overrides that can't be read."""
        if isinstance(overrides, Mapping):
            for name, value in overrides.items():
                try:
                    raw = None if isinstance(value, list | dict) else str(value)
                    self._set(tuple(str(name).split(".")), plain_copy(value), raw, faults)
                except RecursionError:
                    faults.append(must_be(f"override {_cut(str(name))}", "a value", "too many nested levels"))
            return
        if isinstance(overrides, str) or not isinstance(overrides, Iterable):
            faults.append(must_be("the overrides", "a mapping, or a list of key=value", _shown(overrides)))
            return
        listed: Iterable[object] = overrides
        for text in listed:
            if not isinstance(text, str):
                faults.append(must_be("an override", "key=value or ~key", _shown(text)))
                continue
            key, equals, raw = text.partition("=")
            if key.startswith("~") and not equals:
                self._drop(tuple(key[1:].split(".")), faults)
            elif not equals or not all(key.split(".")):
                faults.append(must_be("an override", "key=value or ~key", f"'{_cut(text)}'"))
            else:
                try:
                    self._set(tuple(key.split(".")), scalar(raw), raw, faults)
                except RecursionError:
                    faults.append(must_be(f"override {_cut(key)}", "a value", "too many nested levels"))

    def _set(self, key: Path_, value: object, raw: str | None, faults: list[str]) -> None:
        inside = self.values
        for depth, part in enumerate(key[:-1], start=1):
            below = inside.get(part)
            if below is None:
                below = inside[part] = {}
            elif not isinstance(below, dict):
                short = _SHORT.get(key[:depth])
                if short is None:
                    faults.append(
                        must_be(
                            f"override {_dotted(key)}",
                            f"inside a section, but {_cut(part)} is a single value",
                            _shown(below),
                        )
                    )
                    return
                # A section given by one value in short, as `model: name`, is spelled out for its other keys.
                below = inside[part] = {short: below}
                if key[:depth] in self.lines:
                    self.lines[(*key[:depth], short)] = self.lines[key[:depth]]
            inside = below
        inside[key[-1]] = value
        self.overridden[key] = raw
        self._forget(key)

    def _drop(self, key: Path_, faults: list[str]) -> None:
        inside = self._section_of(key)
        if inside is None or key[-1] not in inside:
            known = [_dotted(leaf) for leaf in _leaves(self.values)]
            faults.append(must_be(f"~{_dotted(key)}", "a key of the recipe", "none", nearest(_dotted(key), known)))
            return
        del inside[key[-1]]
        self._forget(key)

    def _section_of(self, key: Path_) -> JsonObject | None:
        """Return the section that holds a key; None where there is none."""
        inside: Any = self.values
        for part in key[:-1]:
            inside = inside.get(part) if isinstance(inside, dict) else None
        return inside if isinstance(inside, dict) else None

    def _forget(self, key: Path_) -> None:
        """Forget what the file said of a key and of those below it."""
        self.lines = {path: line for path, line in self.lines.items() if path[: len(key)] != key}


def _read(path: Path) -> tuple[_Document, list[str]]:
    """Return the document in a YAML file, and its faults of form: duplicate keys, tags, aliases.

    Raises:
        RecipeError: the file is no YAML mapping at all.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import AliasEvent

    name = str(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RecipeError(must_be(name, f"a recipe of at most {_MOST_BYTES:,} bytes", f"{path.stat().st_size:,}"))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(must_be(name, "a readable UTF-8 file", str(error))) from error
    try:
        events = YAML(typ="safe", pure=True).parse(text) if "*" in text else ()  # of an alias; a second reading
        aliases = [event for event in events if isinstance(event, AliasEvent)]
        if aliases:
            line = aliases[0].start_mark.line + 1
            raise RecipeError(must_be(f"{name}:{line}", "plain values", "a YAML alias", "Write the value out."))
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(must_be(f"{name}:{line}", "valid YAML", error.problem or str(error))) from error
    except YAMLError as error:
        raise RecipeError(must_be(name, "valid YAML", str(error).splitlines()[0])) from error
    except RecursionError:
        raise RecipeError(must_be(name, "valid YAML", "too many nested levels")) from None
    if node is None or node.id != "mapping":
        raise RecipeError(must_be(name, "a mapping with the keys task, model, data", "none"))
    lines: dict[Path_, int] = {}
    faults: list[str] = []
    values = _plain_value(node, (), lines, faults, name)
    return _Document(values, lines, name), faults


def _plain_value(node: Node, key: Path_, lines: dict[Path_, int], faults: list[str], file: str) -> Any:
    """Return the value of a composed YAML node; keys' lines are noted, duplicate keys and foreign tags are faults."""
    if str(node.tag) not in _PLAIN_TAGS:
        where = f"{file}:{node.start_mark.line + 1}: {_dotted(key)}"
        faults.append(must_be(where, "a plain value", f"the YAML tag {_cut(str(node.tag))}"))
        return None
    if node.id == "mapping":
        values: JsonObject = {}
        for key_node, value_node in node.value:
            name = str(key_node.value)
            below = (*key, name)
            key_line = key_node.start_mark.line + 1
            if name in values:
                where = f"{file}:{key_line}: {_dotted(below)}"
                faults.append(must_be(where, "given once", f"a second time (first in line {lines[below]})"))
                continue
            lines[below] = key_line
            values[name] = _plain_value(value_node, below, lines, faults, file)
        return values
    if node.id == "sequence":
        return [_plain_value(item, key, lines, faults, file) for item in node.value]
    # A date stays text: recipes have no dates, but data may be called by one.
    is_text = str(node.tag).endswith((":str", ":timestamp"))
    return node.value if is_text else scalar(node.value)


def _leaves(values: Mapping[str, object], above: Path_ = ()) -> Iterator[Path_]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key)


# --- validating ------------------------------------------------------------------------------------------------------


def _validated(document: _Document, faults: list[str]) -> Recipe | None:
    """Return the recipe, or None with its faults added."""
    faults += _drop_unreadable(document, document.values, ())
    try:
        return Recipe.model_validate(document.values, context={})
    except ValidationError as error:
        # The values changed: all faults are found anew.
        if _retyped(document, error):
            return _validated(document, faults)
        told: dict[Path_, list[ErrorDetails]] = {}
        for fault in error.errors():
            told.setdefault(_path_of(fault), []).append(fault)
        # Of the forms of a value the one that got furthest was meant: its parts are told of, not that others don't fit.
        above = {key[:length] for key in told for length in range(1, len(key))}
        told = {key: ways for key, ways in told.items() if key not in above}
        faults += [
            _fault_in_words(document, ways[0]) if len(ways) == 1 else _union_fault_in_words(document, ways)
            for ways in told.values()
        ]
        return None


def _drop_unreadable(document: _Document, inside: JsonObject, above: Path_) -> list[str]:
    """Drop keys that are no Unicode (halves of surrogate pairs), and return what is to be told of them."""
    faults = []
    for key in list(inside):
        try:
            # A lone surrogate has no UTF-8: pydantic could not even tell of such a key.
            key.encode()
        except UnicodeEncodeError:
            where = document.where((*above, key))
            faults.append(must_be(where, "a key of Unicode text", f"the unknown key {_shown(key)}"))
            del inside[key]
            continue
        if isinstance(inside[key], dict):
            faults += _drop_unreadable(document, inside[key], (*above, key))
    return faults


def _retyped(document: _Document, error: ValidationError) -> bool:
    """Return whether overrides that YAML took for numbers, but the schema wants as text, were put back to text."""
    changed = False
    for fault in error.errors():
        key = _shown_key(tuple(str(part) for part in fault["loc"]))
        wants_text = fault["type"] == "string_type" or (key in _SHORT and fault["type"].startswith("model_"))
        if wants_text and document.overridden.get(key) is not None and not isinstance(fault["input"], str):
            inside = document.values
            for part in key[:-1]:
                inside = inside[part]
            inside[key[-1]] = document.overridden[key]
            changed = True
    return changed


def _fault_in_words(document: _Document, fault: ErrorDetails) -> str:
    """Return a fault of pydantic's in the house's form."""
    full = _path_of(fault)
    key = _shown_key(full)
    in_a_list = fault["loc"] and isinstance(fault["loc"][-1], int)
    key = key[:-1] if in_a_list else key
    where, got = document.where(key), _shown(fault["input"])
    context = fault.get("ctx", {})
    match fault["type"]:
        case "value_error":
            return f"{where}: {context['error']}"
        case "union_tag_invalid" | "union_tag_not_found":
            kind = fault["input"].get("kind") if isinstance(fault["input"], dict) else fault["input"]
            where = document.where((*key, "kind"))
            kinds = (*STRATEGIES, CONTRASTIVE)
            return must_be(where, " or ".join(kinds), _shown(kind), nearest_strategy(_cut(str(kind)), kinds))
        case "missing":
            return f"{document.file}: {'.'.join(key)} must be given. {_description(full)}".rstrip()
        case "extra_forbidden":
            known, last = _keys_of(full[:-1]), _cut(key[-1])
            section = _dotted(key[:-1]) or "a recipe"
            remedy = _meant(key, known) or nearest(last, known)
            return must_be(where, f"a key of {section}", f"the unknown key '{last}'", remedy)
        case "unknown_task":
            later = f"'{fault['input']}', which hftransfer does not support yet"
            meant = OTHER_NAMES.get(fault["input"], _cut(fault["input"]))
            got, remedy = (later, "") if fault["input"] in OTHER_TASKS else (got, nearest(meant, TASKS))
            return must_be(where, " or ".join(TASKS), got, remedy)
        case "string_type" if full == ("task",):
            return must_be(where, " or ".join(TASKS), got)
        case "literal_error":
            allowed = [str(option) for option in _options(full)] or [str(context.get("expected"))]
            remedy = (
                nearest(_cut(str(fault["input"])), allowed)
                if len(allowed) > 1 or _close(fault["input"], allowed)
                else ""
            )
            return must_be(where, " or ".join(allowed), got, remedy)
        case "model_type" | "model_attributes_type" | "dict_type" if known := _keys_of(full):
            return must_be(where, f"a section with the keys {', '.join(known)}", got)
        case _:
            return must_be(where, _allowed(fault), got, _description(full))


def _union_fault_in_words(document: _Document, ways: Sequence[ErrorDetails]) -> str:
    """Return one sentence for a value that fits none of the forms a key may have."""
    full = _path_of(ways[0])
    key = _shown_key(full)
    allowed = " or ".join(dict.fromkeys(_allowed(fault) for fault in ways))
    return must_be(document.where(key), allowed, _shown(ways[0]["input"]), _description(full))


_BOUNDS = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "string_too_short": "a non-empty text",
    "too_short": "a non-empty list",
}
_TYPES = {
    "list": "a list",
    "tuple": "a list",
    "dict": "a section of names and values",
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}


def _allowed(fault: ErrorDetails) -> str:
    if fault["type"] in _BOUNDS:
        return _BOUNDS[fault["type"]].format(**fault.get("ctx", {}))
    return _TYPES.get(fault["type"].split("_")[0], str(fault["msg"]).removeprefix("Input should be ").lower())


def _path_of(fault: ErrorDetails) -> Path_:
    """Return the keys down to what a fault of pydantic's is told of, without the forms of a value that it puts among
    them."""
    own = 1 if fault["type"] == "extra_forbidden" else 0  # a key that a person made up may look like such a form
    before, last = fault["loc"][: len(fault["loc"]) - own], fault["loc"][len(fault["loc"]) - own :]
    return tuple(str(part) for part in (*(part for part in before if not _is_union_tag(part)), *last))


def _is_union_tag(part: object) -> bool:
    starts = ("literal[", "function-", "constrained-", "list[", "dict[")
    return isinstance(part, str) and (part.startswith(starts) or part in ("float", "int", "str", "bool"))


def _shown_key(key: Path_) -> Path_:
    """Return a key as the user wrote it: without the kind of strategy that pydantic puts after `strategy`."""
    return (key[0], *key[2:]) if len(key) > 1 and key[0] == "strategy" and key[1] in STRATEGIES else key


def _model_at(key: Path_) -> type[BaseModel] | None:
    """Return the settings class of a section."""
    model: type[BaseModel] = Recipe
    for part in key:
        if part in STRATEGIES:
            model = STRATEGIES[part]
            continue
        if part not in model.model_fields:
            return None
        annotation = model.model_fields[part].annotation
        # A section may be optional: its class is then one of several types.
        candidates = [annotation, *get_args(annotation)]
        below = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if below is None:
            return None
        model = below
    return model


def _keys_of(key: Path_) -> list[str]:
    model = _model_at(key)
    return list(model.model_fields) if model else []


def _meant(key: Path_, known: Sequence[str]) -> str:
    """Return `Did you mean strategy.learning_rate?` for a key that another section has, whatever others call it; ""
    where there is none, or one of the keys `known` in its own section is meant."""
    last = key[-1]
    if difflib.get_close_matches(last, known, n=1, cutoff=_MISSPELT):
        return ""  # a slip of the pen is nearer than another section
    places: dict[str, Path_] = {
        name: (section, name) for section in ("data", "train", "output", "hub") for name in _keys_of((section,))
    }
    for kind in STRATEGIES:
        own = _keys_of(("strategy", kind))
        if key == ("strategy", last) and last in own:
            return f"It is a key of strategy {kind}."
        places |= {name: ("strategy", name) for name in own if name != "kind"}
    places |= {name: (name,) for name in Recipe.model_fields if name != "resolved"}
    name = SHORT_NAMES.get(last, last).replace("-", "_")
    found = places.get(name)
    if found is None and len(last) >= _LONG_ENOUGH:
        close = difflib.get_close_matches(last, places, n=1, cutoff=_MISSPELT)
        found = places[close[0]] if close else None
    return f"Did you mean {'.'.join(found)}?" if found is not None and found != key else ""


SHORT_NAMES = {
    **dict.fromkeys(("lr", "learning-rate"), "learning_rate"),
    **dict.fromkeys(("bs", "batch", "per_device_train_batch_size"), "batch_size"),
    **dict.fromkeys(("num_epochs", "num_train_epochs", "epoch", "max_epochs"), "epochs"),
    **dict.fromkeys(("r", "lora_rank", "lora_r"), "rank"),
    **dict.fromkeys(("lora_alpha",), "alpha"),
    **dict.fromkeys(("lora_dropout",), "dropout"),
    **dict.fromkeys(("target_modules",), "targets"),
    **dict.fromkeys(("dataset", "data_dir", "path"), "source"),
    **dict.fromkeys(("val_fraction", "val_split", "validation_split_fraction"), "validation_fraction"),
    **dict.fromkeys(("max_length", "max_seq_length"), "max_tokens"),
    **dict.fromkeys(("random_seed", "random_state"), "seed"),
    **dict.fromkeys(("dtype", "mixed_precision"), "precision"),
    **dict.fromkeys(("wd",), "weight_decay"),
}
"""What people call keys of ours, and other trainers do."""
_MISSPELT = 0.8
_LONG_ENOUGH = 4


def _options(key: Path_) -> list[str]:
    # The number of an entry in a list is no key of the schema.
    key = key[:-1] if key[-1].isdigit() else key
    model = _model_at(key[:-1])
    if model is None or key[-1] not in model.model_fields:
        return []
    forms = get_args(model.model_fields[key[-1]].annotation)
    return [option for form in forms for option in (form, *get_args(form)) if isinstance(option, str)]


def _close(given: object, allowed: Sequence[str]) -> bool:
    return bool(difflib.get_close_matches(_cut(str(given)), allowed, n=1))


def _description(key: Path_) -> str:
    model = _model_at(key[:-1])
    if model is None or key[-1] not in model.model_fields:
        return ""
    text = model.model_fields[key[-1]].description or ""
    return f"({text})" if text else ""


def _shown(value: object) -> str:
    try:
        return _cut(repr(value))
    except RecursionError:
        return "too many nested levels"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _dotted(key: Path_) -> str:
    return _cut(".".join(key))
