"""Runs that were made: which is the newest, what is told of them, what two come to, and what deleting deletes."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import filelock
import pyarrow
import pyarrow.parquet
import pytest
from scipy.stats import binomtest

from hftransfer.base.errors import DataError, OutputError
from hftransfer.base.progress import Progress
from hftransfer.base.runs import at_newest, begun, link_newest, moment, newest_in, runs_in
from hftransfer.hub.publish import collect
from hftransfer.jobs.run import run
from hftransfer.jobs.runs import delete_run, find_run, list_runs, require_run, runs_table, show_run
from hftransfer.predictors.load import load
from hftransfer.predictors.predictor import find_place
from hftransfer.report.tables import duration
from hftransfer.study.paired import compare_runs, paired_table
from tests.builders import missing_words, recipe_for
from tests.cli.test_cli import call


@pytest.fixture
def runs(finished, tmp_path) -> Path:
    """A folder of runs: two of flowers, the newer of which has no model, and one of pets under a name of its own."""
    done = finished("vit").folder
    root: Path = tmp_path / "runs"
    for name in ("flowers/20260102-101500", "flowers/20260103-101500", "pets/mine"):
        shutil.copytree(done, root / name)
    shutil.rmtree(root / "flowers/20260103-101500/model")
    (root / "flowers/notes").mkdir()  # a person's own
    return root


def test_runs_come_newest_first_and_the_second_of_one_second_is_the_newer(finished, tmp_path):
    done = finished("vit").folder
    for name in ("20260102-101500", "20260102-101500-2", "20260102-101500-10", "20250102-101500"):
        shutil.copytree(done, tmp_path / "x" / name)
    names = ["20260102-101500-10", "20260102-101500-2", "20260102-101500", "20250102-101500"]
    assert [run.name for run in runs_in(tmp_path)] == names
    assert begun(tmp_path / "x" / names[0])[0].year == 2026
    (tmp_path / "x" / "latest").symlink_to(names[1])
    assert begun(tmp_path / "x" / "latest") == begun(tmp_path / "x" / names[1])
    (tmp_path / "latest").symlink_to(tmp_path / "x")
    assert len(runs_in(tmp_path)) == 4


def test_page_card_and_lists_tell_the_same_start_and_duration(tiny, flat_data, tmp_path):
    recipe = recipe_for(tiny("resnet"), flat_data)
    parent = tmp_path / "runs"
    run(recipe | {"output": {"folder": str(parent), "figures": False}}, progress=Progress(None))
    run(recipe | {"output": {"figures": False}}, out=parent / "own", progress=Progress(None))
    for folder in (found.folder for found in list_runs(parent)):
        started = json.loads((folder / "environment.json").read_text())["started"]
        took = duration(json.loads((folder / "metrics.json").read_text())["seconds"]["total"])
        assert datetime.fromisoformat(started).utcoffset() is not None
        if folder.name != "own":  # named after the very second
            assert datetime.fromisoformat(started).strftime("%Y%m%d-%H%M%S") == folder.name
        page, card = ((folder / name).read_text() for name in ("report.html", "model/README.md"))
        assert f"<dd>{moment(started)}</dd>" in page.replace("&#43;", "+")
        assert f"<dd>{took}</dd>" in page
        assert missing_words(card, (f"Started {moment(started)}.", f"took {took}")) == []
        assert missing_words(show_run(folder), (moment(started), took)) == []
        (listed,) = (one for one in list_runs(parent) if one.folder == folder)
        assert moment(started) in runs_table([listed])
        assert listed.plain()["begun"] == started.replace("T", " ")


def test_a_time_is_told_in_the_zone_that_it_was_written_down_in() -> None:
    assert moment("2026-11-29T06:22:05+01:00") == "2026-11-29 06:22 UTC+01:00"
    assert moment("2026-11-29T06:22:05+00:00") == "2026-11-29 06:22 UTC"


def test_the_page_of_a_run_is_opened(runs, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = runs / "flowers/20260103-101500/report.html"
    page.touch()
    assert call("open", str(runs / "flowers")).output.strip() == str(page)
    (runs / "comparison.html").touch()
    assert call("open", str(runs)).output.strip() == str(runs / "comparison.html")
    assert opened == [page.as_uri(), (runs / "comparison.html").as_uri()]
    page.unlink()
    told = call("open", str(page.parent))
    assert told.exit_code == 2
    assert "output.report: false" in told.stderr


def test_a_folder_of_runs_means_its_newest_with_a_model(runs):
    newest = runs / "flowers/20260102-101500"
    assert newest_in(runs / "flowers") == newest
    assert newest_in(runs / "flowers", with_model=False) == runs / "flowers/20260103-101500"
    assert find_place(runs / "flowers").folder == newest / "model"
    assert find_run(runs / "flowers") == runs / "flowers/20260103-101500"
    assert newest_in(runs) == runs / "pets/mine"  # written today
    assert "config.json" in collect(runs / "flowers", "me/flowers").files
    for name in (str(newest), str(newest / "model"), "me/flowers", "bundled/minilm-l6", "no\0path", str(runs / "none")):
        assert at_newest(name) == name


def test_the_list_tells_headlines_and_what_is_not_finished(runs, finished):
    unfinished = runs / "flowers/20260104-101500"
    unfinished.mkdir()
    (unfinished / ".hftransfer.lock").touch()
    (unfinished / ".hftransfer-run.json").write_text(json.dumps({"name": "flowers", "recipe": {}}))
    (runs / "flowers/20260103-101500/metrics.json").write_text("{")
    found = {run.folder.name: run for run in list_runs(runs)}
    assert {name: run.state for name, run in found.items()} == {
        "mine": "finished",
        "20260104-101500": "unfinished",
        "20260103-101500": "damaged",
        "20260102-101500": "finished",
    }
    metrics, mine = finished("vit").metrics, found["mine"]
    assert mine.score == metrics["test"]["accuracy"]
    assert list(mine.interval or ()) == metrics["test"]["accuracy_interval"]
    assert (mine.strategy, mine.model, mine.split) == ("linear-probe", "tiny-vit", "test")
    assert mine.size_bytes == sum(file.stat().st_size for file in mine.folder.rglob("*") if file.is_file())
    with pytest.raises(OutputError, match="the folder of runs must be a folder"):
        list_runs(runs / "none")


def test_a_run_that_kept_its_start_says_so(runs):
    folder = runs / "pets/mine"
    assert ", start kept" not in call("runs", "--in", runs).stdout
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "best_epoch": 0}))
    assert "linear-probe, start kept" in call("runs", "--in", runs).stdout
    assert "linear-probe, start kept" in call("runs", "show", folder).stdout
    found = {run["folder"]: run for run in json.loads(call("runs", "--in", runs, "--json").stdout)["runs"]}
    assert found[str(folder)]["keeps_start"]
    assert found[str(folder)]["strategy"] == "linear-probe"


def test_commands_take_a_folder_of_runs_and_say_which_run_it_was(runs, flat_data, monkeypatch):
    monkeypatch.chdir(runs.parent)
    photo = sorted(flat_data.rglob("*.png"))[0]
    outcome = call("predict", "runs/flowers", photo)
    assert outcome.exit_code == 0
    assert "runs/flowers: its newest run, runs/flowers/20260102-101500" in outcome.stderr
    told = call("runs", "--json")
    assert len(json.loads(told.stdout)["runs"]) == 3
    assert "accuracy" in call("runs").stdout
    assert "nothing was sent" in call("push", "runs/flowers", "me/x", "--dry-run").stdout
    assert call("eval", "runs/flowers", "--json", "--quiet").exit_code == 0
    shown = call("runs", "show", "runs/pets")
    assert "tiny-vit" in shown.stdout
    assert "parameters" in shown.stdout
    assert json.loads(call("runs", "show", "runs/pets", "--json").stdout)["test"]
    for command in ("show", "compare", "delete"):
        outcome = call("runs", command, "runs/none", *(["runs"] if command == "compare" else []))
        assert outcome.exit_code == 2
        assert "`hftransfer runs` lists them all" in outcome.stderr


# --- two runs side by side --------------------------------------------------------------------------------------------


def judged_otherwise(run: Path, wrong: int) -> list[bool]:
    """Turn the first predictions of a run into wrong ones; return which were right before."""
    table = pyarrow.parquet.read_table(run / "predictions.parquet").to_pydict()
    right = [p == label for p, label in zip(table["prediction"], table["label"], strict=True)]
    others = {"red": "green", "green": "blue", "blue": "red"}
    table["prediction"][:wrong] = [others[label] for label in table["label"][:wrong]]
    pyarrow.parquet.write_table(pyarrow.table(table), run / "predictions.parquet")
    return right


def test_two_runs_are_paired_by_their_test_examples(runs):
    first, second = runs / "flowers/20260102-101500", runs / "pets/mine"
    right = judged_otherwise(second, wrong=7)
    found = compare_runs(first, second)
    lost = sum(right[:7])
    assert found.difference.mean == pytest.approx(-lost / len(right))
    assert found.difference.mcnemar[0] == pytest.approx(binomtest(0, lost).pvalue)
    assert (found.agreement["first_alone"], found.agreement["second_alone"]) == (lost, 0)
    assert sum(found.agreement.values()) == len(right)
    assert found.settings == {}
    assert f"over {len(right)} test examples" in paired_table(found)
    assert json.loads(call("runs", "compare", first, second, "--json").stdout)["examples"] == len(right)


def test_runs_tested_on_other_examples_are_not_compared(runs):
    first, second = runs / "flowers/20260102-101500", runs / "pets/mine"
    table = pyarrow.parquet.read_table(second / "predictions.parquet").to_pydict()
    other = {**table, "id": [f"x{name}" for name in table["id"]]}
    pyarrow.parquet.write_table(pyarrow.table(other), second / "predictions.parquet")
    with pytest.raises(DataError, match=r"must be the same; got 18 and 18, of which 0 are in both\. Only runs"):
        compare_runs(first, second)
    other = {**table, "label": table["label"][::-1]}
    pyarrow.parquet.write_table(pyarrow.table(other), second / "predictions.parquet")
    with pytest.raises(DataError, match="the column 'label' of the test examples of the two runs must be the same"):
        compare_runs(first, second)
    (second / "predictions.parquet").unlink()
    with pytest.raises(DataError, match=r"a table of test examples, predictions\.parquet; got none"):
        compare_runs(first, second)


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_deleting_a_run_deletes_its_own_files_alone(runs):
    run = runs / "pets/mine"
    (run / "figures").mkdir(exist_ok=True)
    own = [run / "mine.txt", run / "figures/mine.png"]
    for file in own:
        file.write_text("a person's")
    assert delete_run(run) == [run / "figures", run / "mine.txt"]
    assert sorted(file for file in run.rglob("*") if file.is_file()) == sorted(own)
    other = runs / "flowers/20260102-101500"
    assert delete_run(other) == []
    assert not other.exists()


def test_an_unfinished_run_is_deleted_with_its_checkpoints(runs):
    run = runs / "flowers/20260104-101500"
    (run / "checkpoints/step-000000003").mkdir(parents=True)
    (run / "checkpoints/step-000000003/state.json").write_text("{}")
    (run / ".hftransfer-run.json").write_text(json.dumps({"name": "flowers", "recipe": {}}))
    assert delete_run(run) == []
    assert not run.exists()


def test_neither_a_folder_of_runs_nor_a_run_that_goes_on_is_deleted(runs):
    with pytest.raises(OutputError, match=r"must be the folder of one run; got a folder of runs .* Name each run"):
        require_run(runs / "flowers")
    run = runs / "pets/mine"
    before = sorted(run.rglob("*"))
    with filelock.FileLock(run / ".hftransfer.lock"), pytest.raises(OutputError, match="another run is writing"):
        delete_run(run)
    (run / ".hftransfer.lock").unlink(missing_ok=True)
    assert sorted(run.rglob("*")) == before
    assert load(run)


def test_deleting_asks_first(runs):
    run = runs / "pets/mine"
    outcome = call("runs", "delete", run)
    assert outcome.exit_code == 2
    assert "--yes must be given when there is no terminal to ask in" in outcome.stderr
    assert call("runs", "delete", run, runs / "none", "--yes").exit_code == 2
    assert run.exists()
    assert "--yes must be given" in call("runs", "delete", run, "--json").stderr
    (run / "mine.txt").write_text("a note")
    deleted = call("runs", "delete", run, "--yes", "--json")
    assert deleted.exit_code == 0
    told = json.loads(deleted.stdout)
    assert [one["folder"] for one in told["deleted"]] == [str(run)]
    assert told["deleted"][0]["bytes"] > 0
    assert told["left"] == [str(run / "mine.txt")]


# --- the labels that come next ----------------------------------------------------------------------------------------


def test_the_top_labels_are_told_best_first(finished, flat_data, tmp_path):
    run, photos = finished("vit").folder, sorted(flat_data.rglob("*.png"))[:3]
    every = {str(photo): found.scores for photo, found in zip(photos, load(run).predict(photos), strict=True)}
    told = json.loads(call("predict", run, *photos, "--top", 2, "--json").stdout)["predictions"]
    for entry in told:
        scores = every[entry["input"]]
        assert list(entry["scores"]) == sorted(scores, key=lambda name: -scores[name])[:2]
        assert entry["label"] == next(iter(entry["scores"]))
    lines = call("predict", run, *photos, "--top", 2).stdout.splitlines()
    assert all(line.count("%") == 2 for line in lines)
    assert call("predict", run, *photos, "--top", 2, "--csv", tmp_path / "out.csv").exit_code == 0
    table = (tmp_path / "out.csv").read_text().splitlines()
    assert table[0].startswith("input,label,score,unlike,label_2,score_2")
    assert [row.split(",")[1] for row in table[1:]] == [entry["label"] for entry in told]
    assert call("predict", run, *photos, "--top", 0).exit_code == 2


# --- the newest, by a link -------------------------------------------------------------------------------------------


def test_latest_leads_to_the_newest_finished_run(runs):
    flowers = runs / "flowers"
    link_newest(flowers)
    assert (flowers / "latest").readlink() == Path("20260103-101500")
    assert [run.name for run in runs_in(runs)].count("latest") == 0  # links are not followed
    assert find_run(flowers / "latest") == flowers / "latest"
    delete_run(flowers / "latest")
    assert not (flowers / "20260103-101500").exists()
    assert (flowers / "latest").readlink() == Path("20260102-101500")
    delete_run(flowers / "20260102-101500")
    assert sorted(entry.name for entry in flowers.iterdir()) == ["notes"]


@pytest.mark.parametrize("foreign", ["file", "folder", "link"])
def test_what_others_call_latest_stays(runs, tmp_path, foreign):
    link, elsewhere = runs / "flowers/latest", tmp_path / "elsewhere"
    shutil.copytree(runs / "pets/mine", elsewhere)
    if foreign == "file":
        link.write_text("mine")
    elif foreign == "folder":
        link.mkdir()
    else:
        link.symlink_to(elsewhere)
    link_newest(runs / "flowers")
    assert (link.is_symlink(), link.is_dir()) == (foreign == "link", foreign != "file")
    if foreign == "link":
        with pytest.raises(OutputError, match="a link to"):
            delete_run(link)
        assert (elsewhere / "metrics.json").is_file()


def test_a_file_system_without_links_has_none(runs, monkeypatch):
    def refused(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    link_newest(runs / "flowers")
    assert not (runs / "flowers/latest").exists()


def test_a_run_of_a_recipe_is_the_latest(tiny, folder_data, tmp_path, silent, without_figures):
    recipe = recipe_for(tiny("vit"), folder_data)
    recipe["output"] = {**recipe["output"], "folder": str(tmp_path / "runs")}
    result = run(recipe, progress=silent)
    latest = result.folder.parent / "latest"
    assert latest.resolve() == result.folder.resolve()
    assert load(latest).predict(str(next((folder_data / "test/red").iterdir())))
