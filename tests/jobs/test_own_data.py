"""A run judged again on the data that it was made of: as they were, and as they are now."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from hftransfer.base.progress import Progress
from hftransfer.jobs.evaluation import evaluate_model
from hftransfer.jobs.run import run
from tests.builders import TinyModels, picture, recipe_for, write_classes


def judged(folder: Path) -> tuple[float, str]:
    told = io.StringIO()
    return float(evaluate_model(str(folder), None, progress=Progress(told))["log_loss"]), told.getvalue()


def test_data_that_changed_since_are_told_of(tiny: TinyModels, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_classes(data, {"red": 12, "blue": 12})
    done = run(recipe_for(tiny("resnet"), data), out=tmp_path / "run", progress=Progress(None))
    again, told = judged(done.folder)
    assert again == pytest.approx(done.metrics["test"]["log_loss"], abs=1e-6)
    assert "changed" not in told
    picture(seed=99).save(data / "red" / "new.png")
    assert "warning: the data have changed since the run: the test split may hold rows that" in judged(done.folder)[1]


def test_what_the_run_left_out_is_left_out_again(tiny: TinyModels, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_classes(data, {"red": 24, "blue": 24})
    recipe = recipe_for(tiny("resnet"), data)
    recipe["data"] |= {"on_error": "skip", "test_fraction": 0.5}
    whole = run(recipe, out=tmp_path / "whole", progress=Progress(None))
    tested = next(row for row in _tested(whole.folder) if row.startswith("red/"))
    file = data / tested
    file.write_bytes(file.read_bytes()[:-300])  # its header can be read
    done = run(recipe, out=tmp_path / "run", progress=Progress(None))
    if tested in _tested(done.folder):
        pytest.skip("Pillow reads what is left of it")
    again, told = judged(done.folder)
    assert again == pytest.approx(done.metrics["test"]["log_loss"], abs=1e-6)
    assert f"left out: {tested}" in told


def _tested(folder: Path) -> list[str]:
    import pyarrow.parquet

    return [str(name) for name in pyarrow.parquet.read_table(folder / "predictions.parquet")["id"].to_pylist()]
