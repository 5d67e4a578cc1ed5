"""Charts of pages: every number is where it can be seen, and nothing of a name is obeyed."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from hftransfer.report.charts import (
    HEIGHT,
    WIDTH,
    Axis,
    Bars,
    Chart,
    Series,
    _Frame,
    nice_ticks,
    tick_text,
    tick_texts,
)
from hftransfer.report.run_charts import (
    calibration_chart,
    certainty_chart,
    history_charts,
    l2_chart,
    matrix_of,
    plot_chart,
    shots_chart,
)
from hftransfer.tasks.shown import Line, Plot

RANDOM = np.random.default_rng(0)


def _numbers_in(chart: Chart) -> np.ndarray:
    """The x and y of all that is drawn, in units of the drawing."""
    drawing = ElementTree.fromstring(chart.svg())
    found = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawing.iter("circle")]
    for one in [*drawing.iter("polyline"), *drawing.iter("polygon")]:
        found += [tuple(map(float, part.split(","))) for part in one.attrib["points"].split()]  # type: ignore[misc]
    for one in drawing.iter("rect"):
        x, y, width, height = (float(one.attrib[name]) for name in ("x", "y", "width", "height"))
        assert height >= 0
        found += [(x, y), (x + width, y + height)]
    return np.array(found)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1e-6, 1.0, 1e6], [5.0, 5.0, 5.0], [1e-9, 2e-9, 3e-9], [7.0]])
@pytest.mark.parametrize("form", ["line", "points", "intervals", "bars"])
def test_whatever_is_drawn_lies_within_the_drawing(scale: str, values: list[float], form: str) -> None:
    ends = [value * 0.9 for value in values], [value * 1.1 for value in values]
    series = Series("a", values, values, ends, form=form)  # type: ignore[arg-type]
    found = _numbers_in(Chart("t", Axis("x", scale), Axis("y"), [series], at_x=values[:1], at_y=[2.0]))  # type: ignore[arg-type]
    assert len(found)
    assert (found >= -1).all()
    assert (found[:, 0] <= WIDTH + 1).all()
    assert (found[:, 1] <= HEIGHT).all()


def test_points_lie_where_their_numbers_say() -> None:
    chart = Chart("t", Axis("x"), Axis("y"), [Series("", [0.0, 1.0, 2.0], [10.0, 20.0, 40.0])])
    (left, low), (middle, rather), (right, high) = _numbers_in(chart)[:3]
    assert middle - left == pytest.approx(right - middle, abs=0.2)
    assert rather - high == pytest.approx(2 * (low - rather), abs=0.3)


@pytest.mark.parametrize(("low", "high"), [(0.7657, 0.8493), (0.1025, 0.7868), (0.98, 1.0), (-3.2, 17.0)])
def test_intervals_lie_between_the_first_line_of_the_grid_and_the_last(low: float, high: float) -> None:
    ends = [low], [high]
    intervals = [Series("arm", [1.0], [(low + high) / 2], ends, form="intervals")]
    drawing = ElementTree.fromstring(
        Chart("t", Axis("x", "log"), Axis("y", most=1.0 if high <= 1 else None), intervals).svg()
    )
    lines = {
        kind: [one.attrib for one in drawing.iter("line") if one.get("class") == kind] for kind in ("grid", "bar-line")
    }
    grid = [float(one["y1"]) for one in lines["grid"]]
    for bar in lines["bar-line"]:
        assert min(grid) <= min(float(bar["y1"]), float(bar["y2"]))
        assert max(float(bar["y1"]), float(bar["y2"])) <= max(grid)


def test_a_narrow_axis_of_logarithms_has_more_than_one_number() -> None:
    seconds = [Series(str(number), [number], [0.5], form="points") for number in (2.7, 4.4, 7.7)]
    frame = _Frame(Chart("t", Axis("seconds", "log"), Axis("y"), seconds))
    assert len(frame.x_ticks) > 1


def test_numbers_that_are_none_are_left_out() -> None:
    chart = Chart("t", Axis("x"), Axis("y"), [Series("", [0.0, 1.0, 2.0], [1.0, float("nan"), 2.0])])
    assert chart.svg().count("<circle") == 2
    assert "nan" not in chart.svg()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.14, 1.05), (-3, 12_345), (1e-7, 2e-7), (3, 3)])
def test_ticks_are_few_round_and_within(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-12 <= one <= high + 1e-12 for one in ticks)


def test_many_points_are_one_path() -> None:
    many = RANDOM.normal(size=(2, 20_000))
    drawing = Chart("t", Axis("x"), Axis("y"), [Series("", many[0].tolist(), many[1].tolist(), form="points")]).svg()
    assert "<circle" not in drawing
    assert len(drawing) < 80_000


def test_names_are_escaped_and_cut() -> None:
    name = '"><script>alert(1)</script>'
    chart = Chart(name, Axis(name, names=[name]), Axis(name), [Series(name, [0], [1.0]), Series("b", [0], [2.0])])
    for told in (chart.svg(), *(mark for mark, _ in chart.legend)):
        assert "<script" not in told
        ElementTree.fromstring(told)
    assert len(Bars("t", ["x" * 900], [1.0], ["1"]).rows[0][0]) <= 60


def _row(epoch: int, **values: float) -> dict[str, float]:
    return {"epoch": epoch, "train_loss": 2.2, **values, "learning_rate": 1e-3, "seconds": 1.0}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([_row(n, bits_per_byte=0.9, perplexity=13.0 - n, token_accuracy=0.6) for n in range(2)], 3),
        ([_row(n, accuracy=0.5 + n / 10, log_loss=0.7) for n in range(3)], 2),
        ([_row(n, r2=-0.5, rmse=40.0) for n in range(2)], 3),
        ([_row(1, f1=0.5)], 2),
    ],
)
def test_every_series_of_the_history_is_drawn_once(rows: list[dict[str, float]], expected: int) -> None:
    charts = history_charts(rows, 1, "epoch 1")
    drawn = [one.name for chart in charts for one in chart.series]
    assert sorted(drawn) == sorted({*drawn})
    assert len(drawn) == len(rows[0]) - 3
    assert len(charts) == expected
    assert all((_numbers_in(chart) >= 0).all() for chart in charts)


def test_charts_of_probabilities_hold_every_example() -> None:
    probabilities = RANDOM.dirichlet([1, 1, 1], 50)
    labels = RANDOM.integers(0, 3, 50)
    spread = certainty_chart(probabilities, labels)
    assert sum(sum(one.y) for one in spread.series) == 50
    right = int((probabilities.argmax(axis=1) == labels).sum())
    assert sum(spread.series[0].y) == right
    calibration = calibration_chart(probabilities, labels)
    assert sum(calibration.series[0].y) == pytest.approx(1)
    sure = calibration_chart(np.eye(3), np.arange(3))
    assert sure.series[1].y == [1.0]


def test_l2_and_shots_tell_what_was_taken() -> None:
    assert (
        l2_chart([(0.001, 0.7), (10**-1.5, 0.5), (1.0, 0.6)], "loss").note == "Dotted line: the strength chosen, 0.0316"
    )
    rows = [{"shots": 1, "accuracy": 0.5}, {"shots": 4, "accuracy": 0.7}]
    summary = [{"shots": n, "accuracy": a, "accuracy_interval": None} for n, a in ((1, 0.5), (4, 0.7))]
    assert "0.6000" in shots_chart(rows, summary, 0.6).note


@pytest.mark.parametrize(
    "plot",
    [
        Plot("a", "Lines", "x", "y", [Line(str(n), np.arange(3.0), np.arange(3.0)) for n in range(12)]),
        Plot("b", "Points", "x", "y", points=(np.arange(4.0), np.arange(4.0)), reference="diagonal"),
        Plot("c", "Points", "x", "y", points=(np.arange(4.0), np.arange(4.0)), reference="zero"),
        Plot("d", "Bars", "x", "y", [Line("", np.arange(2.0), np.array([0.5, 0.0]))], names=["a", "b"], bars=True),
    ],
    ids=lambda plot: plot.title,
)
def test_what_a_task_draws_is_drawn(plot: Plot) -> None:
    drawn = plot_chart(plot)
    assert drawn is not None
    if isinstance(drawn, Chart):
        ElementTree.fromstring(drawn.svg())
    else:
        assert isinstance(drawn, Bars)
        assert [share for _, share, _, _ in drawn.rows] == [1.0, 0.0]


def test_a_matrix_of_many_names_tells_the_pairs_confused_most() -> None:
    counts = np.diag(np.full(40, 5))
    counts[3, 7] = 4
    counts[2, 1] = 1
    found = matrix_of(counts, [f"c{n}" for n in range(40)], "t", ("predicted", "true"), by_row=True, told="{} as {}")
    assert [(one, other, cell.count) for one, other, cell in found.pairs] == [("c3", "c7", 4), ("c2", "c1", 1)]
    assert found.heat is not None
    assert found.heat.svg().count("h1v1h-1z") == 42
    small = matrix_of(counts[:4, :4], list("abcd"), "t", ("p", "t"), by_row=True, told="{} as {}")
    assert [cell.share for cell in small.rows[2][1]] == pytest.approx([0, 1 / 6, 5 / 6, 0])


def test_predictions_and_charts_import_no_plotting_library() -> None:
    modules = "hftransfer.report.run_charts, hftransfer.predictors.load, hftransfer.predictors.command_line"
    code = f"import sys, {modules}; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("value", "told"), [(1000.0, "1000"), (2500.0, "2500"), (1e4, "10 k"), (0.03, "0.03"), (1e-6, "1e-06")]
)
def test_numbers_at_axes_have_no_powers_of_ten_where_digits_do(value: float, told: str) -> None:
    assert tick_text(value) == told
    assert tick_texts([value, 2 * value])[0] == told


def test_numbers_that_lie_close_are_told_apart() -> None:
    assert tick_texts([0.90141, 0.90142]) == ["0.90141", "0.90142"]
    assert tick_texts([0.5, 0.75]) == ["0.5", "0.75"]
