"""The house of benchmarks, tried on sides that do nothing; no time is tested."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import environments, report
from benchmarks.catalogue import BENCHMARKS, PROGRAMS
from benchmarks.harness import Benchmark, Compared, Goal, Measured, Side, compare, faster
from benchmarks.processes import run_process

ROOT = Path(__file__).parents[1]
HARDWARE = {"cores": 2, "cpu": ["AVX2"], "gpu": None, "memory_gib": 8, "bf16": False, "versions": {}}
OUR_SECONDS, RIVAL_SECONDS = (2.0, 4.0, 5.0), (10.0, 8.0, 30.0)


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """Data that all sides of a pair find."""
    data = Path(settings["folder"]) / "data"
    data.write_text(f"seed {settings['seed']}")
    return {"data": str(data)}


def ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side."""
    return _noted("ours", settings, OUR_SECONDS)


def rival(settings: dict[str, Any]) -> dict[str, Any]:
    """A rival that takes longer."""
    return _noted("rival", settings, RIVAL_SECONDS)


def half(settings: dict[str, Any]) -> dict[str, Any]:
    """A rival in half precision."""
    return _noted("half", settings, RIVAL_SECONDS)


def failing(settings: dict[str, Any]) -> dict[str, Any]:
    """A rival that can't run."""
    _noted("failing", settings, RIVAL_SECONDS)
    raise RuntimeError("it needs the Hub")


def _noted(name: str, settings: dict[str, Any], seconds: tuple[float, ...]) -> dict[str, Any]:
    assert Path(settings["data"]).read_text() == f"seed {settings['seed']}"
    with Path(settings["log"]).open("a") as file:
        file.write(f"{'warm ' if settings['rows'] == 1 else ''}{name}\n")
    return {"seconds": seconds[settings["seed"]], "accuracy": 0.9, "predictions": [1, 2, 3, 4]}


FAKE = Benchmark(
    name="fake",
    about="sides that do nothing",
    sides=(
        Side("ours", ours),
        Side("rival", rival, (faster(4),)),
        Side("failing", failing, (faster(2),)),
        Side("half", half, (faster(6),), bf16=True),
    ),
    settings={"data": "", "rows": 100},
    prepare=prepare,
    warm_up={"rows": 1},
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    log = tmp_path_factory.mktemp("fake") / "log.txt"
    settings = FAKE.settings | {"log": str(log)}
    return compare(FAKE, settings, pairs=3, threads=1, hardware=HARDWARE, say=lambda _: None)


def test_sides_run_in_turn_and_every_second_pair_in_reverse_after_a_warm_up_that_does_not_count(
    found: Compared,
) -> None:
    order = Path(found.settings["log"]).read_text().splitlines()
    warm, first = ["warm ours", "warm rival", "warm failing", "warm half"], ["ours", "rival", "half"]
    assert order == [*warm, *first, "rival", "ours", "ours", "rival"]
    assert sorted(found.runs["ours"]) == [0, 1, 2]


def test_the_ratio_and_its_spread_are_those_of_the_pairs(found: Compared) -> None:
    told = {side["side"]: side for side in report.summary(found)["sides"]}
    by_hand = {"median": 5.0, "low": 2.0, "high": 6.0}  # of 10/2, 8/4 and 30/5
    assert told["rival"]["figures"] == [{"figure": "rival ÷ us", **by_hand, "goal": "≥ 4", "reached": True}]
    assert told["ours"]["seconds"] == {"median": 4.0, "low": 2.0, "high": 5.0}
    assert told["rival"]["same_predictions"] == 1.0


def test_a_rival_that_fails_is_named_with_its_reason_and_the_others_go_on(found: Compared) -> None:
    told = {side["side"]: side for side in report.summary(found)["sides"]}
    assert told["failing"] == {"side": "failing", "cannot_run": "RuntimeError: it needs the Hub"}
    assert len(told["rival"]["runs"]) == 3


def test_half_precision_that_is_emulated_runs_once_and_says_so(found: Compared) -> None:
    told = {side["side"]: side for side in report.summary(found)["sides"]}
    assert len(told["half"]["runs"]) == 1
    assert "once" in told["half"]["note"]
    assert told["half"]["figures"][0]["reached"] is False  # 10 / 2 = 5 is less than 6


def test_json_and_markdown_are_written_with_date_and_hardware(found: Compared, tmp_path: Path) -> None:
    text = report.write(found, tmp_path)
    content = json.loads((tmp_path / "fake.json").read_text())
    assert content["pairs"] == 3
    assert content["sides"][0]["peak_memory_bytes"] > 0
    assert (tmp_path / "fake.md").read_text() == text
    assert text in (tmp_path / "README.md").read_text()
    assert f"{content['date']}, 2 cores (AVX2, no AMX), 8 GiB; 3 interleaved pairs" in text
    assert "| rival | 10 (8 to 30) |" in text
    assert "| 0.900, 100.0% predicted as ours | rival ÷ us: 5 (2 to 6) | ≥ 4 | yes |" in text
    assert "| failing | did not run: RuntimeError: it needs the Hub |" in text


def test_our_own_failure_ends_the_comparison(tmp_path: Path) -> None:
    alone = Benchmark("alone", "ours fails", (Side("ours", failing),), FAKE.settings, prepare, FAKE.warm_up)
    settings = FAKE.settings | {"log": str(tmp_path / "log.txt")}
    with pytest.raises(environments.CannotRun, match="it needs the Hub"):
        compare(alone, settings, pairs=1, threads=1, hardware=HARDWARE, say=lambda _: None)


def test_speed_counts_only_at_equal_accuracy() -> None:
    goal = faster(2)
    assert goal.reached(3.0, 0.90, 0.91) is True
    assert goal.reached(3.0, 0.90, 0.92) is False
    assert goal.reached(1.0, 0.90, 0.80) is False
    assert Goal("memory", lambda own, other: own.peak_bytes / other.peak_bytes, 1.1, at_most=True).reached(
        1.0, None, None
    )
    assert faster().reached(3.0, 0.9, 0.9) is None


def test_figures_are_made_of_the_pairs_in_which_both_ran() -> None:
    runs = {pair: Measured(seconds=pair + 1.0, peak_bytes=1, anonymous_bytes=1) for pair in range(3)}
    compared = Compared(FAKE, {}, 3, HARDWARE, {"ours": runs, "rival": {1: Measured(8.0, 1, 1)}})
    assert compared.figures(FAKE.sides[1], faster()) == [4.0]


def test_memory_of_children_counts_and_what_takes_too_long_is_killed(tmp_path: Path) -> None:
    child = "import time; held = b'x' * 80_000_000; time.sleep(0.5)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    ended = run_process([sys.executable, "-c", script], {}, tmp_path, limit_seconds=30)
    assert ended.status == 0
    assert ended.peak_bytes > 80_000_000
    late = run_process([sys.executable, "-c", "import time; time.sleep(60)"], {}, tmp_path, limit_seconds=0.2)
    assert late.status != 0
    assert late.reason == "it took longer than 0 s"


def test_pins_that_are_here_need_no_other_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "RIVALS", tmp_path)
    (tmp_path / "here.txt").write_text(f"# a word\nnumpy=={version('numpy')}\n")
    assert environments.python_of("here") == sys.executable


def test_the_list_names_all_with_their_goals(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    told = capsys.readouterr().out
    for name in [*BENCHMARKS, *PROGRAMS]:
        assert re.search(rf"^{name} ", told, re.M), name
    assert "Trainer, frozen: rival ÷ us ≥ 15" in told


def test_an_unknown_name_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["probe-potos"]) == 2
    assert "probe-photos" in capsys.readouterr().err


def test_every_benchmark_has_what_it_needs() -> None:
    for benchmark in BENCHMARKS.values():
        for side in benchmark.sides:
            assert side.environment is None or (environments.RIVALS / f"{side.environment}.txt").is_file(), side.name
            assert set(benchmark.warm_up) <= set(benchmark.settings), benchmark.name
        assert set(benchmark.small or {}) <= set(benchmark.settings), benchmark.name
    for program in PROGRAMS:
        assert (ROOT / "benchmarks" / f"{program.replace('-', '_')}.py").is_file()


def test_what_other_environments_run_imports_nothing_of_hftransfer() -> None:
    for script in environments.RIVALS.glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) (?:hftransfer|benchmarks)\S*", script.read_text(), re.M)
        assert {line.strip() for line in imported} <= {
            f"from benchmarks.rivals.{name}" for name in ("reading", "masks")
        }, script


def test_names_in_the_documents_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"python -m benchmarks ([a-z][a-z0-9-]*)", text):
            assert name in BENCHMARKS or name in PROGRAMS, f"{page.name}: {name}"
        for file in re.findall(r"benchmarks/\w+\.py", text):
            assert (ROOT / file).is_file(), f"{page.name}: {file}"
