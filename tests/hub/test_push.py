"""Pushing to a double of the Hub, with the real client: what goes up, once and whole, whatever happens on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.errors import ModelError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.hub.publish import MANIFEST, Pushed, PushError, collect, push, require_pushable
from hftransfer.jobs.run import run
from tests.builders import TinyModels, faults_of, load_dual_model, load_model, missing_words, picture
from tests.hub.hub_double import WritableHub, serve_writable

SILENT = Progress(None)
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client, of its own library


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WritableHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serve_writable() as running:
        yield running


def _push(folder: Path, hub: WritableHub, repo: str = "me/pets", **more: Any) -> Pushed:
    pushed: Pushed = push(
        folder, repo, token="hf_secret", endpoint=hub.endpoint, progress=SILENT, wait=lambda _: None, **more
    )
    return pushed


# --- what goes up ----------------------------------------------------------------------------------------------------


def test_what_goes_up_and_what_does_not(finished: Any) -> None:
    folder = finished("resnet").folder
    files = collect(folder, "me/pets").files
    assert ht.push(finished("resnet"), "me/pets", dry_run=True).sizes.keys() == files.keys()
    assert {"config.json", "model.safetensors", "README.md", "recipe.yaml", "metrics.json", MANIFEST} <= files.keys()
    assert "figures/confusion_matrix.png" in files
    assert not any(name.startswith(("logs", "checkpoints", ".")) or name.endswith("log.txt") for name in files)
    for name, content in files.items():
        text = content if isinstance(content, bytes) else content.read_bytes()
        if name.endswith((".json", ".yaml", ".md")):
            assert str(folder.parent).encode() not in text, name
            assert b"/tmp/" not in text, name
    card = bytes(files["README.md"]).decode()
    assert 'model="me/pets"' in card
    matrix, data = card.index("![confusion matrix](figures/confusion_matrix.png)"), card.index("\n## Data\n")
    assert card.index("\n## Results\n") < card.index("| class | train |") < matrix < data
    assert card.count("confusion_matrix.png") == 1
    assert "![calibration](figures/calibration.png)" in card[data:]
    assert "path/to/this/folder" not in card


def test_a_token_never_goes_up(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(finished("resnet").folder, tmp_path / "run")
    (tmp_path / "run" / "model" / "notes.json").write_text('{"token": "hf_abcdefghijklmnopqrstuvwxyz012345"}')
    with pytest.raises(PushError, match=r"the file notes.json must be free of tokens; got one with a token"):
        collect(tmp_path / "run", "me/pets")
    (tmp_path / "run" / "model" / "notes.json").write_text('{"token": "mine-alone"}')
    monkeypatch.setenv("HF_TOKEN", "mine-alone")
    with pytest.raises(PushError, match="free of tokens"):
        collect(tmp_path / "run", "me/pets")
    (tmp_path / "run" / "model" / "notes.json").write_text(json.dumps({"place": str(Path.home() / "photos")}))
    with pytest.raises(PushError, match="free of paths of this computer"):
        collect(tmp_path / "run", "me/pets")


def test_a_dry_run_sends_nothing(finished: Any) -> None:
    result = CliRunner().invoke(app, ["push", str(finished("resnet").folder), "me/pets", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert missing_words(result.stdout, ("model.safetensors", "nothing was sent")) == []


def test_the_licence_is_told_or_given(hub: WritableHub, finished: Any, tmp_path: Path) -> None:
    folder = str(finished("resnet").folder)
    told = CliRunner().invoke(app, ["push", folder, "me/pets", "--dry-run"])
    assert "note: the card names no licence: give it with --licence NAME" in told.stdout
    given = CliRunner().invoke(app, ["push", folder, "me/pets", "--dry-run", "--licence", "Apache 2.0"])
    assert given.exit_code == 0, given.output
    assert "\nlicense: apache-2.0\n" in given.stdout
    assert "no licence" not in given.stdout
    wrong = CliRunner().invoke(app, ["push", folder, "me/pets", "--dry-run", "--licence", "my own!"])
    assert wrong.exit_code == 2
    assert "the licence must be the name of a licence on the Hub, such as apache-2.0" in wrong.stderr
    assert "got 'my own!'" in wrong.stderr
    _push(finished("resnet").folder, hub, license="mit")
    assert ModelCard(hub.repos["me/pets"].files["README.md"].decode()).data.license == "mit"
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")
    card = ModelCard(bytes(collect(bare, "me/pets", "mit").files["README.md"]).decode())
    assert card.data.to_dict() == {"license": "mit"}
    _push(bare, hub, "me/bare", license="mit")
    _push(bare, hub, "me/bare", license="mit")


def test_a_hub_out_of_reach_is_told(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    waits: list[float] = []
    with pytest.raises(PushError, match=r"^The Hub can't be reached \(HF_HUB_OFFLINE is set\)\. Nothing was sent\.$"):
        push(finished("resnet").folder, "me/pets", progress=SILENT, wait=waits.append)
    assert waits == []  # it would not go away by itself
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # its client waits between trials
    where: dict[str, Any] = {"endpoint": "http://127.0.0.1:9", "token": "hf_secret", "wait": lambda _: None}
    with pytest.raises(PushError, match=r"Could not create the repository for me/pets on the Hub: it can't be reached"):
        push(finished("resnet").folder, "me/pets", progress=SILENT, **where)


@pytest.mark.parametrize("repo", ["pets", "me/../pets", "me/pets/cats", "/pets", "me/", "me/p--s"])
def test_ids_that_are_none_are_told(finished: Any, repo: str) -> None:
    with pytest.raises(ModelError, match="namespace/name"):
        push(finished("resnet").folder, repo, progress=SILENT)


# --- there and back --------------------------------------------------------------------------------------------------

_LOADING = """
import json, sys
import hftransfer as ht
images = sys.argv[2:5]
found = {}
for name in sys.argv[5:]:
    base = None
    name, _, base = name.partition("=")
    model = ht.load(name, base=base or None)
    more = (["film", "story"],) if name.endswith("dual") else ()
    found[name] = [one.scores for one in model.predict(images, *more)]
open(sys.argv[1], "w").write(json.dumps(found))
"""


@pytest.mark.slow
def test_models_come_back_as_they_went(
    hub: WritableHub, tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None
) -> None:
    import shutil

    images = [tmp_path / f"{color}.png" for color in ("red", "green", "blue")]
    for file in images:
        picture(file.stem, 3).save(file)
    expected: dict[str, Any] = {}
    for strategy in ("linear-probe", "fine-tune", "lora"):
        document = {"task": "image-classification", "model": str(tiny("vit")), "data": str(folder_data)}
        settings = {"strategy": strategy, "train.epochs": 1, "train.precision": "fp32"}
        folder = run(document, settings, out=tmp_path / strategy, progress=SILENT).folder
        expected[f"me/{strategy}"] = [one.scores for one in load_model(folder).predict(images)]
        _push(folder, hub, f"me/{strategy}")
        shutil.rmtree(folder)
    expected["me/dual"] = [one.scores for one in load_dual_model(tiny("clip-dual")).predict(images, ["film", "story"])]
    _push(tiny("clip-dual"), hub, "me/dual")
    assert all(repo.private for repo in hub.repos.values())
    place = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    names = [name if name != "me/lora" else f"me/lora={tiny('vit')}" for name in expected]
    command = [sys.executable, "-c", _LOADING, str(tmp_path / "found.json"), *map(str, images), *names]
    env = os.environ | place | {"HF_HUB_OFFLINE": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    for name, scores in expected.items():
        for one, other in zip(found[name], scores, strict=True):
            assert one == pytest.approx(other, abs=1e-6), name


def test_a_second_push_changes_only_what_is_new(hub: WritableHub, finished: Any, tmp_path: Path) -> None:
    import shutil

    first = _push(finished("resnet").folder, hub)
    assert first.changed
    repo = hub.repos["me/pets"]
    assert len(repo.commits) == 2
    assert not _push(finished("resnet").folder, hub).changed
    assert len(repo.commits) == 2
    repo.add({**repo.files, "notes.md": b"by hand"})
    shutil.copytree(finished("vit").folder, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    assert _push(tmp_path / "run", hub).changed
    assert repo.files["notes.md"] == b"by hand"
    assert "metrics.json" not in repo.files
    assert repo.files["model.safetensors"] == (tmp_path / "run/model/model.safetensors").read_bytes()


def test_hand_edits_of_the_card_stay(hub: WritableHub, finished: Any) -> None:
    _push(finished("resnet").folder, hub)
    repo = hub.repos["me/pets"]
    card = repo.files["README.md"].decode()
    edited = card.replace("---\n<!--", "license: mit\n---\n# My own words\n\n<!--", 1) + "\nThanks to all.\n"
    repo.add({**repo.files, "README.md": edited.encode()})
    _push(finished("vit").folder, hub)
    found = repo.files["README.md"].decode()
    assert missing_words(found, ("# My own words", "Thanks to all.")) == []
    assert found.count("<!-- hftransfer: the end -->") == 1
    data = ModelCard(found).data.to_dict()
    assert data["license"] == "mit"
    assert data["pipeline_tag"] == "image-classification"
    before = repo.files["README.md"]
    assert not _push(finished("vit").folder, hub).changed
    assert repo.files["README.md"] == before


# --- what goes wrong -------------------------------------------------------------------------------------------------

PASSING: list[list[tuple[str, object]]] = [
    [("POST /api/repos/create", 500)],
    [("POST /api/repos/create", "lose")],
    [("GET /api/models/me/pets", 503), ("GET /api/models/me/pets", 429)],
    [("preupload", 503)],
    [("lfs/objects/batch", 500)],
    [("PUT /lfs/", 500)],
    [("PUT /lfs/", "drop")],
    [("/commit/", 503), ("/commit/", 503)],
    [("/commit/", "drop")],
    [("/commit/", "lose")],
]


@pytest.mark.parametrize("faults", PASSING, ids=lambda faults: "+".join(f"{part} {what}" for part, what in faults))
@pytest.mark.slow
def test_what_passes_is_tried_again_and_done_once(
    hub: WritableHub, finished: Any, faults: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    folder = finished("resnet").folder
    hub.faults = list(faults)
    assert _push(folder, hub).changed
    assert hub.faults == []
    repo = hub.repos["me/pets"]
    assert len(repo.commits) == 2
    for name, content in collect(folder, "me/pets").files.items():
        assert repo.files[name] == (content if isinstance(content, bytes) else content.read_bytes()), name


LASTING: list[tuple[str, object, str]] = [
    ("/commit/", 403, "403"),
    ("/commit/", 500, "500"),
    ("PUT /lfs/", 500, "Could not create the commit for me/pets on the Hub"),
    ("/commit/", 401, "hf auth login"),
]


@pytest.mark.parametrize(("part", "what", "told"), LASTING)
def test_what_does_not_pass_leaves_the_repository_as_it_was(
    hub: WritableHub, finished: Any, part: str, what: object, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    _push(finished("resnet").folder, hub)
    repo = hub.repos["me/pets"]
    before = dict(repo.files)
    local = {file: file.read_bytes() for file in finished("vit").folder.rglob("*") if file.is_file()}
    hub.faults = [(part, what)] * 60
    with pytest.raises(PushError) as error:
        _push(finished("vit").folder, hub)
    assert missing_words(faults_of(error), (told,)) == []
    assert repo.files == before
    assert {file: file.read_bytes() for file in finished("vit").folder.rglob("*") if file.is_file()} == local


def test_a_repository_that_moved_is_not_overwritten(hub: WritableHub, finished: Any) -> None:
    _push(finished("resnet").folder, hub)
    repo = hub.repos["me/pets"]

    def others() -> None:
        repo.add({**repo.files, "config.json": b"{}"})

    hub.faults = [("/commit/", others)]
    with pytest.raises(PushError, match=r"Others changed config.json. Look at it, then push again"):
        _push(finished("vit").folder, hub)
    assert repo.files["config.json"] == b"{}"


def test_a_commit_of_others_is_not_taken_for_ours_where_only_the_card_was_new(hub: WritableHub, finished: Any) -> None:
    folder = finished("resnet").folder
    _push(folder, hub)
    repo = hub.repos["me/pets"]
    repo.add({**repo.files, "README.md": b"all by hand"})

    def others() -> None:
        repo.add({**repo.files, "notes.md": b"theirs"})

    hub.faults = [("/commit/", others)]
    with pytest.raises(PushError, match=r"Others changed notes.md"):
        _push(folder, hub)
    assert repo.files["README.md"] == b"all by hand"


def test_the_token_is_looked_at_before_training(hub: WritableHub) -> None:
    assert require_pushable("me/pets", "hf_secret", hub.endpoint) == "me"
    with pytest.raises(PushError, match=r"one of your own \(me\); got 'others'"):
        require_pushable("others/pets", "hf_secret", hub.endpoint)
    hub.role = "read"
    with pytest.raises(PushError, match="one that may only read"):
        require_pushable("me/pets", "hf_secret", hub.endpoint)


def _hftransfer(hub: WritableHub, home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The command line as a user's process that takes the double for the Hub."""
    place = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_secret_token_of_a_test",
    }
    command = [sys.executable, "-m", "hftransfer", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=home, env=os.environ | place)


@pytest.mark.slow
def test_a_recipe_pushes_its_model_when_the_run_is_finished(
    hub: WritableHub, tiny: TinyModels, flat_data: Path, tmp_path: Path
) -> None:
    document = {"task": "image-classification", "model": str(tiny("vit")), "data": str(flat_data)}
    (tmp_path / "my.yaml").write_text(json.dumps({**document, "hub": {"push_to": "me/pets"}}))
    wrong = _hftransfer(hub, tmp_path, "check", "my.yaml", "hub.push_to=others/pets", "train.metric=acuracy")
    assert wrong.returncode == 2
    assert missing_words(wrong.stderr, ("the namespace of hub.push_to must be", "'others'", "'acuracy'")) == []
    nonsense = _hftransfer(hub, tmp_path, "check", "my.yaml", "hub.license=nonsense")
    assert nonsense.returncode == 1
    assert missing_words(nonsense.stderr, ("the metadata of the card", '"license" must be one of', "hub.license")) == []
    hub.faults = [("/commit/", 403)]
    failed = _hftransfer(hub, tmp_path, "run", "my.yaml", "--out", "run", "train.precision=fp32")
    assert failed.returncode == 1
    told = ("403", "The run itself is complete", "hftransfer push")
    assert missing_words(failed.stderr, told) == []
    assert "Traceback" not in failed.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()
    again = _hftransfer(hub, tmp_path, "push", "run", "me/pets")
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == f"{hub.endpoint}/me/pets"
    repo = hub.repos["me/pets"]
    assert repo.private
    assert {"model.safetensors", "recipe.yaml", "figures/confusion_matrix.png"} <= repo.files.keys()
    assert not {"figures/examples.png", "figures/mistakes.png"} & repo.files.keys()
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or b"hf_secret_token_of_a_test" not in file.read_bytes(), file
    assert not any(b"hf_secret_token_of_a_test" in content for content in repo.files.values())
    texts = [content for name, content in repo.files.items() if name.endswith((".json", ".yaml", ".md"))]
    assert not any(str(tmp_path).encode() in text or b"/tmp/" in text for text in texts)
    assert len(repo.commits) == 2


def test_examples_go_up_only_where_the_recipe_says_so(tiny: TinyModels, flat_data: Path, tmp_path: Path) -> None:
    hub = {"share_examples": True, "license": "mit", "language": "en", "description": "For <b>pets</b>."}
    recipe = {"task": "image-classification", "model": str(tiny("resnet")), "data": str(flat_data), "hub": hub}
    files = collect(run(recipe, out=tmp_path / "run", progress=SILENT).folder, "me/pets").files
    assert {"figures/examples.png", "figures/mistakes.png", "examples/0.jpg", "examples/1.jpg"} <= files.keys()
    card = ModelCard(bytes(files["README.md"]).decode())
    assert (card.data.license, card.data.language) == ("mit", ["en"])
    assert "For bpets/b." in card.text
    shown = [entry["src"].rsplit("/resolve/", 1)[1] for entry in card.data.widget[:2]]
    assert shown == ["main/examples/0.jpg", "main/examples/1.jpg"]
