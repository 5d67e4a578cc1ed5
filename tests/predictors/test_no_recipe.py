"""Commands for finished models in trouble: what they say advises no setting of a recipe, since there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hftransfer as ht
from hftransfer.base.progress import Progress
from hftransfer.data.settings import DataSettings
from hftransfer.jobs.run import run
from tests.builders import TinyModels, bomb, encoded, picture, recipe_for, write_tiny_writer
from tests.predictors.builders import call

_KEY = re.compile(r"\b(?:data|train|strategy|model|hub|output|compare|zero_shot)\.[a-z]\w*")
_NO_KEYS = ("model.safetensors", "model.onnx", "model.save", "data.csv")


def keys_in(text: str) -> set[str]:
    """The keys of a recipe that a text names."""
    return set(_KEY.findall(text)) - set(_NO_KEYS)


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command writes without being told where goes into a folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images and tables that can't be read, each in its own way."""
    folder = tmp_path_factory.mktemp("troubles")
    sound = encoded(picture("red", size=(200, 150)), "JPEG")
    (folder / "sound.jpg").write_bytes(sound)
    images = {
        "empty.jpg": b"",
        "cut.jpg": sound[: len(sound) // 2],
        "text.jpg": b"a text",
        "page.jpg": b"<!doctype html><p>not found",
        "paper.jpg": b"%PDF-1.4",
        "film.jpg": b"\0\0\0\x18ftypmp42" + b"\0" * 40,
        "packed.jpg": b"PK\x03\x04" + b"\0" * 40,
        "huge.png": bomb(),
    }
    for name, content in images.items():
        (folder / name).write_bytes(content)
    tables = {
        "empty.csv": b"",
        "latin.csv": "text\ncaf\xe9\n".encode("latin-1"),
        "utf16.csv": "text\nabc\n".encode("utf-16"),
        "two.csv": b"a,b\nx,y\n",
        "twice.csv": b"text,text\nx,y\n",
        "ragged.csv": b"text,label\na,b,c,d\n",
        "blank.csv": b'text\n""\n',
        "lines.jsonl": b'{"text": "a"}\n{oops\n',
        "numbers.jsonl": b'{"text": 3}\n',
        "photos.csv": b"image\ngone.jpg\n",
        "odd.parquet": b"PAR1",
    }
    for name, content in tables.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def answering(tiny: TinyModels, squad_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that answers questions, in short windows."""
    recipe = recipe_for(tiny("bert"), squad_data, epochs=1) | {"task": "question-answering"}
    recipe |= {"strategy": {"kind": "fine-tune", "unfreeze": 1}}
    recipe["data"] |= {"max_tokens": 32, "stride_tokens": 8}
    return run(recipe, out=tmp_path_factory.mktemp("answering") / "run", progress=Progress(None)).folder


def _calls(command: str, model: Path, inputs: list[list[Path]], folder: Path) -> Iterator[Any]:
    for number, given in enumerate(inputs):
        out = {"embed": f"{number}.npy", "explain": f"{number}"}.get(command)
        yield call(command, model, *given, *(["--out", folder / out] if out else []), "--quiet")


def _told(calls: Iterator[Any]) -> str:
    """What commands say; each must end as commands do that were given what they can't read."""
    said = []
    for done in calls:
        text = done.stdout + done.stderr
        assert done.exit_code in (0, 2), text
        assert "Traceback" not in text
        said.append(text)
    return "\n".join(said)


@pytest.mark.parametrize("command", ["predict", "embed", "explain", "suggest"])
def test_models_of_images(finished: Any, troubles: Path, tmp_path: Path, command: str) -> None:
    inputs = [sorted(troubles.glob("*.*g")), sorted(troubles.glob("*.csv")), [troubles / "gone.jpg"]]
    told = _told(_calls(command, finished("vit").folder, inputs, tmp_path))
    assert "cut.jpg must be a complete image; got one that can't be decoded" in told
    assert "huge.png must be an image of at most" in told
    assert keys_in(told) == set()


@pytest.mark.parametrize("command", ["predict", "embed", "explain", "suggest"])
def test_models_of_texts(reviewed: Path, troubles: Path, tmp_path: Path, command: str) -> None:
    inputs = [[one] for one in (*sorted(troubles.glob("*.csv")), *sorted(troubles.glob("*.jsonl")))]
    inputs += [[troubles / "odd.parquet"], [troubles / "sound.jpg"], [troubles], [Path("--pair=x")]]
    told = _told(_calls(command, reviewed, inputs, tmp_path))
    assert "two.csv" in told
    assert keys_in(told) == set()


def test_searches(tiny: TinyModels, finished: Any, reviewed: Path, troubles: Path) -> None:
    models = (tiny("clip-dual"), finished("vit").folder, reviewed)
    asked = (
        ("film", troubles),
        (troubles / "sound.jpg", troubles),
        (troubles / "cut.jpg", troubles / "two.csv"),
        (troubles / "gone.jpg", troubles / "cut.jpg"),
        ("", troubles / "none"),
    )
    told = _told(
        call("search", query, "--in", place, "--model", model, "--quiet") for model in models for query, place in asked
    )
    assert "cut.jpg must be a complete image" in told
    assert keys_in(told) == set()


def test_long_questions_and_prompts(answering: Path, troubles: Path, tmp_path: Path) -> None:
    context = "The good film was shown in the town."
    asked = ["--question", "what " * 60, "--context", context]
    middling = ["--question", "what " * 24, "--context", context]
    told = _told(
        call(command, answering, *given, "--quiet")
        for command in ("predict", "explain")
        for given in (asked, middling, ["--question", "", "--context", context], [troubles / "two.csv"])
    )
    assert re.search(r"question .* must be at most \d+ tokens long.*; got 60 tokens\. Shorten it\.", told)
    assert keys_in(told) == set()
    model: Any = ht.load(answering)
    with pytest.raises(ht.DataError, match=r"tokens\. Shorten it\.$"):
        model.predict(question="what " * 60, context=context)
    rows = [{"question": "what " * 60, "context": context, "answers": {"text": ["film"], "answer_start": [9]}}]
    with pytest.raises(ht.DataError, match=r"tokens\. Shorten it\.$"):
        model.evaluate(rows)
    writer = write_tiny_writer("gpt2", tmp_path / "writer")
    told = _told(call(command, writer, "word " * 400, "--quiet") for command in ("predict", "explain"))
    assert keys_in(told) == set()


def test_evaluations_name_only_what_they_take(finished: Any, reviewed: Path, answering: Path, troubles: Path) -> None:
    long = {"question": "what " * 60, "context": "x good", "answers": {"text": ["good"], "answer_start": [2]}}
    (troubles / "long.jsonl").write_text(json.dumps(long) + "\n")
    data = [*sorted(troubles.glob("*.csv")), *sorted(troubles.glob("*.jsonl")), troubles, troubles / "none"]
    models = (finished("vit").folder, reviewed, answering)
    told = _told(call("eval", model, "--data", one, "--quiet") for model in models for one in data)
    assert "got 60 tokens. Shorten it." in told
    # `hftransfer eval MODEL --data FILE text_column=review` takes settings of the data section.
    taken = {f"data.{name}" for name in DataSettings.model_fields}
    assert keys_in(told) <= taken - {"data.max_tokens", "data.stride_tokens"}
