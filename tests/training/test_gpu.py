"""What GPUs need of the engine, as far as it shows without one; `python -m benchmarks gpu` shows the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu_checks
from benchmarks.gpu_material import FAMILIES, Setting
from hftransfer.adapters.base import Adapter
from hftransfer.training.devices import has_no_order, repeatable
from hftransfer.training.loop import _Run

_REFUSED = "upsample_backward does not have a deterministic implementation, but you set a flag"


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting("cpu", True, tmp_path)


def test_order_is_fixed_meanwhile_and_as_it_was_afterwards() -> None:
    with repeatable(on=False):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(on=True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert has_no_order(RuntimeError(_REFUSED))
    assert not has_no_order(RuntimeError("CUDA out of memory"))


def test_a_run_goes_on_where_an_operation_has_no_order(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    whole = gpu_checks._weights(gpu_checks._fitted(setting, "vit"))
    above, begun = Adapter.above, _Run.__init__

    def refusing(self: Adapter, activations: Any, boundary: int) -> torch.Tensor:
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError(_REFUSED)
        return above(self, activations, boundary)

    def begin(self: _Run, plan: Any) -> None:
        begun(self, plan)
        self.repeats = True  # as on a GPU

    monkeypatch.setattr(Adapter, "above", refusing)
    monkeypatch.setattr(_Run, "__init__", begin)
    told = io.StringIO()
    same = gpu_checks._weights(gpu_checks._fitted(setting, "vit", told=told))
    assert told.getvalue().count(f"this run can't be reproduced bit for bit: {_REFUSED}") == 1
    assert all(torch.equal(whole[name], same[name]) for name in whole)


def test_the_contract_fails_where_parts_differ_from_the_whole(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = Adapter.above
    monkeypatch.setattr(Adapter, "above", lambda *given: above(*given) * 1.01)
    monkeypatch.setattr(gpu_checks, "FAMILIES", {"vit": FAMILIES["vit"]})
    with pytest.raises(AssertionError, match=r"1 cases failed:\nvit: .*the parts differ from the whole by"):
        gpu_checks.contract(setting)


@pytest.mark.slow
def test_resuming_fails_where_bits_differ(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    above = Adapter.above
    monkeypatch.setattr(Adapter, "above", lambda *given: above(*given) * (1 + 0.01 * float(torch.randn(()).item())))
    monkeypatch.setattr(torch, "manual_seed", lambda seed: torch.seed())
    with pytest.raises(AssertionError, match="largest differences of weights"):
        gpu_checks.resume("vit-bf16", setting)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_fails_or_hangs_harms_no_other_check(tmp_path: Path) -> None:
    from benchmarks import gpu

    def ends(_: Setting) -> dict[str, Any]:
        os._exit(3)

    def hangs(_: Setting) -> dict[str, Any]:
        import time

        time.sleep(60)
        return {}

    def fails(_: Setting) -> dict[str, Any]:
        raise ValueError("wrong")

    outcomes: list[gpu.Outcome] = []
    import time

    runs = gpu._Runs(Setting("cpu", True, tmp_path), tmp_path, outcomes, time.perf_counter(), 12.5)
    runs.all_of({"ends": ends, "hangs": hangs, "fails": fails, "fine": lambda _: {"one": 1}}, together=4)
    found = {one.name: (one.status, one.figures) for one in outcomes}
    assert found["fine"] == ("ok", {"one": 1})
    assert found["fails"] == ("FAILED: ValueError", {})
    assert found["ends"][0] == "FAILED: ended with status 3"
    assert found["hangs"][0] == "FAILED: ran past its limit"
    assert len(json.loads((tmp_path / "gpu.json").read_text())) == 4


@pytest.mark.slow
def test_the_program_runs_in_fresh_processes(tmp_path: Path) -> None:
    only = ["--only", "parts", "--fresh"]
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--small", "--out", str(tmp_path), *only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["name"] for one in json.loads((tmp_path / "gpu.json").read_text())] == ["device", "parts"]
