"""What must hold on a GPU, and how fast it is there: `python -m benchmarks gpu --out FOLDER`.

Needs no network and no weights. Each check runs in a process of its own that may fail, hang or spoil the device without
harm to the others; what is known is written to `gpu.json` and `gpu.md` after each. `--device cpu --small` tries it all
on a CPU at toy size.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # to ask for the device must not take it: checks are forked
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from benchmarks.gpu_checks import CHECKS, Check, device
from benchmarks.gpu_material import Setting
from benchmarks.gpu_speed import SPEEDS

_ALL: dict[str, Check] = {**CHECKS, **SPEEDS}
_LIMITS_SECONDS = {"device": 40, "compiled": 110, "learn-images": 120, "learn-texts": 120, "contract": 100}
_LIMIT_SECONDS = 90
_TOGETHER = 5
"""Checks that time nothing run beside each other."""
_IMPORTED = (
    *("torch", "torchvision", "transformers", "accelerate", "peft", "timm", "pandas", "datasets", "scipy.optimize"),
    *("hftransfer.jobs.run", "hftransfer.predictors.load", "hftransfer.jobs.training", "hftransfer.training.transfer"),
    *("transformers.models.vit.modeling_vit", "transformers.models.bert.modeling_bert", "transformers.trainer"),
    *("accelerate.optimizer", "sklearn.metrics"),
)


@dataclass
class Outcome:
    """What became of a check."""

    name: str
    status: str
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    trace: str = ""


@dataclass
class _Running:
    """A check in a process of its own."""

    name: str
    pid: int
    result: Path
    log: Path
    began: float
    limit_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 1 where a check failed."""
    began = time.perf_counter()
    options = _parser().parse_args(arguments)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if options.inside:
        name, result, log, limit, together, folder = options.inside
        setting, check = Setting(options.device, options.small, Path(folder)), {**_ALL, "device": device}[name]
        _inside(lambda: check(setting), Path(result), Path(log), float(limit), int(together))
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="hftransfer-gpu-") as folder:
        os.environ["HFTRANSFER_CACHE"] = str(Path(folder) / "cache")
        _tell_version(Path(folder))
        _import_all()
        setting = Setting(options.device, options.small, Path(folder))
        run = _Runs(setting, out, outcomes, began, options.budget_seconds)
        run.fresh = options.fresh
        run.all_of({"device": device}, together=1)
        if outcomes[0].status != "ok" and not run.fresh:  # something that was imported took the device
            run.fresh = True
            run.all_of({"device": device}, together=1)
        chosen = options.only or list(_ALL)
        run.all_of({name: CHECKS[name] for name in CHECKS if name in chosen}, together=options.together)
        run.all_of({name: SPEEDS[name] for name in SPEEDS if name in chosen}, together=1)
    print(as_text(outcomes), flush=True)
    print(f"{time.perf_counter() - began:.0f} s in all; {out / 'gpu.json'}")
    return int(any(outcome.status != "ok" for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--out", default="gpu-results", help="the folder for gpu.json, gpu.md and gpu.log")
    parser.add_argument("--only", nargs="+", choices=list(_ALL), metavar="NAME", help=f"of {', '.join(_ALL)}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="toy sizes")
    parser.add_argument("--budget-seconds", type=float, default=330, help="what does not begin in time is left out")
    parser.add_argument("--fresh", action="store_true", help="a fresh process for every check")
    parser.add_argument("--inside", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--together", type=int, default=min(_TOGETHER, max(1, (os.cpu_count() or 1) // 3)))
    return parser


def _tell_version(folder: Path) -> None:
    """Give a copy of the library that was not installed, as on a machine without network, a version that can be asked
    for."""
    try:
        version("hftransfer")
    except PackageNotFoundError:
        import hftransfer

        own = folder / f"hftransfer-{hftransfer.__version__}.dist-info"
        own.mkdir()
        text = f"Metadata-Version: 2.1\nName: hftransfer\nVersion: {hftransfer.__version__}\n"
        (own / "METADATA").write_text(text, encoding="utf-8")
        sys.path.append(str(folder))
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)


def _import_all() -> None:
    """Import what all checks need, once for all of them."""
    for name in _IMPORTED:
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"import of {name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


class _Runs:
    """Runs checks in processes of their own, and keeps what became of them."""

    def __init__(
        self, setting: Setting, out: Path, outcomes: list[Outcome], began: float, budget_seconds: float
    ) -> None:
        self.setting, self.out, self.outcomes = setting, out, outcomes
        self.ends = began + budget_seconds
        self.fresh = False
        """Whether checks run in fresh processes, which import everything anew, and not in copies of this one."""

    def all_of(self, checks: dict[str, Check], *, together: int) -> None:
        """Run these checks, so many beside each other."""
        waiting, running = list(checks), list[_Running]()
        while waiting or running:
            while waiting and len(running) < together:
                name = waiting.pop(0)
                if self._left() < 10:
                    self._keep(Outcome(name, "left out: no time"))
                    continue
                running.append(self._begin(name, checks[name], together))
            running = [one for one in running if not self._ended(one)]
            time.sleep(0.05)

    def _left(self) -> float:
        return self.ends - time.perf_counter()

    def _begin(self, name: str, check: Check, together: int) -> _Running:
        place = self.setting.folder / f"outcome-{name}"
        limit = min(_LIMITS_SECONDS.get(name, _LIMIT_SECONDS), self._left())
        result, log = place.with_suffix(".json"), place.with_suffix(".log")
        for file in (result, log):
            file.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        if self.fresh:
            part = [name, str(result), str(log), str(limit), str(together), str(self.setting.folder)]
            size = ["--small"] if self.setting.small else []
            command = [
                sys.executable,
                "-m",
                "benchmarks.gpu",
                "--device",
                self.setting.device,
                *size,
                "--inside",
                *part,
            ]
            pid = subprocess.Popen(command).pid
        else:
            pid = os.fork()
            if pid == 0:
                _inside(lambda: check(self.setting), result, log, limit, together)
        return _Running(name, pid, result, log, time.perf_counter(), limit)

    def _ended(self, one: _Running) -> bool:
        seconds = time.perf_counter() - one.began
        pid, status = os.waitpid(one.pid, os.WNOHANG)
        if pid == 0 and seconds < one.limit_seconds:
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(one.pid, signal.SIGKILL)
        if pid == 0:
            os.waitpid(one.pid, 0)
        self._keep(self._outcome(one, seconds, status if pid else None))
        return True

    def _outcome(self, one: _Running, seconds: float, status: int | None) -> Outcome:
        log = one.log.read_text(encoding="utf-8", errors="replace") if one.log.is_file() else ""
        with (self.out / "gpu.log").open("a", encoding="utf-8") as file:
            file.write(f"===== {one.name}\n{log}\n")
        if one.result.is_file():
            known = json.loads(one.result.read_text(encoding="utf-8"))
            return Outcome(one.name, known["status"], seconds, known["figures"], known["trace"])
        told = "ran past its limit" if status is None else f"ended with status {os.waitstatus_to_exitcode(status)}"
        return Outcome(one.name, f"FAILED: {told}", seconds, trace="\n".join(log.splitlines()[-25:]))

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        print(f"{outcome.name}: {outcome.status} ({outcome.seconds:.1f} s)", flush=True)
        if outcome.trace:
            print("\n".join(f"    {line}" for line in outcome.trace.splitlines()[-12:]), flush=True)
        draft = self.out / ".gpu.json.tmp"
        draft.write_text(json.dumps([vars(one) for one in self.outcomes], indent=1, default=str), encoding="utf-8")
        draft.replace(self.out / "gpu.json")
        (self.out / "gpu.md").write_text(as_text(self.outcomes) + "\n", encoding="utf-8")


def _inside(work: Callable[[], Any], result: Path, log: Path, limit_seconds: float, together: int) -> NoReturn:
    """Write what a check gives, and end this process."""
    with suppress(PermissionError):
        os.setsid()
    found: dict[str, Any] = {"status": "ok", "figures": {}, "trace": ""}
    with log.open("w", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        faulthandler.dump_traceback_later(max(1.0, limit_seconds - 2), file=file)
        try:
            import torch

            torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)) // together))
            found["figures"] = work()
        except BaseException as error:
            found["status"] = f"FAILED: {type(error).__name__}"
            found["trace"] = "\n".join(traceback.format_exc().splitlines()[-40:])
        draft = result.with_suffix(".tmp")
        draft.write_text(json.dumps(found, default=str), encoding="utf-8")
        draft.rename(result)
    os._exit(0)


# --- in words --------------------------------------------------------------------------------------------------------


def as_text(outcomes: Sequence[Outcome]) -> str:
    """Return a table of all checks, and below it the figures of each."""
    lines = ["| check | | s |", "| --- | --- | --- |"]
    lines += [f"| {one.name} | {one.status} | {one.seconds:.0f} |" for one in outcomes]
    for one in outcomes:
        if one.figures:
            lines += ["", f"## {one.name}", *_figure_lines(one.figures)]
        if one.trace:
            lines += ["", f"## {one.name}: {one.status}", "```", *one.trace.splitlines()[-25:], "```"]
    return "\n".join(lines)


def _figure_lines(figures: dict[str, Any], before: str = "- ") -> list[str]:
    lines: list[str] = []
    for name, value in figures.items():
        if isinstance(value, dict) and len(value) > 1 and any(isinstance(part, dict) for part in value.values()):
            lines += [f"{before}{name}:", *_figure_lines(value, f"  {before}")]
        else:
            lines.append(f"{before}{name}: {_shown(value)}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
