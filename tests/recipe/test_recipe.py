"""Recipes: YAML 1.2, overrides typed by the schema, and every fault told at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hftransfer.base.errors import RecipeError
from hftransfer.base.shipped import shipped_recipes
from hftransfer.data.settings import DataSettings
from hftransfer.jobs.run import run
from hftransfer.recipe import (
    LoadedRecipe,
    Recipe,
    find_recipe,
    flat_settings,
    load_recipe,
    recipe_schema,
    recipe_yaml,
    settings_with_origin,
)
from hftransfer.strategies import LinearProbe
from hftransfer.tasks import TASKS
from tests.builders import faults_of, missing_words, write_tiny_writer

WHOLE = """\
task: image-classification
model: some/model
data: some/data
"""


def _l2(recipe: Recipe) -> object:
    assert isinstance(recipe.strategy, LinearProbe)
    return recipe.strategy.l2


@pytest.fixture
def written(tmp_path):
    def write(text: str, name: str = "mine.yaml") -> Path:
        path: Path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def told(path: Any, overrides: Any = ()) -> str:
    """The faults of a recipe that can't be followed."""
    with pytest.raises(RecipeError) as error:
        load_recipe(path, overrides)
    return faults_of(error)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_short_forms_stand_for_sections(written):
    recipe = load_recipe(written(WHOLE + "strategy: linear-probe\n")).recipe
    assert recipe.model.name == "some/model"
    assert recipe.data.source == "some/data"
    assert recipe.strategy.kind == "linear-probe"


def test_what_is_left_out_gets_its_default(written):
    recipe = load_recipe(written(WHOLE)).recipe
    assert recipe.train.seed == 0
    assert recipe.train.precision == "auto"
    assert _l2(recipe) == "auto"
    assert recipe.data.on_error == "stop"
    assert recipe.output.folder == "runs"


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-4", 5e-4), ("1.e-3", 1e-3), ("0.5", 0.5), ("1", 1.0), ("1E-2", 1e-2)],
)
def test_numbers_are_those_of_yaml_1_2(written, text, value):
    loaded = load_recipe(written(WHOLE + f"strategy: {{kind: linear-probe, l2: {text}}}\n"))
    assert _l2(loaded.recipe) == value


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "NO", "y"])
def test_words_that_yaml_1_1_took_for_booleans_stay_text(written, word):
    text = f"task: image-classification\nmodel: m/m\ndata: {{source: s, label_column: {word}, image_column: {word}}}\n"
    recipe = load_recipe(written(text)).recipe
    assert recipe.data.label_column == word
    assert recipe.data.image_column == word


@pytest.mark.parametrize("text", ["2024-01-01", "12:30:45", "0777x", "1_000x"])
def test_text_that_other_yaml_takes_for_dates_stays_text(written, text):
    recipe = load_recipe(written(f"task: image-classification\nmodel: {{name: m, revision: {text}}}\ndata: d\n")).recipe
    assert recipe.model.revision == text


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "bom.yaml").write_text(WHOLE, encoding="utf-8-sig")
    assert load_recipe(tmp_path / "bom.yaml").recipe.task == "image-classification"


def test_a_mapping_is_a_recipe_too():
    loaded = load_recipe({"task": "image-classification", "model": "m", "data": {"source": "s"}})
    assert loaded.recipe.model.name == "m"
    assert loaded.name == "recipe"


def test_the_callers_mapping_is_left_alone():
    given: dict[str, Any] = {
        "task": "image-classification",
        "model": "m",
        "data": {"source": "s"},
        "train": {"seed": 1},
    }
    load_recipe(given, {"train.seed": 2, "data.limit": 3, "model.revision": "v1"})
    assert given == {
        "task": "image-classification",
        "model": "m",
        "data": {"source": "s"},
        "train": {"seed": 1},
    }


def test_a_recipe_is_named_after_its_file(written):
    assert load_recipe(written(WHOLE, "pets.yaml")).name == "pets"


def test_the_recipe_of_a_run_folder_is_named_after_the_recipe(tmp_path):
    folder = tmp_path / "runs" / "pets" / "20260101-000000"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(WHOLE)
    assert load_recipe(folder).name == "pets"
    assert load_recipe(folder / "recipe.yaml").name == "pets"


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "key", "value", "fault"),
    [
        ("train", "refit", "maybe", "train.refit must be 'auto' or true or false; got 'maybe'."),
        ("train", "class_weights", "ot", "must be 'none' or 'auto' or a section of names and values; got 'ot'."),
        ("data", "shots", [1, "z"], "data.shots must be a whole number; got 'z'."),
        ("data", "ignore_value", [1, "z"], "data.ignore_value must be a whole number; got 'z'."),
        ("compare", "seeds", "x", "compare.seeds must be a list; got 'x'."),
        ("compare", "seeds", [{"b": 1}], "compare.seeds must be a whole number; got {'b': 1}."),
    ],
)
def test_of_a_value_that_may_have_several_forms_one_fault_is_told(section, key, value, fault):
    recipe: dict[str, Any] = {"task": "image-classification", "model": "m", "data": {"source": "s"}}
    with pytest.raises(RecipeError) as error:
        load_recipe({**recipe, section: {**recipe.get(section, {}), key: value}})
    assert len(error.value.faults) == 1
    assert fault in error.value.faults[0]


def test_every_fault_is_told_at_once_with_line_and_nearest_name(written):
    path = written(
        """\
task: image-classification
modle: some/model
data:
  source: some/data
  label_colum: x
train:
  seed: soon
  precision: fp8
  seed: 3
"""
    )
    text = told(path)
    assert (
        missing_words(
            text,
            (
                f"{path}:2: modle must be a key of a recipe; got the unknown key 'modle'. Did you mean 'model'?",
                f"{path}:5: data.label_colum must be a key of data",
                "Did you mean 'label_column'?",
                f"{path}:7: train.seed must be",
                "got 'soon'",
                f"{path}:8: train.precision must be auto or fp32 or bf16 or fp16; got 'fp8'",
                f"{path}:9: train.seed must be given once; got a second time (first in line 7)",
                "model must be given",
            ),
        )
        == []
    )
    assert len(text.splitlines()) == 6


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("train: {seed: -1}", ("train.seed", "at least 0", "got -1")),
        ("train: {seed: 1.5}", ("train.seed", "got 1.5")),
        ("train: {seed: [1]}", ("train.seed", "got [1]")),
        ("train: 3", ("train must be a section with the keys seed, precision, inference_batch_size, cache", "got 3")),
        ("train: {inference_batch_size: 0}", ("train.inference_batch_size", "at least 1", "got 0")),
        (
            "strategy: {kind: lara}",
            ("strategy.kind must be linear-probe or fine-tune or lora or contrastive", "got 'lara'"),
        ),
        ("strategy: liner-probe", ("strategy", "linear-probe", "got 'liner-probe'", "Did you mean 'linear-probe'?")),
        ("strategy: {l2: strong}", ("strategy.l2", "auto", "got 'strong'")),
        ("strategy: {l2: -1}", ("strategy.l2", "got -1")),
        ("strategy: {l2: 0}", ("strategy.l2", "got 0")),
        ("strategy: {l2: .nan}", ("strategy.l2", "got nan")),
        ("strategy: {l2: .inf}", ("strategy.l2", "got inf")),
        ("output: {folder: ''}", ("output.folder must be a non-empty text", "got ''")),
        ("output: {folder: 3}", ("output.folder must be a text", "got 3")),
    ],
)
def test_a_value_outside_its_bounds_is_told(written, section, words):
    text = told(written(WHOLE + section + "\n"))
    assert missing_words(text, (*words, "mine.yaml:4: ")) == []


@pytest.mark.parametrize("fraction", [1, -0.5, 2])
def test_a_fraction_must_lie_between_none_and_all(written, fraction):
    text = told(written(f"task: image-classification\nmodel: m\ndata: {{source: s, test_fraction: {fraction}}}\n"))
    assert missing_words(text, ("mine.yaml:3: data.test_fraction must be a number", f"got {fraction}")) == []


def test_an_unknown_task_is_told_with_those_known(written):
    text = told(written(WHOLE.replace("image-classification", "image-clasification")))
    assert missing_words(text, ("mine.yaml:1: task must be image-classification", "got 'image-clasification'")) == []


def test_all_missing_sections_are_told(written):
    text = told(written("train: {seed: 1}\n"))
    assert missing_words(text, ("task must be given", "model must be given", "data must be given")) == []


@pytest.mark.parametrize(
    "text",
    ["train: &a {seed: 1}\noutput: *a\n", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "train:\n  <<: *x\n"],
)
def test_aliases_are_refused(written, text):
    found = told(written(WHOLE + text))
    assert re.search(r"mine\.yaml:\d+ must be (plain values; got a YAML alias|valid YAML)", found)


@pytest.mark.parametrize(
    "line",
    [
        "output: !!python/object/apply:os.system ['touch {mark}']",
        "output: !!python/object:builtins.dict {{folder: x}}",
        "output: {{folder: !!python/name:os.system }}",
        "output: {{folder: !!python/name:int }}",
        "train: {{seed: !!python/name:int 5}}",
        "output: {{folder: !custom x}}",
        "output: !custom {{folder: x}}",
        "output: {{folder: !!binary aGVsbG8=}}",
    ],
)
def test_tags_are_refused_and_run_nothing(written, tmp_path, line):
    mark = tmp_path / "mark"
    text = told(written(WHOLE + line.format(mark=mark) + "\n"))
    assert missing_words(text, ("mine.yaml:4", "tag")) == []
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("a mapping with the keys task, model, data",)),
        ("- a\n- b\n", ("a mapping with the keys task, model, data",)),
        ("just words\n", ("a mapping",)),
        ("task: [unclosed\n", ("valid YAML", "mine.yaml:2")),
        ("task: a\n\tmodel: b\n", ("valid YAML", "mine.yaml:2")),
        ("task: a\x00b\n", ("valid YAML",)),
        ("task: a\n---\ntask: b\n", ("valid YAML",)),
        ("a: " + "[" * 1000 + "\n", ("valid YAML",)),
    ],
)
def test_a_file_that_is_no_recipe_is_told(written, text, words):
    assert missing_words(told(written(text)), words) == []


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "photo.yaml").write_bytes(b"\xff\xd8\xff\xe0\x00")
    assert "must be a readable UTF-8 file" in told(tmp_path / "photo.yaml")


def test_a_huge_file_is_not_read(tmp_path):
    (tmp_path / "huge.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    assert "1,048,576 bytes" in told(tmp_path / "huge.yaml")


def test_a_missing_recipe_is_told_with_the_nearest_shipped_one():
    text = told("cats_dogs_linear_prob.yaml")
    words = ("the recipe must be an existing file or the name of a shipped recipe", "got 'cats_dogs_linear_prob.yaml'")
    assert missing_words(text, (*words, "Did you mean 'cats_dogs_linear_probe'?")) == []


def test_a_folder_without_recipe_is_told(tmp_path):
    assert "must be a YAML file; got the folder" in told(tmp_path)


def test_faults_of_a_mapping_name_the_key_without_a_line():
    text = told({"task": "image-classification", "model": "m", "data": {"source": "s", "limit": 0}})
    assert "recipe: data.limit must be a number of at least 1; got 0" in text


# --- overrides -------------------------------------------------------------------------------------------------------


def test_overrides_set_and_drop_keys(written):
    text = WHOLE.replace("data: some/data", "data:\n  source: some/data\n  limit: 5\n") + "train: {seed: 3}\n"
    recipe = load_recipe(
        written(text), ["train.seed=7", "~data.limit", "strategy.l2=1e-3", "data.on_error=skip"]
    ).recipe
    assert recipe.train.seed == 7
    assert recipe.data.limit is None
    assert _l2(recipe) == 1e-3
    assert recipe.data.on_error == "skip"


def test_a_dropped_section_gets_its_defaults(written):
    assert load_recipe(written(WHOLE + "train: {seed: 3}\n"), ["~train"]).recipe.train.seed == 0


@pytest.mark.parametrize("text", ["123", "1e5", "true", "null-ish", "2024-01-01", "0x1F", "[x, y]", "a: b", "no", "-"])
def test_text_settings_take_overrides_as_they_are_written(written, text):
    recipe = load_recipe(written(WHOLE), [f"data.label_column={text}"]).recipe
    assert recipe.data.label_column == text


@pytest.mark.parametrize(
    "text", ["~/my pets", "/pics #2/new", "a&b", "*.png", "x!y", "C:\\pets", "b=c", "[draft] x", "%x"]
)
def test_paths_in_overrides_are_taken_as_they_are(written, text):
    assert load_recipe(written(WHOLE), [f"data.source={text}"]).recipe.data.source == text


def test_an_override_may_replace_a_short_form_or_go_below_it(written):
    recipe = load_recipe(written(WHOLE), ["model.revision=v1.0", "data.limit=3"]).recipe
    assert (recipe.model.name, recipe.model.revision) == ("some/model", "v1.0")
    assert (recipe.data.source, recipe.data.limit) == ("some/data", 3)
    assert load_recipe(written(WHOLE), ["model=other/model"]).recipe.model.name == "other/model"


def test_an_override_may_replace_a_whole_section_by_its_short_form(written):
    text = WHOLE.replace("model: some/model", "model: {name: some/model, revision: v1}")
    recipe = load_recipe(written(text), ["model=other/model", "data=other/data"]).recipe
    assert (recipe.model.name, recipe.model.revision) == ("other/model", None)
    assert recipe.data.source == "other/data"


def test_numbers_alone_can_be_names(written):
    """A folder may be called 2024."""
    recipe = load_recipe(written(WHOLE), ["data=2024", "model=17"]).recipe
    assert (recipe.data.source, recipe.model.name) == ("2024", "17")


def test_null_in_an_override_is_nothing(written):
    text = WHOLE.replace("data: some/data", "data: {source: some/data, limit: 5}")
    assert load_recipe(written(text), ["data.limit=null"]).recipe.data.limit is None


def test_overrides_from_python_are_values(written):
    recipe = load_recipe(written(WHOLE), {"train.seed": 4, "data.label_column": "123", "strategy.l2": 0.5}).recipe
    assert (recipe.train.seed, recipe.data.label_column, _l2(recipe)) == (4, "123", 0.5)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.sed=1", ("override train.sed must be a key of train", "Did you mean 'seed'?")),
        ("train.seed=x", ("override train.seed must be", "got 'x'")),
        ("train.seed", ("an override must be key=value or ~key; got 'train.seed'",)),
        ("=3", ("an override must be key=value or ~key; got '=3'",)),
        ("train..seed=3", ("an override must be key=value or ~key",)),
        ("~train.speed", ("~train.speed must be a key of the recipe; got none", "Did you mean 'train.seed'?")),
        ("~model.nam", ("~model.nam must be a key of the recipe; got none",)),
        ("train.seed.more=3", ("train.seed.more",)),
        ("task.name=x", ("override task.name must be inside a section",)),
    ],
)
def test_an_override_that_fits_nothing_is_told(written, override, words):
    assert missing_words(told(written(WHOLE + "train: {seed: 1}\n"), [override]), words) == []


def test_faults_of_overrides_and_of_the_file_are_told_together(written):
    text = told(written(WHOLE + "trian: {}\n"), ["nonsense", "train.inference_batch_size=0"])
    assert missing_words(text, ("'nonsense'", "mine.yaml:4: trian", "override train.inference_batch_size")) == []


# --- showing and writing ---------------------------------------------------------------------------------------------


def test_every_value_is_marked_with_where_it_came_from(written):
    loaded = load_recipe(written(WHOLE + "train: {seed: 3, precision: fp32}\n"), ["train.seed=4", "data.limit=2"])
    origins = {key: (value, origin) for key, value, origin in settings_with_origin(loaded)}
    assert origins["model.name"] == ("some/model", "recipe")
    assert origins["model.revision"] == (None, "default")
    assert origins["data.source"] == ("some/data", "recipe")
    assert origins["data.limit"] == (2, "override")
    assert origins["train.seed"] == (4, "override")
    assert origins["train.precision"] == ("fp32", "recipe")
    assert origins["strategy.kind"] == ("linear-probe", "default")
    assert "resolved" not in origins


def test_values_of_a_mapping_are_marked_too():
    given = {"task": "image-classification", "model": "m", "data": {"source": "s"}}
    origins = {key: origin for key, _, origin in settings_with_origin(load_recipe(given, {"train.seed": 1}))}
    assert origins["model.name"] == "recipe"
    assert origins["data.source"] == "recipe"
    assert origins["train.seed"] == "override"
    assert origins["train.cache"] == "default"


@pytest.mark.parametrize("column", ["no", "123", "5e-4", "true", "null", "~", "a: b", "#x", "ü\u2028x", "'"])
def test_a_written_recipe_reads_back_equal(written, column):
    given = {
        "task": "image-classification",
        "model": {"name": "m", "revision": "2024-01-01"},
        "data": {"source": "s", "label_column": column, "validation_fraction": 1e-3},
        "strategy": {"kind": "linear-probe", "l2": 1e-5},
        "train": {"seed": 4_294_967_295},
        "resolved": {"weights_sha256": "0" * 64, "data_fingerprint": "1e5", "hftransfer_version": "0.10"},
    }
    recipe = load_recipe(given).recipe
    assert load_recipe(written(recipe_yaml(recipe))).recipe == recipe


@pytest.mark.parametrize(("task", "loss"), [(name, loss) for name, task in TASKS.items() for loss in task.losses])
def test_a_written_recipe_keeps_the_loss_that_its_task_takes(written, task, loss):
    given = {"task": task, "model": "m", "data": "s", "train": {"loss": loss}}
    recipe = load_recipe(given).recipe
    assert load_recipe(written(recipe_yaml(recipe))).recipe == recipe
    assert flat_settings(recipe)["train.loss"] == loss


def test_a_written_recipe_spells_out_every_default(written):
    text = recipe_yaml(load_recipe(written(WHOLE)).recipe)
    assert missing_words(text, ("precision: auto", "l2: auto", "validation_fraction: 0.15", "on_error: stop")) == []
    assert "resolved" not in text


def test_a_recipe_cannot_be_changed_after_it_is_read(written):
    recipe = load_recipe(written(WHOLE)).recipe
    with pytest.raises(ValueError, match="frozen"):
        setattr(recipe.train, "seed", 5)  # noqa: B010


# --- the schema and what is shipped ----------------------------------------------------------------------------------


def schema_faults(value: Any, schema: dict[str, Any], whole: dict[str, Any], where: str = "") -> list[str]:
    """A slow, small reading of JSON Schema: as much of it as recipes use."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return schema_faults(value, whole["$defs"][name], whole, where)
    if "anyOf" in schema:
        options = [schema_faults(value, option, whole, where) for option in schema["anyOf"]]
        return [] if any(not faults for faults in options) else min(options, key=len)
    if "const" in schema and value != schema["const"]:
        return [f"{where}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {schema['enum']}"]
    types: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
        "object": dict,
        "array": (list, tuple),
    }
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return [f"{where}: {value!r} is no {schema['type']}"]
    faults = []
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        faults += [f"{where}: no {name}" for name in schema.get("required", []) if name not in value]
        if schema.get("additionalProperties") is False:
            faults += [f"{where}: unknown {name}" for name in value if name not in known]
        for name in value.keys() & known.keys():
            faults += schema_faults(value[name], known[name], whole, f"{where}.{name}")
    return faults


def plain(path: Path) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(path):
    schema = recipe_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema_faults(plain(path), schema, schema) == []


def test_the_schema_takes_short_forms_and_refuses_what_the_recipe_refuses():
    schema = recipe_schema()
    good = {"task": "image-classification", "model": "m", "data": "d", "strategy": "linear-probe"}
    assert schema_faults(good, schema, schema) == []
    assert schema_faults(good | {"modle": 1}, schema, schema) == [": unknown modle"]
    assert schema_faults(good | {"train": {"seed": "x"}}, schema, schema) == [".train.seed: 'x' is no integer"]
    assert schema_faults({"task": "image-classification"}, schema, schema) == [": no model", ": no data"]


def test_the_schema_takes_what_a_run_writes(written):
    schema = recipe_schema()
    recipe = load_recipe(written(WHOLE)).recipe
    assert schema_faults(plain(written(recipe_yaml(recipe), "resolved.yaml")), schema, schema) == []


def test_the_main_recipes_are_shipped():
    assert {"cats_dogs_linear_probe", "cats_dogs_resnet50_hub"} <= set(shipped_recipes())


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_by_name_and_by_path(name):
    by_name = load_recipe(name)
    assert isinstance(by_name, LoadedRecipe)
    assert by_name.name == name
    assert by_name.recipe == load_recipe(find_recipe(name)).recipe


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_every_shipped_recipe_starts_with_its_command(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    command = "compare" if load_recipe(path).recipe.compare else "run"
    assert first == f"# hftransfer {command} recipes/{path.name}"


def _discs(folder: Path) -> Path:
    """Pictures with masks, without splits."""
    from PIL import Image

    from hftransfer.tasks import head_task

    for number, (image, mask) in enumerate(head_task("image-segmentation").made_up(12)):
        for part, own in (("images", image), ("masks", Image.fromarray(mask))):
            (folder / "discs" / part).mkdir(parents=True, exist_ok=True)
            own.save(folder / "discs" / part / f"{number}.png")
    return folder / "discs"


_LONG = ("restaurant_sentences_lora", "drawn_pets_segmentation")


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one in _LONG else ()) for one in shipped_recipes()]
)
def test_every_shipped_recipe_runs_on_tiny_stand_ins(name, tiny, folder_data, text_data, squad_data, tmp_path, silent):
    stand_ins_by_task = {
        "image-classification": (tiny("resnet"), folder_data),
        "text-classification": (tiny("bert"), text_data),
        "token-classification": (tiny("bert"), "bundled/short-notes"),
        "image-segmentation": (tiny("timm"), _discs(tmp_path)),
        "question-answering": (tiny("bert"), squad_data),
        "text-regression": (tiny("bert"), "bundled/short-adverts"),
        "text-generation": (write_tiny_writer("llama", tmp_path / "writer"), "bundled/restaurant-sentences"),
        "zero-shot-image-classification": (tiny("clip-dual"), folder_data),
    }
    recipe = load_recipe(name).recipe
    if recipe.task == "image-text":
        return  # test_image_text.py runs it: its data are captions
    model, data = stand_ins_by_task[recipe.task]
    if recipe.strategy.from_zero_shot:
        model = tiny("clip-dual")
    stand_ins: dict[str, Any] = {"model": str(model), "data.source": str(data), "train.precision": "fp32"}
    if recipe.task == "question-answering":
        stand_ins |= {"data.stride_tokens": 8}
    if isinstance(recipe.data.shots, list):
        stand_ins |= {"data.shots": [1, 4], "data.shot_draws": 2}
    if isinstance(recipe.data.shots, int):
        stand_ins |= {"data.shots": 4}
    result = run(name, stand_ins, out=tmp_path / "run", progress=silent)
    split = "validation" if recipe.data.test_fraction == 0 else "test"
    assert set(result.metrics[split]) >= {recipe.chosen_task.headline.name}
    if recipe.task == "zero-shot-image-classification":
        assert result.metrics["strategy"] == "zero-shot"
        return
    if recipe.strategy.kind == "linear-probe" and recipe.data.shots is None and "accuracy" in result.metrics["test"]:
        assert result.metrics["test"]["accuracy"] > 0.8
    assert result.metrics["strategy"] == load_recipe(name).recipe.strategy.kind


def test_the_recipe_class_is_what_the_schema_describes():
    assert set(recipe_schema()["properties"]) == set(Recipe.model_fields)


def test_a_fault_in_an_override_is_not_blamed_on_the_file(written):
    text = told(written(WHOLE + "strategy: {kind: linear-probe}\n"), ["strategy=linearprobe", "trian.seed=1"])
    assert missing_words(text, ("override strategy.kind must be linear-probe", "override trian must be")) == []
    assert "mine.yaml" not in text


@pytest.mark.parametrize(("setting", "most"), [("tile", 8192), ("max_tokens", 1 << 20)])
def test_tiles_and_texts_have_each_a_bound_of_their_own(setting: str, most: int) -> None:
    assert getattr(DataSettings.model_validate({"source": "x", setting: most}), setting) == most
    with pytest.raises(ValidationError, match=f"less than or equal to {most}"):
        DataSettings.model_validate({"source": "x", setting: most + 1})
