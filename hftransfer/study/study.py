"""A comparison carried out: every cell is an ordinary run, and what they come to is written beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

from typing_extensions import TypedDict, Unpack

from hftransfer.base.errors import DataError, HftransferError, OutputError, must_be, user_path
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import RunFolder, is_interrupted
from hftransfer.base.runs import CELLS
from hftransfer.jobs.run import run
from hftransfer.recipe import CompareSettings, Recipe, load_recipe, plain_settings, with_memory
from hftransfer.report.headline import chance_by
from hftransfer.strategies import CONTRASTIVE
from hftransfer.study.cells import Cell, cells_of, finished_cells, require_sound
from hftransfer.study.disagreements import agreed_on, disagreements
from hftransfer.study.page import write_study
from hftransfer.study.results import Arm, CellResult, Study
from hftransfer.study.statistics import Scores, differences, mean_and_interval
from hftransfer.study.warming import warm_up
from hftransfer.study.words import advice_on
from hftransfer.tasks import TASKS, head_task
from hftransfer.tasks.contract import Task
from hftransfer.training.interrupts import Interrupted

if TYPE_CHECKING:
    from hftransfer.data.rows import GivenRows


class Grid(TypedDict, total=False):
    """The strategies, models, seeds and shots to compare; any left out are as the recipe's `compare:` section says."""

    strategies: Sequence[str]
    """In short, as in `linear-probe`, `fine-tune:2`, `fine-tune:all`, `lora:8`."""
    models: Sequence[str]
    seeds: Sequence[int]
    shots: Sequence[int | str]
    """Training examples of each class, or `all`."""


def compare(
    recipe: str | Path | Mapping[str, object],
    overrides: Mapping[str, object] | Sequence[str] = (),
    *,
    data: GivenRows | None = None,
    out: str | Path | None = None,
    skip_done: bool = False,
    progress: Progress | None = None,
    **grid: Unpack[Grid],
) -> Study:
    """Compare strategies (such as `linear-probe`, `fine-tune:2`, `fine-tune:all`, `lora:8`), models, seeds and numbers
    of shots on the same data; what is left out is as the recipe's `compare:` section says.

    Every combination is a run of its own; all have the same splits and seeds. With `skip_done` an interrupted
    comparison goes on, in the folder `out` or the newest one of this recipe: what is finished there is not trained
    again. A run that fails is told, and the others go on. An interrupted comparison leaves the page of what it has.

    Raises:
        HftransferError: a recipe, the data, a model or the folder is not as it must be; all faults of all runs are told
            before anything is trained.
    """
    progress = progress or Progress()
    loaded = load_recipe(recipe, with_memory(overrides, data))
    settings = _settings_of(loaded.recipe, grid)
    cells = cells_of(loaded, settings)
    require_sound(cells, data)
    place = _place(Path(loaded.recipe.output.folder), f"{loaded.name}-compare", out, skip_done=skip_done)
    done = finished_cells(cells, place / CELLS) if skip_done else []
    kept = f", {len(done)} of them finished before" if done else ""
    progress.line(f"{len(cells)} runs in {place}{kept}")
    results: list[CellResult] = []
    summary = partial(study_of, place, loaded.name, loaded.recipe.task, margin=settings.margin_points / 100)
    try:
        warm_up([cell for cell in cells if cell not in done], progress)
        for number, cell in enumerate(cells, 1):
            result = _result_of(cell, place / CELLS / cell.name, data, done, progress, goes_on=skip_done)
            told = result.error.partition("\n")[0] or f"{result.score:.4f} in {result.seconds:.0f} s"
            progress.line(f"[{number}/{len(cells)}] {cell.name}: {told}")
            results.append(result)
    except (Interrupted, KeyboardInterrupt):
        # Cells that were finished before and not come to yet count, too.
        results += [read_result(cell, place / CELLS / cell.name) for cell in cells[len(results) :] if cell in done]
        if results:
            write_study(summary(results, missing=len(cells) - len(results)))
        raise
    study = summary(results)
    differing = disagreements(study, data)
    write_study(study, differing, differing[0] if differing else agreed_on(study, data))
    # Where no run finished there is no comparison, and the reasons are what a person needs.
    if not study.arms:
        raise DataError(*dict.fromkeys(result.error for result in results))
    return study


def _settings_of(recipe: Recipe, grid: Grid) -> CompareSettings:
    """Return what to compare: the grid, or what it leaves out as the recipe says."""
    wishes = cast(Mapping[str, Sequence[object]], grid)
    given = {name: tuple(values) for name, values in wishes.items() if values}
    chosen = (recipe.compare or CompareSettings()).model_dump() | given
    of_recipe = recipe.compare.model_fields_set if recipe.compare is not None else ()
    if recipe.strategy.contrasts and "strategies" not in given and "strategies" not in of_recipe:
        chosen["strategies"] = (*chosen["strategies"], CONTRASTIVE)
    plain = {key: value for key, value in plain_settings(recipe).items() if key != "resolved"}
    # Read once more as a recipe, so that faults of the grid are told as those of a file.
    settings = load_recipe({**plain, "compare": chosen}).recipe.compare
    assert settings is not None
    return settings


def study_of(
    folder: Path, title: str, task: str, results: list[CellResult], missing: int = 0, margin: float = 0.01
) -> Study:
    """Return what the results of all cells come to; for a loss below `margin` (0.01 is a point) a cheaper arm is
    advised. Runs of one seed that were tested on other examples are not paired."""
    finished = [result for result in results if not result.error]
    several = len({result.cell.model for result in finished}) > 1
    metric = next((r.metric for r in finished if r.metric is not None), TASKS[task].compared)
    grouped: dict[tuple[str, str, int | str], list[CellResult]] = {}
    for result in finished:
        grouped.setdefault((result.cell.model, result.cell.strategy, result.cell.shots), []).append(result)
    arms = [_arm(*key, group, several=several, bounded=metric.is_bounded) for key, group in grouped.items()]
    # By name first: the points of a curve stand beside each other.
    arms.sort(key=lambda arm: (arm.name, _place_of(arm.shots)))
    most = max((arm.shots for arm in arms), key=_place_of, default="all")
    last = sorted((arm for arm in arms if arm.shots == most), key=lambda arm: (-arm.score, arm.seconds))
    odd = _tested_on_others(last)
    # Only arms of the same, most shots are compared: others differ in more than the strategy.
    paired = {arm.name: {r.cell.seed: r.scores or {} for r in arm.results if r not in odd} for arm in last}
    found = differences(paired, shares=metric.is_share, bounded=metric.is_bounded)
    curve = arms if len({arm.shots for arm in arms}) > 1 else []
    notes = tuple(
        f"{one.cell.name} was made of other data than the other runs of its seed, so it is paired with none: "
        "the data changed between runs. Compare anew, without --skip-done."
        for one in odd
    )
    return Study(
        folder, title, metric.name, results, last, found, curve, advice_on(last, found, margin), missing, notes
    )


def _place_of(shots: int | str) -> float:
    return float("inf") if shots == "all" else int(shots)


def _place(parent: Path, name: str, out: str | Path | None, *, skip_done: bool) -> Path:
    """Return the folder of a comparison: the one to go on with, or a new one."""
    if out is None:
        if not skip_done:
            return RunFolder.create_dated(parent, name).path
        earlier = user_path(parent, "output.folder", OutputError) / name
        found = sorted(path for path in earlier.iterdir() if path.is_dir()) if earlier.is_dir() else []
        if not found:
            raise OutputError(must_be(f"the folder {earlier}", "one with a comparison to go on with", "none"))
        return found[-1]
    path = user_path(out, "the output folder", OutputError)
    holds = path.is_dir() and any(path.iterdir())
    if holds and not skip_done:
        remedy = "Choose another, or give --skip-done (in Python skip_done=True) to go on with a comparison there."
        raise OutputError(must_be(f"the output folder {path}", "new or empty", "one with files", remedy))
    if holds and not (path / CELLS).is_dir():
        raise OutputError(must_be(f"the output folder {path}", "empty or that of a comparison", "one with other files"))
    return RunFolder.create(path).path if not holds else path


def _result_of(
    cell: Cell, folder: Path, data: object, done: Sequence[Cell], progress: Progress, *, goes_on: bool
) -> CellResult:
    """Return the result of a cell; it is run if it was not before, and goes on if it was interrupted."""
    try:
        if cell not in done:
            resume = goes_on and is_interrupted(folder)
            run(cell.document, data=data, out=folder, resume=resume, progress=progress.aside())
        return read_result(cell, folder)
    except HftransferError as error:
        return CellResult(cell, folder, error="; ".join(error.faults))
    except Exception as error:  # one cell's fault, whatever it is, must not cost the others
        return CellResult(cell, folder, error=f"{type(error).__name__}: {error}")


def read_result(cell: Cell, folder: Path) -> CellResult:
    """Return the result of a finished cell.

    Raises:
        DataError: it was not tested.
    """
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    task = head_task(metrics["task"]).for_problem(metrics.get("problem_type"))
    name = task.compared.name
    if not metrics["test"]:
        raise DataError(must_be("the test split", "one with examples to compare on", "none", "Set data.test_fraction."))
    resolved, seconds = load_recipe(folder / "recipe.yaml").recipe.resolved, metrics["seconds"]
    return CellResult(
        cell,
        folder,
        score=metrics["test"][name],
        interval=tuple(metrics["test"][f"{name}_interval"]),
        seconds=seconds.get("activations", 0.0) + seconds.get("train", 0.0),
        activations_seconds=seconds.get("activations", 0.0),
        trainable=metrics["parameters"]["trainable"],
        scores=_scores_in(folder / "predictions.parquet", task),
        metric=task.compared,
        chance=chance_by(metrics, task.compared),
        data_fingerprint=resolved.data_fingerprint if resolved is not None else "",
    )


def _scores_in(file: Path, task: Task) -> Scores:
    import pyarrow.parquet

    columns = pyarrow.parquet.read_table(file).to_pydict()
    return dict(zip(columns["id"], task.of_each(columns), strict=True))


def _arm(
    model: str, strategy: str, shots: int | str, results: Sequence[CellResult], *, several: bool, bounded: bool
) -> Arm:
    mean, interval = mean_and_interval([result.score or 0.0 for result in results], bounded=bounded)
    # Each seed's run finds kept what an earlier one computed: alone, it would have taken as long as the longest.
    others = median(result.seconds - result.activations_seconds for result in results)
    seconds = others + max(result.activations_seconds for result in results)
    name = f"{model.rsplit('/', 1)[-1]} {strategy}" if several else strategy
    # Where splits are given and heads are solved seeds change nothing: equal runs know no spread.
    over_seeds = interval is not None and any(result.scores != results[0].scores for result in results[1:])
    shown = interval if over_seeds else results[0].interval
    return Arm(name, model, strategy, shots, mean, shown, over_seeds, seconds, results[0].trainable, tuple(results))


def _tested_on_others(arms: Sequence[Arm]) -> list[CellResult]:
    """Return the runs whose data are not those of most runs of their seed."""
    found: dict[int, Counter[str]] = {}
    results = [result for arm in arms for result in arm.results]
    for result in results:
        found.setdefault(result.cell.seed, Counter())[result.data_fingerprint] += 1
    # Seeds split the data differently: only runs of one seed should agree.
    usual = {seed: counted.most_common(1)[0][0] for seed, counted in found.items()}
    return [result for result in results if result.data_fingerprint != usual[result.cell.seed]]
