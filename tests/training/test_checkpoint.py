"""Checkpoints: whole or not there, broken ones passed over, nothing foreign deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hftransfer.base.errors import OutputError
from hftransfer.training.checkpoint import Checkpoints


def _saved(folder: Path, *steps: int, keep: int = 9) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, {"learning": {"a": torch.full((3,), float(step))}}, {"step": step, "rate": 0.1 + 0.2})
    return checkpoints


def test_what_is_saved_comes_back_to_the_bit(tmp_path: Path) -> None:
    found = _saved(tmp_path / "c", 1, 12).newest()
    assert found is not None
    assert found.state == {"step": 12, "rate": 0.1 + 0.2}
    assert torch.equal(found.tensors("learning")["a"], torch.full((3,), 12.0))
    assert found.tensors("best") == {}
    assert [file.suffix for file in sorted(found.folder.iterdir())] == [".safetensors", ".json", ".json"]


def test_the_newest_are_kept_and_foreign_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    (folder / "step-mine").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    checkpoints = _saved(folder, 1, 2, 3, 10, keep=2)
    assert sorted(f.name for f in folder.iterdir()) == ["notes.txt", "step-000000003", "step-000000010", "step-mine"]
    checkpoints.remove_all()
    assert sorted(f.name for f in folder.iterdir()) == ["notes.txt", "step-mine"]


def test_an_empty_folder_goes_with_its_checkpoints(tmp_path: Path) -> None:
    _saved(tmp_path / "c", 1).remove_all()
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("spoil", ["truncate", "flip", "remove", "manifest", "no manifest", "no state"])
def test_a_broken_checkpoint_is_named_and_passed_over(tmp_path: Path, spoil: str) -> None:
    checkpoints, told = _saved(tmp_path / "c", 1, 2), list[str]()
    folder = tmp_path / "c" / "step-000000002"
    file = folder / "learning.safetensors"
    match spoil:
        case "truncate":
            os.truncate(file, 20)
        case "flip":
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        case "remove":
            file.unlink()
        case "manifest":
            (folder / "manifest.json").write_text("{")
        case "no manifest":
            (folder / "manifest.json").unlink()
        case "no state":
            (folder / "state.json").unlink()
    found = checkpoints.newest(told.append)
    assert found is not None
    assert found.state["step"] == 1
    assert len(told) == 1
    assert told[0].startswith("checkpoint step-000000002 is skipped: ")


def test_an_unfinished_one_is_named_and_goes_with_the_next(tmp_path: Path) -> None:
    checkpoints, told = _saved(tmp_path / "c", 1), list[str]()
    (tmp_path / "c" / ".step-000000002.0123abcd.tmp").mkdir()
    found = checkpoints.newest(told.append)
    assert found is not None
    assert found.state["step"] == 1
    assert told == ["checkpoint .step-000000002.0123abcd.tmp was never finished and is skipped"]
    checkpoints.save(3, {}, {"step": 3})
    assert sorted(f.name for f in (tmp_path / "c").iterdir()) == ["step-000000001", "step-000000003"]


def test_the_same_step_may_be_saved_again(tmp_path: Path) -> None:
    checkpoints = _saved(tmp_path / "c", 1, keep=1)
    checkpoints.save(1, {}, {"step": "again"})
    found = checkpoints.newest()
    assert found is not None
    assert found.state == {"step": "again"}
    assert [f.name for f in (tmp_path / "c").iterdir()] == ["step-000000001.1"]


@pytest.mark.parametrize("keep", [1, 2, 20])
def test_a_step_saved_many_times_is_the_newest_each_time(tmp_path: Path, keep: int) -> None:
    checkpoints = _saved(tmp_path / "c", 9, keep=keep)
    for again in range(15):
        folder = checkpoints.save(10, {}, {"step": again})
        found = checkpoints.newest()
        assert found is not None
        assert (found.folder, found.state) == (folder, {"step": again})
    assert len(list((tmp_path / "c").iterdir())) == min(keep, 16)


def test_a_file_of_an_earlier_checkpoint_is_linked(tmp_path: Path) -> None:
    checkpoints = _saved(tmp_path / "c", 1, keep=1)
    earlier = tmp_path / "c" / "step-000000001" / "learning.safetensors"
    folder = checkpoints.save(2, {"best": earlier}, {})
    assert not earlier.exists()
    found = checkpoints.newest()
    assert found is not None
    assert found.folder == folder
    assert torch.equal(found.tensors("best")["a"], torch.ones(3))


def test_a_full_disk_leaves_the_earlier_checkpoint_whole(tmp_path: Path) -> None:
    code = """
import resource, signal, sys, torch
from pathlib import Path
from hftransfer.base.errors import OutputError
from hftransfer.training.checkpoint import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(1, {"learning": {"a": torch.ones(10)}}, {"step": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    checkpoints.save(2, {"learning": {"a": torch.ones(10_000)}}, {"step": 2})
except OutputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "c")], capture_output=True, text=True, check=True
    )
    assert "the checkpoint" in done.stdout
    assert "must be writable" in done.stdout
    found = Checkpoints(tmp_path / "c").newest()
    assert found is not None
    assert found.state == {"step": 1}
    assert [f.name for f in (tmp_path / "c").iterdir()] == ["step-000000001"]


@pytest.mark.slow
def test_a_kill_at_any_write_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    """A process that dies at its n-th rename, link, mkdir or sync while it saves the second of two checkpoints."""
    code = """
import os, signal, sys, torch
from pathlib import Path
from hftransfer.training.checkpoint import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]), 1)
checkpoints.save(1, {"learning": {"a": torch.ones(10)}}, {"step": 1})
left = int(sys.argv[2])
def dying(event, args):
    global left
    if event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "open") and "step-" in str(args[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(dying)
checkpoints.save(2, {"learning": {"a": torch.ones(10)}, "best": {"b": torch.ones(2)}}, {"step": 2})
"""
    outcomes = []
    for moment in range(0, 60, 7):
        folder = tmp_path / str(moment)
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(folder), str(moment)], check=False)
        found = Checkpoints(folder).newest()
        assert found is not None
        assert found.state["step"] in (1, 2)
        outcomes.append((done.returncode, found.state["step"]))
        if done.returncode == 0:
            break
    assert outcomes[0] == (-signal.SIGKILL, 1)
    assert outcomes[-1] == (0, 2)


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"the checkpoint .* must be writable"):
        Checkpoints(tmp_path / "file").save(1, {}, {})


def test_the_manifest_names_every_file(tmp_path: Path) -> None:
    _saved(tmp_path / "c", 1)
    folder = tmp_path / "c" / "step-000000001"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) == {file.name for file in folder.iterdir()} - {"manifest.json"}
