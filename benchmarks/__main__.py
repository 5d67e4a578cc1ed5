"""`python -m benchmarks` lists all there are, `python -m benchmarks NAME` runs one, `--small` those of `make bench`."""

from __future__ import annotations

import argparse
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import environments, hardware, report
from benchmarks.catalogue import BENCHMARKS, PROGRAMS
from benchmarks.harness import Benchmark, compare, pin, run_work

_RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where something of ours failed."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given and not given[0].startswith("-") else None
    if name in PROGRAMS:
        sys.argv = [name, *given[1:]]
        runpy.run_module(f"benchmarks.{name.replace('-', '_')}", run_name="__main__")
        return 0
    if not given:
        print(_listing())
        return 0
    if name is not None and name not in BENCHMARKS:
        print(f"{name} must be one of {', '.join([*BENCHMARKS, *PROGRAMS])}", file=sys.stderr)
        return 2
    benchmark = BENCHMARKS.get(name or "")
    options = _parser(benchmark).parse_args(given)
    if benchmark is None and not options.small:
        print(_listing())
        return 0
    chosen = [benchmark] if benchmark else [found for found in BENCHMARKS.values() if found.small is not None]
    pin(options.threads)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # the side that runs ends too
    known, _ = run_work(hardware.describe, {}, options.threads)
    return max(_run(found, options, known) for found in chosen)


def _run(benchmark: Benchmark, options: argparse.Namespace, known: dict[str, Any]) -> int:
    settings = dict(benchmark.settings)
    pairs = benchmark.pairs
    if options.small:
        settings |= benchmark.small or {}
        pairs = 1
    settings |= {key: given for key in settings if (given := getattr(options, key, None)) is not None}
    settings |= {key: _absolute(settings[key]) for key in ("data", "model") if key in settings}
    try:
        found = compare(
            benchmark,
            settings,
            options.pairs or pairs,
            options.threads,
            known,
            only=options.side or (),
            quick=options.small,
        )
    except environments.CannotRun as error:
        print(f"{benchmark.name} can't run: {error}", file=sys.stderr)
        return 1
    print(report.write(found, Path(options.out)), flush=True)
    return 0


def _absolute(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.resolve()) if name and path.exists() else name


def _parser(benchmark: Benchmark | None) -> argparse.ArgumentParser:
    about = f"{benchmark.about}. Goals: {benchmark.goals()}." if benchmark else __doc__
    program = f"python -m benchmarks {benchmark.name if benchmark else ''}".strip()
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("name", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="one pair over little data, as `make bench` does")
    parser.add_argument(
        "--pairs", type=int, help=f"interleaved pairs, {benchmark.pairs if benchmark else 5} by default"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="cores and threads of every side")
    names = [side.name for side in benchmark.sides[1:]] if benchmark else []
    parser.add_argument("--side", action="append", choices=names, help="a rival, several times for several; else all")
    parser.add_argument("--out", default=str(_RESULTS), help="the folder for JSON and Markdown")
    for key, value in (benchmark.settings if benchmark else {}).items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=type(value), help=f"{value} by default")
    return parser


def _listing() -> str:
    lines = [
        "python -m benchmarks NAME [--pairs N] [--threads N] [--small] [--out FOLDER] [settings: see NAME --help]",
        "",
    ]
    for benchmark in BENCHMARKS.values():
        lines += [f"{benchmark.name:18} {benchmark.about}", f"{'':18} goals: {benchmark.goals()}"]
    lines += ["", "Not comparisons of this kind, with options of their own:"]
    return "\n".join(lines + [f"{name:18} {about}" for name, about in PROGRAMS.items()])


if __name__ == "__main__":
    sys.exit(main())
