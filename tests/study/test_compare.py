"""Comparisons: which differences are real, and that every cell is a run of its own that is never run twice."""

from __future__ import annotations

import csv
import re
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import scipy.stats
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.errors import DataError, HftransferError, OutputError
from hftransfer.base.plain import shown_number
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.jobs.run import run
from hftransfer.recipe import CompareSettings, load_recipe
from hftransfer.strategies import strategy_of
from hftransfer.study import study as study_module
from hftransfer.study.cells import cells_of
from hftransfer.study.disagreements import Disagreement, Verdict, disagreements
from hftransfer.study.figures import draw_study
from hftransfer.study.page import html_of, markdown_of, two_sentences
from hftransfer.study.results import Arm, CellResult, Study
from hftransfer.study.statistics import Difference, differences, holm, mcnemar, mean_and_interval
from hftransfer.study.study import compare
from hftransfer.study.words import advice_on, strategy_in_words
from hftransfer.tasks import head_task
from hftransfer.training.interrupts import Interrupted
from tests.builders import TinyModels, faults_of, load_model, missing_words, picture, recipe_for, write_classes

SILENT = Progress(None)


# --- statistics ------------------------------------------------------------------------------------------------------


def test_mcnemar_is_the_binomial_test_of_disagreements() -> None:
    """By hand: 1 and 6 disagreements; twice the chance of one or fewer heads in seven throws."""
    first, second = [1.0] * 1 + [0.0] * 6 + [1.0] * 20, [0.0] * 1 + [1.0] * 6 + [1.0] * 20
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(first, first) == 1.0


def test_holm_goes_down_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_the_interval_over_seeds_is_that_of_student() -> None:
    mean, interval = mean_and_interval([0.8, 0.9, 0.7])
    assert mean == pytest.approx(0.8)
    assert interval == pytest.approx((0.8 - 4.302653 * 0.1 / 3**0.5, min(1.0, 0.8 + 4.302653 * 0.1 / 3**0.5)))
    assert mean_and_interval([0.8])[1] is None
    values = [-0.5, -0.4, 1.6]  # R², or bits per byte: not between 0 and 1
    mean, interval = mean_and_interval(values, bounded=False)
    expected = scipy.stats.t.interval(0.95, 2, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert mean == pytest.approx(np.mean(values))
    assert interval == pytest.approx(expected)


@pytest.mark.parametrize("seconds", [(0.3, 0.1 + 0.2), (0.0, 0.0)])
def test_costs_that_are_all_but_equal_are_drawn(seconds: tuple[float, float], tmp_path: Path) -> None:
    arms = [_arm(name, 0.5, own) for name, own in zip(("linear-probe", "lora:8"), seconds, strict=True)]
    drawn = draw_study(Study(tmp_path, "data", "accuracy", [], arms, [], [], ""), tmp_path)
    assert [path.name for path in drawn] == ["seconds.png", "parameters.png"]


def test_seeds_that_change_nothing_give_the_interval_over_test_examples(tmp_path: Path) -> None:
    from hftransfer.study import study
    from hftransfer.study.page import chance_in_words

    def result(*right: float) -> CellResult:
        scores = {str(place): one for place, one in enumerate(right)}
        return CellResult(cast(Any, None), tmp_path, sum(right) / len(right), (0.4, 0.9), 1.0, scores=scores)

    alike = study._arm("m", "linear-probe", "all", [result(1, 0, 1), result(1, 0, 1)], several=False, bounded=True)
    assert (alike.interval, alike.over_seeds) == ((0.4, 0.9), False)
    other = study._arm("m", "lora:8", "all", [result(1, 0, 1), result(0, 0, 1)], several=False, bounded=True)
    assert other.over_seeds
    told = chance_in_words(Study(tmp_path, "data", "accuracy", [], [alike, other], [], [], ""))
    assert "Means over seeds" in told
    assert "Seeds change nothing for linear-probe: the 95 % intervals are over test examples there." in told


def test_a_difference_is_told_from_chance() -> None:
    random = np.random.default_rng(0)
    hard = random.random(300)
    good = {0: {str(i): float(hard[i] < 0.9) for i in range(300)}}
    poor = {0: {str(i): float(hard[i] < 0.8) for i in range(300)}}
    other = {0: {str(i): float(random.permutation(hard)[0] < 0.9) for i in range(300)}}
    found = {(d.first, d.second): d for d in differences({"good": good, "poor": poor, "other": other})}
    loss = found["good", "poor"]
    assert loss.is_real
    assert loss.mean == pytest.approx(sum(poor[0].values()) / 300 - sum(good[0].values()) / 300)
    assert loss.interval[0] < loss.mean < loss.interval[1] < 0
    assert len(loss.mcnemar) == 1
    assert not found["good", "other"].is_real


def test_chance_alone_is_seldom_called_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hftransfer.study.statistics._DRAWS", 999)
    random = np.random.default_rng(1)
    called = 0
    for _ in range(16):
        arms = {name: {0: {str(i): float(random.random() < 0.8) for i in range(60)}} for name in "abc"}
        called += any(d.is_real for d in differences(arms))
    assert called <= 3  # one expected


def test_examples_that_several_seeds_tested_count_once() -> None:
    scores = {str(i): float(i % 10 != 0) for i in range(40)}
    worse = {str(i): float(i % 5 != 0) for i in range(40)}
    once = differences({"a": {0: scores}, "b": {0: worse}})[0]
    often = differences({"a": dict.fromkeys(range(9), scores), "b": dict.fromkeys(range(9), worse)})[0]
    assert (often.mean, often.interval, often.p) == (once.mean, once.interval, once.p)


# --- words -----------------------------------------------------------------------------------------------------------


def test_of_costs_that_are_alike_the_best_mean_is_advised() -> None:
    arms = [_arm("linear-probe", 0.70, 5.0), _arm("lora:8", 0.60, 4.5)]
    said = advice_on(arms, [_gap("linear-probe", "lora:8", -0.1, 0.4)])
    assert said.startswith("Take the linear probe: 0.7000 in 5.0 s.")


def _arm(name: str, score: float, seconds: float) -> Arm:
    return Arm(name, "m", name, "all", score, (score, score), True, seconds, 10, ())


def _gap(first: str, second: str, mean: float, p: float) -> Difference:
    return Difference(first, second, mean, (mean - 0.01, mean + 0.01), p, p, ())


def test_the_cheapest_is_not_advised_where_it_is_only_not_surely_worse() -> None:
    probe, tuned = _arm("linear-probe", 0.90, 10), _arm("fine-tune:2", 0.92, 90)
    sure = advice_on([tuned, probe], [_gap("linear-probe", "fine-tune:2", 0.02, 0.01)])
    assert sure.startswith("Take fine-tuning the last 2 stages: 0.9200")
    assert "+2.0 points (95 % interval +1.0 to +3.0) over the linear probe for 9 times the training time" in sure
    unsure = advice_on([tuned, probe], [_gap("linear-probe", "fine-tune:2", 0.02, 0.4)])
    assert unsure.startswith("Take fine-tuning the last 2 stages: 0.9200")
    assert "The linear probe costs less, but was not shown to be worse by less than 1 point." in unsure
    assert "may be chance" in unsure


def test_contrastive_in_short_is_fine_tuning_by_pairs() -> None:
    assert strategy_of("contrastive") == {"kind": "fine-tune", "objective": "contrastive"}
    assert strategy_in_words("contrastive") == "contrastive fine-tuning"


@pytest.mark.parametrize(
    ("short", "words"),
    [
        ("fine-tun:2", ("got 'fine-tun:2'", "Did you mean 'fine-tune:2'?")),
        ("lora:0", ("a rank of 1 or more", "'lora:0'")),
        ("linear-probe:3", ("without a number",)),
        ("contrastive:2", ("without a number",)),
        ("fine-tune:-1", ("fine-tune:N to train the last N stages",)),
    ],
)
def test_a_strategy_in_short_that_is_none_is_told(short: str, words: tuple[str, ...]) -> None:
    with pytest.raises(HftransferError) as error:
        strategy_of(short)
    assert missing_words(faults_of(error), words) == []


def test_names_on_the_page_are_harmless(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>|`x`"
    cell: Any = type("C", (), {"name": evil, "model": evil, "strategy": evil, "shots": "all", "seed": 0})()
    failed = CellResult(cell, tmp_path / "c", error=evil)
    study = Study(tmp_path, evil, "accuracy", [failed], [_arm("lora:8", 0.5, 1)], [], [], "advice")
    shown = Disagreement(evil, evil, [Verdict(evil, evil, 1.0), Verdict("b", evil, 0.0)], [evil, evil])
    assert "<script" not in markdown_of(study)
    assert "<script>alert" not in html_of(study, [shown], shown)


def test_an_advice_is_told_in_two_sentences_and_the_rest_beside_it() -> None:
    advice = "Take LoRA of rank 8: 0.9400 in 1.5 s. It is worse by less than 1.5 points. The probe costs less. No more."
    assert two_sentences(advice) == (advice[:74], advice[75:])
    assert two_sentences("One. ") == ("One. ", "")


def test_where_strategies_differ_is_shown_with_what_each_looked_at(
    tiny: TinyModels, flat_data: Path, tmp_path: Path, counted: Counter[str]
) -> None:
    recipe = recipe_for(tiny("resnet"), flat_data, epochs=1)
    asked: dict[str, Any] = {"strategies": ["linear-probe", "fine-tune:1"], "seeds": [0]}
    study = compare(recipe, out=tmp_path / "c", progress=SILENT, **asked)
    first, second = study.arms
    names = list(first.results[0].scores or {})
    wrong = dict.fromkeys(names, 1.0) | {names[2]: 0.0}
    other = replace(second, results=(replace(second.results[0], scores=wrong),))
    same = replace(first, results=(replace(first.results[0], scores=dict.fromkeys(names, 1.0)),))
    found = disagreements(replace(study, arms=[same, other]))
    assert [one.name for one in found] == [names[2]]
    assert [verdict.score for verdict in found[0].verdicts] == [1.0, 0.0]
    assert all(verdict.map is not None and verdict.said in ("red", "blue") for verdict in found[0].verdicts)
    page = html_of(study, found)
    assert page.count("map over") == 2
    assert missing_words(page, (names[2], "Epoch by epoch", "By seconds of learning")) == []
    assert disagreements(replace(study, arms=[same])) == []
    # What is not there any more is left out.
    shutil.rmtree(tmp_path / "c" / "cells" / first.results[0].folder.name / "model")
    (without,) = disagreements(replace(study, arms=[same, other]))
    assert [verdict.map for verdict in without.verdicts] == [None, None]


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, without_figures: None) -> Counter[str]:
    """How often each cell is run."""
    runs: Counter[str] = Counter()

    def counting(document: Any, **given: Any) -> Any:
        runs[Path(given["out"]).name] += 1
        return run(document, **given)

    monkeypatch.setattr(study_module, "run", counting)
    monkeypatch.setattr(study_module, "disagreements", lambda *_: [])
    return runs


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_strategies_are_compared_and_what_is_finished_is_not_run_again(
    tiny: TinyModels, flat_data: Path, tmp_path: Path, counted: Counter[str]
) -> None:
    recipe = recipe_for(tiny("vit"), flat_data, epochs=1)
    asked: dict[str, Any] = {"strategies": ["linear-probe", "fine-tune:1", "lora:2"], "seeds": [0, 1]}
    study = compare(recipe, out=tmp_path / "c", progress=SILENT, **asked)
    assert [len(arm.results) for arm in study.arms] == [2, 2, 2]
    assert len(study.differences) == 3
    assert set(counted.values()) == {1}
    names = {file.name for file in study.folder.iterdir()}
    assert names >= {"comparison.csv", "pairs.csv", "comparison.md", "comparison.html", "figures", "cells"}
    rows = _rows(study.folder)
    assert len(rows) == 6
    for row in rows:
        assert (study.folder / row["folder"] / "model").is_dir()
        assert float(row["score"]) == load_model(study.folder / row["folder"]).metrics["test"]["accuracy"]
    page = study.report.read_text()
    assert "http" not in page.replace("http-equiv", "")
    # One seed's splits are not another's; half of the examples are red, and half blue.
    first = page[page.index("<header") : page.index("</header>")]
    best = study.arms[0]
    words = (f"of {best.name}, the best of 3, mean of 2 seeds: {shown_number(best.score)}", "reaches 50.0 %")
    assert missing_words(first, (*words, 'src="data:image/jpeg', 'class="verdicts"', best.name)) == []
    again = compare(recipe, out=tmp_path / "c", skip_done=True, progress=SILENT, **{**asked, "seeds": [0, 1, 2]})
    assert sum(counted.values()) == 9
    assert set(counted.values()) == {1}
    assert len(_rows(again.folder)) == 9
    with pytest.raises(OutputError, match="new or empty"):
        compare(recipe, out=tmp_path / "c", progress=SILENT, **asked)
    with pytest.raises(HftransferError, match="one of this recipe; got one with other train"):
        compare({**recipe, "train": {"epochs": 2}}, out=tmp_path / "c", skip_done=True, progress=SILENT, **asked)


def test_the_comparison_leads_to_every_run_and_each_of_them_back(
    tiny: TinyModels, text_data: Path, tmp_path: Path
) -> None:
    recipe = recipe_for(tiny("bert"), text_data, epochs=1) | {"task": "text-classification"}
    study = compare(recipe, strategies=["linear-probe", "lora:2"], seeds=[0], out=tmp_path / "c", progress=SILENT)
    page = study.report.read_text()
    cells = [study.folder / way for way in re.findall(r'href="([^"#][^":]*)"', page)]
    assert sorted(cells) == sorted(one.folder / "report.html" for one in study.results)
    for cell in cells:
        (back,) = re.findall(r'href="([^"#][^":]*)"', cell.read_text())
        assert (cell.parent / back).resolve() == study.report.resolve()
    first = page[page.index("<header") : page.index("</header>")]
    assert missing_words(first, ("<blockquote>", 'class="verdicts"', "lora:2", "linear-probe", "reaches 50.0 %")) == []


def test_an_interrupted_comparison_goes_on_where_it_stopped(
    tiny: TinyModels, flat_data: Path, tmp_path: Path, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(tiny("vit"), flat_data, epochs=1) | {"output": {"folder": str(tmp_path)}}
    first = getattr(study_module, "run")  # noqa: B009

    def stopping(document: Any, **given: Any) -> Any:
        if document["strategy"]["kind"] == "lora":
            raise Interrupted(signal.SIGINT)
        return first(document, **given)

    asked: dict[str, Any] = {"strategies": ["lora:2", "linear-probe"], "seeds": [0]}
    with monkeypatch.context() as patched:
        patched.setattr(study_module, "run", stopping)
        with pytest.raises(Interrupted):
            compare(recipe, progress=SILENT, **asked)
    study = compare(recipe, skip_done=True, progress=SILENT, **asked)
    assert set(counted.values()) == {1}
    assert len(counted) == 2
    assert study.folder.parent == tmp_path / "recipe-compare"


def test_a_cell_that_fails_is_told_and_the_others_go_on(
    tiny: TinyModels, flat_data: Path, tmp_path: Path, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = getattr(study_module, "run")  # noqa: B009

    def failing(document: Any, **given: Any) -> Any:
        if document["strategy"].get("rank") == 2:
            raise MemoryError("no room")
        return first(document, **given)

    monkeypatch.setattr(study_module, "run", failing)
    recipe = recipe_for(tiny("vit"), flat_data, epochs=1)
    study = compare(recipe, strategies=["linear-probe", "lora:2"], seeds=[0], out=tmp_path / "c", progress=SILENT)
    assert [one.error for one in study.failed] == ["MemoryError: no room"]
    assert "MemoryError: no room" in (study.folder / "comparison.html").read_text()
    assert [arm.name for arm in study.arms] == ["linear-probe"]
    with pytest.raises(DataError, match="no room"):
        compare(recipe, strategies=["lora:2"], seeds=[0], out=tmp_path / "d", progress=SILENT)


def test_all_faults_of_all_cells_are_told_before_anything_is_run(
    tiny: TinyModels, tmp_path: Path, counted: Counter[str]
) -> None:
    recipe = recipe_for(tiny("vit"), tmp_path / "nowhere")
    with pytest.raises(HftransferError) as error:
        compare(recipe, strategies=["fine-tun:2", "lora:0"], seeds=[1, 1], progress=SILENT)
    words = (
        "compare.strategies: a strategy",
        "'fine-tun:2'",
        "'lora:0'",
        "compare.seeds: the values must be different",
        "1 twice",
    )
    assert missing_words(faults_of(error), words) == []
    with pytest.raises(HftransferError) as error:
        compare(recipe, models=[str(tiny("bert")), str(tmp_path / "none")], seeds=[1], progress=SILENT)
    assert missing_words(faults_of(error), ("nowhere", "an image model", "none")) == []
    assert not counted


@pytest.mark.slow
def test_texts_questions_shots_and_models_are_compared(
    tiny: TinyModels, text_data: Path, squad_data: Path, folder_data: Path, tmp_path: Path, counted: Counter[str]
) -> None:
    task = {"task": "question-answering"}
    recipe = recipe_for(tiny("bert"), squad_data, epochs=1) | task
    study = compare(recipe, strategies=["fine-tune:1", "lora:2"], seeds=[0], out=tmp_path / "q", progress=SILENT)
    assert study.metric == "f1"
    recipe = recipe_for(tiny("bert"), text_data, epochs=1) | {"task": "text-classification"}
    study = compare(recipe, models=[str(tiny("bert")), str(tiny("distilbert"))], strategies=["linear-probe"], seeds=[0],
                    out=tmp_path / "t", progress=SILENT)  # fmt: skip
    assert sorted(arm.name for arm in study.arms) == ["tiny-bert linear-probe", "tiny-distilbert linear-probe"]
    study = compare(recipe_for(tiny("resnet"), folder_data), strategies=["linear-probe"], seeds=[0, 1],
                    shots=[1, 4, "all"], out=tmp_path / "s", progress=SILENT)  # fmt: skip
    assert [arm.shots for arm in study.curve] == [1, 4, "all"]
    assert [arm.shots for arm in study.arms] == ["all"]
    assert (tmp_path / "s" / "figures" / "shots.png").stat().st_size > 5000


@pytest.mark.slow
def test_masks_and_labels_are_compared(tiny: TinyModels, tmp_path: Path, counted: Counter[str]) -> None:
    recipe = {"task": "image-segmentation", "model": str(tiny("timm")), "data": {"source": "memory", "size": 64}}
    recipe["train"] = {"precision": "fp32", "epochs": 1}
    discs: Any = {name: head_task("image-segmentation").made_up(4) for name in ("train", "validation", "test")}
    asked: dict[str, Any] = {"strategies": ["linear-probe", "fine-tune:1"], "seeds": [0], "progress": SILENT}
    study = compare(recipe, data=discs, out=tmp_path / "masks", **asked)
    assert study.metric == "image_mean_iou"
    page = study.report.read_text()
    first = page[page.index("<header") : page.index("</header>")]
    # Of a mask there is no word: how well each fits is told.
    assert re.search(r"<b>linear-probe</b>: <span[^>]*>mean IoU \d\.\d\d</span>", first)
    # Where strategies differ their masks are shown beside the true one, and no map of what spoke for them.
    first_arm, second_arm = study.arms
    names = list(first_arm.results[0].scores or {})
    arms = [
        replace(arm, results=(replace(arm.results[0], scores=dict.fromkeys(names, 0.9) | {names[1]: score}),))
        for arm, score in ((first_arm, 0.8), (second_arm, 0.1))
    ]
    (found,) = disagreements(replace(study, arms=arms), discs)
    truth = discs["test"][1][1]
    assert found.mask is not None
    assert found.mask.size == truth.shape[::-1]
    outside, inside = np.asarray(found.mask)[2, 2], np.asarray(found.mask)[truth > 0].mean(axis=0)
    assert inside[0] > outside[0] + 40  # the colour of the second class is red
    assert all(verdict.map is not None and verdict.map.size == found.mask.size for verdict in found.verdicts)
    page = html_of(study, [found])
    assert missing_words(page, ("true mask", "mask over", "mean IoU", 'class="key"', *found.classes)) == []
    assert "map over" not in page
    assert missing_words(page, ("Mean IoU of each image of", 'scope="col">Mean IoU of each image<')) == []
    rows = [(f"the film {n} was {w}", [w, "film"] if n % 2 else [w]) for n in range(12) for w in ("good", "bad")]
    labels = {"task": "text-classification", "model": str(tiny("bert")), "train": {"precision": "fp32", "epochs": 1}}
    study = compare(labels, data=rows, out=tmp_path / "labels", **asked)
    assert study.metric == "example_f1"
    assert missing_words(study.report.read_text(), ("F1 of each example of", "Always giving &#39;")) == []


def test_rows_given_from_python_are_compared(tiny: TinyModels, tmp_path: Path, counted: Counter[str]) -> None:
    rows = [(picture(color, seed), color) for color in ("red", "blue") for seed in range(12)]
    recipe = recipe_for(tiny("resnet"), "memory")
    asked: dict[str, Any] = {"strategies": ["linear-probe"], "seeds": [0, 1], "data": rows}
    study = ht.compare(recipe, out=tmp_path / "c", progress=SILENT, **asked)
    assert len(study.results) == 2


def test_the_command_prints_the_table_and_its_faults(
    tiny: TinyModels, flat_data: Path, tmp_path: Path, counted: Counter[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"task: image-classification\nmodel: {tiny('vit')}\ndata: {flat_data}\n"
        "train: {precision: fp32, epochs: 1}\ncompare: {strategies: [linear-probe, 'lora:2'], seeds: [0, 1, 2]}\n"
    )
    out = str(tmp_path / "c")
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "mine.yaml"), "--seeds", "0", "--out", out, "-q"])
    assert done.exit_code == 0, done.output
    assert missing_words(done.stdout, ("| linear-probe |", "| lora:2 |", "too few to advise", "comparison.html")) == []
    wrong = CliRunner().invoke(app, ["compare", str(tmp_path / "mine.yaml"), "--seeds", "0,x"])
    assert wrong.exit_code == 2
    assert "--seeds must be whole numbers, separated by commas; got 'x'" in wrong.stderr
    wrong = CliRunner().invoke(app, ["compare", str(tmp_path / "mine.yaml"), "--strategies", "linear-prob,lora:8"])
    assert wrong.exit_code == 2
    assert "Did you mean 'linear-probe'?" in wrong.stderr


def test_shots_are_those_of_the_recipe_unless_they_are_given(tiny: TinyModels, flat_data: Path) -> None:
    recipe = recipe_for(tiny("vit"), flat_data)
    recipe["data"]["shots"] = 4
    recipe["strategy"] = {"kind": "linear-probe", "pooling": "native"}
    loaded = load_recipe(recipe)
    (cell,) = cells_of(loaded, CompareSettings(strategies=("lora:2",), seeds=(0,)))
    assert (cell.shots, cell.document["data"]["shots"]) == (4, 4)
    assert cell.document["strategy"] == {"kind": "lora", "rank": 2, "pooling": "native", "head_init": "auto"}
    (cell,) = cells_of(loaded, CompareSettings(strategies=("lora:2",), seeds=(0,), shots=("all",)))
    assert "shots" not in cell.document["data"]
    many = cells_of(
        loaded, CompareSettings(strategies=("fine-tune:all", "lora:2", "fine-tune:1", "linear-probe"), seeds=(0,))
    )
    assert [cell.strategy for cell in many] == ["linear-probe", "fine-tune:1", "lora:2", "fine-tune:all"]


@pytest.mark.slow
def test_runs_without_a_test_split_or_of_other_data_are_told(
    tiny: TinyModels, tmp_path: Path, counted: Counter[str]
) -> None:
    photos = write_classes(tmp_path / "photos", {"red": 20, "blue": 20})
    recipe = recipe_for(tiny("vit"), photos, epochs=1)
    asked: dict[str, Any] = {"strategies": ["linear-probe", "lora:2"], "seeds": [0], "out": tmp_path / "c"}
    untested = {**recipe, "data": {"source": str(photos), "test_fraction": 0}}
    with pytest.raises(DataError, match="the test split must be one with examples"):
        compare(untested, progress=SILENT, **{**asked, "out": tmp_path / "d"})
    compare(recipe, progress=SILENT, **asked)
    picture("red", 77).save(photos / "red" / "000.png")
    study = compare(
        recipe, skip_done=True, progress=SILENT, **{**asked, "strategies": ["linear-probe", "lora:2", "lora:1"]}
    )
    assert missing_words(" ".join(study.notes), ("lora-1", "made of other data")) == []
    assert len(study.differences) == 1
    assert "made of other data" in (study.folder / "comparison.html").read_text()
    assert "solved" in next((study.folder / "cells").glob("linear-probe*/log.txt")).read_text()
