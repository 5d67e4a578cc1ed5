"""Figures of a run: each series is where it can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hftransfer.report import figures


def _row(epoch: int, **values: float) -> dict[str, float]:
    return {"epoch": epoch, "train_loss": 2.2, **values, "learning_rate": 1e-3, "seconds": 1.0}


@pytest.mark.parametrize(
    ("rows", "beyond"),
    [
        ([_row(n, bits_per_byte=0.9, perplexity=13.0 - n, token_accuracy=0.6) for n in range(2)], {"perplexity"}),
        ([_row(n, accuracy=0.5 + n / 10, log_loss=0.7) for n in range(3)], {"log loss"}),
        ([_row(n, r2=-0.5, rmse=40.0) for n in range(2)], {"root mean squared error"}),
        ([_row(1, f1=0.5)], set()),
    ],
)
def test_every_series_of_the_history_is_within_its_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, float]], beyond: set[str]
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, _: drawn.append(figure))
    figures.draw_history(tmp_path / "history.png", rows, 1, "epoch 1 of 1")
    left, right = drawn[0].axes
    assert beyond <= {line.get_label().removeprefix("validation ") for line in left.get_lines()}
    for axes in (left, right):
        low, high = axes.get_ylim()
        for line in axes.get_lines():
            if line.get_label().startswith(("validation", "training")):
                values = np.asarray(line.get_ydata(), dtype=float)
                assert np.all((values >= low) & (values <= high)), line.get_label()


def test_titles_have_three_significant_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, _: drawn.append(figure))
    figures.draw_l2(tmp_path / "l2.png", [(0.001, 0.7), (10**-1.5, 0.5), (1.0, 0.6)])
    assert drawn[0].axes[0].get_title(loc="left") == "L2 strength: 0.0316"
