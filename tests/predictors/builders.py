"""Runs of the command line, and a model of reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.jobs.run import run
from tests.builders import (
    TinyModels,
    recipe_for,
)

SILENT = Progress(None)


def call(*arguments: Any, given: str | None = None) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)


@pytest.fixture(scope="session")
def reviewed(tiny: TinyModels, text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on texts."""
    recipe = recipe_for(tiny("bert"), text_data) | {"task": "text-classification"}
    return run(recipe, out=tmp_path_factory.mktemp("reviewed") / "run", progress=SILENT).folder
