"""Runs that are interrupted, locked, resumed or refused: whole runs, from recipe to files."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from hftransfer.base.errors import HftransferError, OutputError
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import CHECKPOINTS, RunFolder
from hftransfer.jobs.run import run
from hftransfer.training.interrupts import Interrupted, listening, stop_if_asked
from hftransfer.training.loop import _Run
from tests.builders import TinyModels, faults_of, interrupted, missing_words
from tests.training.killing import run_in_process, wait_for

SILENT = Progress(None)


def _interrupted(recipe: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, step: int = 7) -> None:
    with interrupted(monkeypatch, step):
        run(recipe, out=folder, progress=SILENT)


def _weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_resumed_run_is_the_run_that_was_not_interrupted(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe, out=tmp_path / "whole", progress=SILENT)
    _interrupted(recipe, tmp_path / "run", monkeypatch)
    assert [f.name for f in (tmp_path / "run" / CHECKPOINTS).iterdir()] == ["step-000000007"]
    so_far = (tmp_path / "run" / "log-so-far.txt").read_text()
    resumed = run(recipe, out=tmp_path / "run", resume=True, progress=SILENT)
    log = (resumed.folder / "log.txt").read_text()
    assert "epoch 1: training loss" in so_far
    assert log.startswith(so_far)
    assert "resuming after step 7 (checkpoint step-000000007)" in log
    assert _weights(whole.folder) == _weights(resumed.folder)
    assert whole.metrics["test"] == resumed.metrics["test"]
    assert whole.metrics["best_epoch"] == resumed.metrics["best_epoch"]
    assert len((resumed.folder / "history.csv").read_text().splitlines()) == 6  # the start is one
    assert not (resumed.folder / CHECKPOINTS).exists()
    names = [sorted(file.name for file in folder.iterdir()) for folder in (whole.folder, resumed.folder)]
    assert names[0] == names[1]


def test_an_interruption_of_the_last_evaluation_costs_no_training(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hftransfer.training import transfer

    whole = run(recipe, out=tmp_path / "whole", progress=SILENT)
    with monkeypatch.context() as patched:

        def stop(*_: Any) -> None:
            raise Interrupted(signal.SIGTERM)

        patched.setattr(transfer, "_judge", stop)
        with pytest.raises(Interrupted):
            run(recipe, out=tmp_path / "run", progress=SILENT)
    monkeypatch.setattr(_Run, "step", stop)
    resumed = run(recipe, out=tmp_path / "run", resume=True, progress=SILENT)
    assert _weights(whole.folder) == _weights(resumed.folder)
    assert whole.metrics["validation"] == resumed.metrics["validation"]


def test_the_newest_interrupted_run_of_a_recipe_goes_on(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {**recipe, "output": {"folder": str(tmp_path / "runs")}}
    with pytest.raises(OutputError, match="must be at least one interrupted run"):
        run(recipe, resume=True, progress=SILENT)
    with interrupted(monkeypatch, 7):
        run(recipe, progress=SILENT)
    (folder,) = (tmp_path / "runs" / "recipe").iterdir()
    assert run(recipe, resume=True, progress=SILENT).folder == folder
    with pytest.raises(OutputError, match="interrupted"):
        run(recipe, resume=True, progress=SILENT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train.epochs": 5, "train.seed": 1}, ("train.epochs of", "unchanged (4); got 5", "train.seed of")),
        ({"strategy.learning_rate": 0.1}, ("strategy.learning_rate of the interrupted run",)),
        ({"data.validation_fraction": 0.3}, ("data.validation_fraction of",)),
    ],
)
def test_another_recipe_is_refused_with_the_keys_that_differ(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: Any
) -> None:
    _interrupted(recipe, tmp_path / "run", monkeypatch)
    with pytest.raises(HftransferError) as error:
        run(recipe, change, out=tmp_path / "run", resume=True, progress=SILENT)
    assert missing_words(faults_of(error), words) == []
    assert len(error.value.faults) == len(change)
    run(recipe, {"train.checkpoint_every_steps": 3}, out=tmp_path / "run", resume=True, progress=SILENT)


def test_other_data_are_refused(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: TinyModels
) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(recipe["data"]["source"], data)
    recipe = {**recipe, "data": str(data)}
    _interrupted(recipe, tmp_path / "run", monkeypatch)
    next((data / "train" / "red").iterdir()).unlink()
    with pytest.raises(HftransferError, match="the data's fingerprint of the interrupted run"):
        run(recipe, out=tmp_path / "run", resume=True, progress=SILENT)


def test_an_interrupted_run_is_not_taken_for_a_new_or_a_finished_one(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupted(recipe, tmp_path / "run", monkeypatch)
    with pytest.raises(OutputError, match=r"got an interrupted run\. Add --resume"):
        run(recipe, out=tmp_path / "run", progress=SILENT)
    run(recipe, out=tmp_path / "run", overwrite=True, progress=SILENT)
    assert not (tmp_path / "run" / CHECKPOINTS).exists()
    with pytest.raises(OutputError, match="must be the folder of an interrupted run; got a finished run"):
        run(recipe, out=tmp_path / "run", resume=True, progress=SILENT)


def test_an_earlier_run_stays_whole_while_another_replaces_it(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(recipe, out=tmp_path / "run", progress=SILENT)
    before = _weights(first.folder)
    with interrupted(monkeypatch, 7):
        run(recipe, {"train.seed": 5}, out=tmp_path / "run", overwrite=True, progress=SILENT)
    assert _weights(first.folder) == before
    run(recipe, {"train.seed": 5}, out=tmp_path / "run", resume=True, progress=SILENT)
    assert _weights(first.folder) != before


def test_a_folder_in_use_is_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    with folder.in_use(), pytest.raises(OutputError, match="must be free; got a folder that another run is writing to"):
        run(recipe, out=tmp_path / "run", overwrite=True, progress=SILENT)
    assert not (tmp_path / "run").exists()
    run(recipe, out=tmp_path / "run", progress=SILENT)


def test_a_fault_leaves_no_folder_and_keeps_checkpoints(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HftransferError, match=r"the training .* must be finite"):
        run(
            recipe,
            {
                "strategy.learning_rate": 1.0,
                "strategy.head_lr": 1.0,
                "train.max_grad_norm": 1e30,
                "train.optimizer": "sgd",
                "train.epochs": 500,
            },
            out=tmp_path / "run",
            progress=SILENT,
        )
    assert not (tmp_path / "run").exists()


def test_signals_are_kept_until_asked_for() -> None:
    with listening():
        stop_if_asked()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as error:
            stop_if_asked()
    assert error.value.exit_status == 143
    stop_if_asked()
    with listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted) as error:
            stop_if_asked()
        assert error.value.exit_status == 130
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_when_the_time_is_up_a_run_stops_wherever_it_is() -> None:
    with listening(grace_seconds=0.2):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            time.sleep(30)
    time.sleep(0.3)  # no timer is left


@pytest.mark.slow
def test_a_process_ends_with_143_or_goes_on_after_a_kill(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Killed after a checkpoint, resumed, stopped by SIGTERM, resumed: and the bits are those of one whole run."""
    recipe["train"] |= {"epochs": 30, "checkpoint_every_steps": 10, "augment": "none"}
    whole = run(recipe, out=tmp_path / "whole", progress=SILENT)
    folder = tmp_path / "run"
    killed = run_in_process(recipe, folder)
    wait_for(folder / CHECKPOINTS / "step-000000020", killed)
    killed.kill()
    killed.communicate()
    stopped = run_in_process(recipe, folder, "--resume")
    wait_for(folder / CHECKPOINTS / "step-000000050", stopped)
    stopped.send_signal(signal.SIGTERM)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 143, output
    assert "stopped by SIGTERM" in output
    assert "--resume" in output
    resumed = run(recipe, out=folder, resume=True, progress=SILENT)
    mine, theirs = (load_file(f / "model" / "model.safetensors") for f in (whole.folder, resumed.folder))
    assert all(mine[name].equal(theirs[name]) for name in mine)
