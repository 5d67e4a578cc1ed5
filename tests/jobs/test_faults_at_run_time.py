"""What goes wrong while something runs: full and read-only disks, killed processes, others that use the same cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from typer.testing import CliRunner

from hftransfer.auditing.audit import Audit
from hftransfer.auditing.findings import Finding
from hftransfer.auditing.sheets import write_audit
from hftransfer.base import cache
from hftransfer.base.errors import OutputError, WriteError
from hftransfer.base.html import render_page
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import is_interrupted, new_folder
from hftransfer.cli import app
from hftransfer.jobs.run import how_to_go_on, run
from hftransfer.report.page import Group, RunPage, Said
from hftransfer.study.page import html_of, markdown_of
from hftransfer.study.results import CellResult, Study
from hftransfer.tasks import TASKS
from hftransfer.training import activations
from hftransfer.training.activations import ActivationStore
from hftransfer.training.interrupts import Interrupted
from tests.builders import TinyModels, recipe_for

SILENT = Progress(None)


@contextmanager
def another_process(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has run the code, and waits until it is killed."""
    text = f"import sys, time\n{textwrap.dedent(code)}\nprint('ready', flush=True)\ntime.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()
            process.wait()


# --- the cache -------------------------------------------------------------------------------------------------------


def test_what_another_process_uses_is_not_cleared() -> None:
    used, free = cache.cache_folder("models") / "used", cache.cache_folder("models") / "free"
    for folder in (used, free):
        folder.mkdir()
        (folder / "weights").write_bytes(b"12345")
    with another_process(
        f"from pathlib import Path; from hftransfer.base import cache; cache.mark_in_use(Path({str(used)!r}))"
    ):
        assert cache.used_by_others(used)
        shown = CliRunner().invoke(app, ["cache", "--clear"])
        assert shown.exit_code == 0
        assert "models/used was skipped: a run uses it" in shown.stdout
        assert [entry.name for entry in cache.cache_folder("models").iterdir()] == ["used"]
    assert not cache.used_by_others(used)
    assert cache.clear_unused() == cache.Cleared(5, ())


def test_drafts_of_killed_processes_are_swept_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    code = f"""
    from pathlib import Path
    from hftransfer.base.cache import new_folder
    entered = new_folder(Path({str(tmp_path / "model")!r}))
    (entered.__enter__() / "half").write_text("half")
    """
    with another_process(code), cache.new_folder(tmp_path / "model"):
        assert len(list(tmp_path.glob(".model.*.tmp"))) == 2
    assert len(list(tmp_path.glob(".model.*.tmp"))) == 1
    (tmp_path / "model").rmdir()
    with cache.new_folder(tmp_path / "model"):
        assert len(list(tmp_path.glob(".model.*.tmp"))) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_old_drafts_without_a_lock_are_swept(tmp_path: Path) -> None:
    for name, age in ((".numbers.0123abcd.tmp", 2 * 86_400), (".numbers.4567abcd.tmp", 0), (".others.0123abcd.tmp", 0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with cache.new_file(tmp_path / "numbers") as draft:
        draft.touch()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        ".numbers.4567abcd.tmp",
        ".others.0123abcd.tmp",
        "numbers",
    ]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_full_disk_under_the_cache_names_folder_and_setting(error: Exception) -> None:
    def write() -> None:
        with cache.new_entry(cache.cache_folder("models") / "m") as draft:
            (draft / "half").touch()
            raise error

    with pytest.raises(WriteError) as told:
        write()
    assert f"the cache folder {cache.cache_root()} must be writable; got No space left" in str(told.value)
    assert "HFTRANSFER_CACHE" in str(told.value)
    assert list(cache.cache_folder("models").iterdir()) == []


def _rows(count: int) -> tuple[list[bytes], list[Any]]:
    return [bytes([number]) * 16 for number in range(count)], list(
        np.arange(4.0 * count, dtype=np.float32).reshape(-1, 4)
    )


def test_a_cache_that_becomes_full_is_told_and_the_rows_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    store = ActivationStore.in_cache({"x": 1}, told.append)
    append = activations._Shard.append

    def full(self: Any, digests: list[bytes], rows: list[Any]) -> None:
        if self.is_below(store.folder) and len(self._digests) >= 2:
            raise OSError(28, "No space left on device")
        append(self, digests, rows)

    monkeypatch.setattr(activations._Shard, "append", full)
    digests, rows = _rows(6)
    with store.writing() as take:
        for start in (0, 2, 4):
            take(digests[start : start + 2], rows[start : start + 2])
    assert np.array_equal(store.activations(digests).rows(0, 6), rows)
    assert len(told) == 1
    assert "can't be written (No space left on device): the run continues" in told[0]
    assert "HFTRANSFER_CACHE" in told[0]
    assert ActivationStore.in_cache({"x": 1}, told.append).missing(digests) == [2, 3, 4, 5]


def test_a_filled_cache_that_may_only_be_read_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    digests, rows = _rows(4)
    with ActivationStore.in_cache({"x": 1}, print).writing() as take:
        take(digests[:2], rows[:2])

    def read_only(path: Path, *_: Any, **__: Any) -> Any:
        raise OSError(30, "Read-only file system", str(path))

    opened = Path.open

    def opening(path: Path, mode: str = "r", *args: Any, **given: Any) -> Any:
        if path.is_relative_to(cache.cache_root()) and set(mode) & set("wax+"):
            read_only(path)
        return opened(path, mode, *args, **given)

    monkeypatch.setattr(Path, "open", opening)
    monkeypatch.setattr(Path, "write_text", read_only)
    told: list[str] = []
    store = ActivationStore.in_cache({"x": 1}, told.append)
    assert store.missing(digests) == [2, 3]
    assert told == []
    with store.writing() as take:
        take(digests[2:], rows[2:])
    assert np.array_equal(store.activations(digests).rows(0, 4), rows)
    assert len(told) == 1


def test_what_a_killed_run_left_half_written_is_swept() -> None:
    store = ActivationStore.in_cache({"x": 1}, print)
    (store.folder / ".0123456789ab.tmp").write_bytes(b"half")
    ActivationStore.in_cache({"x": 1}, print)
    assert [file.name for file in store.folder.iterdir()] == ["key.json"]


# --- interrupted runs ------------------------------------------------------------------------------------------------


def _stopped(
    recipe: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch, *, at_step: int | None
) -> BaseException:
    """What stops a run: at a step of the loop, or where features are computed."""
    seen = 0

    def stop() -> None:
        nonlocal seen
        seen += 1
        if at_step is None or seen > at_step:
            raise Interrupted(signal.SIGINT)

    where = "activations" if at_step is None else "loop"
    monkeypatch.setattr(f"hftransfer.training.{where}.stop_if_asked", stop)
    with pytest.raises(Interrupted) as error:
        run(recipe, ["train.seed=3", "train.batch_size=4"], out=out, progress=SILENT)
    monkeypatch.undo()
    return error.value


def test_an_interrupted_run_goes_on_from_its_folder_alone_with_the_overrides_it_was_begun_with(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {**recipe_for(tiny("vit"), folder_data, epochs=2), "strategy": {"kind": "fine-tune", "unfreeze": 1}}
    folder = tmp_path / "my run"
    error = _stopped(recipe, folder, monkeypatch, at_step=3)
    told = how_to_go_on(error.run_folder)  # type: ignore[attr-defined]
    assert told == f"continue from the newest checkpoint: hftransfer run --resume '{folder}'"
    done = CliRunner().invoke(app, ["run", "--resume", str(folder), "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "seed: 3" in (folder / "recipe.yaml").read_text()
    assert not (folder / ".hftransfer-run.json").exists()
    whole = run(recipe, ["train.seed=3", "train.batch_size=4"], out=tmp_path / "whole", progress=SILENT)
    weights = [(each / "model" / "model.safetensors").read_bytes() for each in (folder, whole.folder)]
    assert weights[0] == weights[1]


def test_where_there_is_no_checkpoint_none_is_promised(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(tiny("resnet"), folder_data)
    error = _stopped(recipe, tmp_path / "run", monkeypatch, at_step=None)
    assert how_to_go_on(error.run_folder).startswith("there is no checkpoint yet; start again")  # type: ignore[attr-defined]
    run(tmp_path / "run", resume=True, progress=SILENT)
    assert not is_interrupted(tmp_path / "run")
    assert how_to_go_on(tmp_path / "run") == "the cache is kept"


def test_a_stopped_run_goes_on_wherever_one_stands(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recipe = recipe_for(tiny("resnet"), os.path.relpath(folder_data))
    _stopped(recipe, tmp_path / "run", monkeypatch, at_step=None)
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "run", resume=True, progress=SILENT)
    assert not is_interrupted(tmp_path / "run")


def test_a_full_disk_under_a_probe_promises_no_checkpoint(
    tiny: TinyModels, folder_data: Path, tmp_path: Path, without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hftransfer.jobs.training.save_model", full)
    monkeypatch.setattr("hftransfer.training.checkpoint._write", full)
    with pytest.raises(WriteError) as told:
        run(recipe_for(tiny("resnet"), folder_data), out=tmp_path / "run", progress=SILENT)
    assert "No space left on device. There is no checkpoint to resume from: free some disk space" in str(told.value)
    assert not (tmp_path / "run").exists()


# --- folders of results, and pages -----------------------------------------------------------------------------------


def test_what_a_killed_audit_left_is_replaced_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    code = f"""
    from pathlib import Path
    from hftransfer.base.run_folder import new_folder
    entered = new_folder(Path({str(tmp_path / "audit")!r}), "audit")
    (entered.__enter__().draft / "audit.csv").write_text("half")
    """

    def write(text: str) -> None:
        with new_folder(tmp_path / "audit", "audit") as folder:
            (folder.draft / "audit.csv").write_text(text)

    with another_process(code), pytest.raises(OutputError, match="another run is writing to"):
        write("whole")
    write("whole")
    assert {file.name: file.read_text() for file in (tmp_path / "audit").iterdir()} == {"audit.csv": "whole"}
    with pytest.raises(OutputError, match="must be new or empty; got a folder with files"):
        write("again")


def test_results_that_fail_leave_the_folder_as_it_was(tmp_path: Path) -> None:
    def fail(out: Path) -> None:
        with new_folder(out, "audit") as folder:
            (folder.draft / "half").touch()
            raise WriteError(f"{folder.draft} is full")

    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        with pytest.raises(WriteError, match=f"{name} is full"):
            fail(tmp_path / name)
    assert [(entry.name, list(entry.iterdir())) for entry in tmp_path.iterdir()] == [("empty", [])]


def test_what_would_steer_a_terminal_or_turn_writing_is_escaped_on_every_page(tmp_path: Path) -> None:
    evil = "a\x1b[31mb\u202ec\x9bd"
    finding = Finding("oddity", "train", evil, evil, evil)
    write_audit(tmp_path, Audit(1, (finding,), (evil,)), evil)
    metrics: dict[str, Any] = {"task": "text-classification", "model": evil, "strategy": "linear-probe"}
    metrics |= {"test": {"accuracy": 0.5}, "validation": {"accuracy": 0.5}, "examples": {"test": 1}, "seconds": {}}
    metrics |= {"parameters": {"trainable": 1, "total": 1}, "peak_memory_bytes": 1}
    environment = {"device": "cpu", "precision": "fp32", "threads": 1, "versions": {}}
    groups = [Group(evil, texts=[Said(evil, [])])]
    page = RunPage(title=evil, task=TASKS["text-classification"], metrics=metrics, class_names=(evil,), counts={},
                   data=evil, recipe=evil, command="", usage="", environment=environment,
                   groups=groups)  # fmt: skip
    cell: Any = type("C", (), {"name": evil, "model": evil, "strategy": evil, "shots": "all", "seed": 0})()
    study = Study(tmp_path, evil, "accuracy", [CellResult(cell, tmp_path / "c", error=evil)], [], [], [], evil)
    for shown in ((tmp_path / "audit.html").read_text(), page.html(), html_of(study, []), markdown_of(study)):
        assert "\\x1b[31mb\\u202ec\\x9bd" in shown
        assert not set("\x1b\u202e\x9b") & set(shown)


def test_an_html_page_keeps_lines_and_marks_of_its_own() -> None:
    page = render_page("hftransfer.auditing", "audit.html.jinja", title="a\r\nb <c>", rows="", groups=[], notes=[])
    assert "a\nb &lt;c&gt;" in page


# --- several runs on the same cores ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "before", "expected"),
    [
        ({}, "", "10000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "", "None"),
        ({"GOMP_SPINCOUNT": "7"}, "", "7"),
        ({"KMP_BLOCKTIME": "7"}, "", "None"),
        ({}, "sys.modules['torch'] = sys; ", "None"),
    ],
)
def test_threads_that_wait_give_their_core_away_unless_a_person_decides(
    given: dict[str, str], before: str, expected: str
) -> None:
    code = f"import os, sys; {before}import hftransfer; print(os.environ.get('GOMP_SPINCOUNT'))"
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
