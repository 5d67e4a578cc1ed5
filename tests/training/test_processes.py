"""Several processes do what one does: the same steps, the same metrics, one set of files, one voice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file

from hftransfer.base.errors import DataError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.jobs.launch import launch
from hftransfer.jobs.run import run
from hftransfer.training.interrupts import Interrupted
from hftransfer.training.processes import Processes, _portable, processes, stray_settings
from tests.builders import (
    WORDS,
    TinyModels,
    faults_of,
    load_model,
    question,
    recipe_for,
    write_discs,
    write_tiny_writer,
)
from tests.training.killing import run_in_process, wait_for

# SGD: the gradient of a key's bias is 0 but for rounding, and AdamW's steps would be as long as any other's.
TRAIN = {"optimizer": "sgd", "epochs": 2, "batch_size": 5, "patience": None, "precision": "fp32", "weight_decay": 0.1}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
CASES = (
    *("text", "images", "convolutions", "stored", "probe", "lora", "questions", "writing"),
    *("fsdp", "fsdp lora", "fsdp stored", "fsdp writing"),
)


def _recipes(tiny: TinyModels, images: Path, folder: Path) -> dict[str, Any]:
    """One recipe per case; 36 items in batches of 5 leave a last batch of 1, of which one process has nothing."""
    rows = [f"{'good' if number % 2 else 'bad'} {WORDS[number % 9]} {'film ' * (number % 5)}" for number in range(60)]
    texts = folder / "texts.csv"
    lines = [f"{row.strip()},{'pos' if 'good' in row else 'neg'}" for row in rows]
    texts.write_text("\n".join(["text,label", *lines]))
    asked = folder / "questions.jsonl"
    asked.write_text("\n".join(json.dumps(question(number, WORDS[number % 4])) for number in range(20)))
    pairs = folder / "pairs.jsonl"
    lines = [json.dumps({"prompt": f"word {n}", "completion": WORDS[n % 9] * (1 + n % 3)}) for n in range(30)]
    pairs.write_text("\n".join(lines))
    fine_tune = {"kind": "fine-tune", "learning_rate": 1e-2, "head_lr": 5e-2}
    bare = {"output": {"report": False}}
    image = {"task": "image-classification", "data": str(images), **bare}
    text = {"task": "text-classification", "data": str(texts), **bare}
    questions = {
        "task": "question-answering",
        **bare,
        "data": {"source": str(asked), "max_tokens": 24, "stride_tokens": 8},
    }
    masks = {
        "task": "image-segmentation",
        "data": {"source": str(write_discs(folder / "discs", test=70)), "size": 64},
        **bare,
    }
    mixed = {"mixup": 0.4, "cutmix": 1.0, "micro_batch_size": 2, "augment": "light"}
    shared = {**TRAIN, "distributed": "fsdp", "micro_batch_size": 2}
    lora = {"kind": "lora", "learning_rate": 1e-2}
    return {
        "fsdp": {**text, "model": str(tiny("bert")), "strategy": fine_tune, "train": {**shared, "ema": 0.9}},
        "fsdp lora": {**image, "model": str(tiny("swin")), "strategy": lora, "train": shared},
        "fsdp stored": {**image, "model": str(tiny("vit")), "strategy": {**fine_tune, "unfreeze": 1}, "train": shared},
        "text": {**text, "model": str(tiny("bert")), "strategy": fine_tune, "train": TRAIN},
        "images": {**image, "model": str(tiny("swin")), "strategy": fine_tune, "train": {**TRAIN, "ema": 0.9}},
        # Its weights lie channels-last in memory.
        "convolutions": {
            **image,
            "model": str(tiny("resnet")),
            "strategy": fine_tune,
            "train": {**TRAIN, "momentum": 0.9},
        },
        "masks": {
            **masks,
            "model": str(tiny("resnet")),
            "strategy": {"kind": "fine-tune", "head_lr": 0.01},
            "train": {**TRAIN, "optimizer": "adamw", "epochs": 6},
        },
        "fsdp masks": {
            **masks,
            "model": str(tiny("resnet")),
            "strategy": {"kind": "fine-tune", "unfreeze": 1},
            "train": {**shared, "micro_batch_size": None},
        },
        "stored": {**image, "model": str(tiny("vit")), "strategy": {**fine_tune, "unfreeze": 1}, "train": TRAIN},
        "probe": {**image, "model": str(tiny("resnet")), "strategy": "linear-probe", "train": {"cache": "off"}},
        "lora": {
            **image,
            "model": str(tiny("vit")),
            "strategy": {"kind": "lora"},
            "train": {**TRAIN, **mixed, "optimizer": "adamw"},
        },
        "writing": {
            "task": "text-generation",
            **bare,
            "model": str(write_tiny_writer("llama", folder / "writer")),
            "data": {"source": str(pairs), "max_new_tokens": 4, "written": 2},
            "strategy": {"kind": "lora", "learning_rate": 1e-2},
            "train": {**TRAIN, "micro_tokens": 60},
        },
        "fsdp writing": {
            "task": "text-generation",
            **bare,
            "model": str(folder / "writer"),
            "data": {"source": str(pairs), "max_new_tokens": 4, "written": 2},
            "strategy": fine_tune,
            "train": shared,
        },
        "questions": {**questions, "model": str(tiny("distilbert")), "strategy": fine_tune, "train": TRAIN},
    }


@pytest.fixture(scope="module")
def both(tiny: TinyModels, folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of one process in one/ and of two in two/: on "machines" with a cache each."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "processes"
    root.mkdir(exist_ok=True)
    with filelock.FileLock(root / "lock"):  # of several test processes one makes them
        if not (root / "done").exists():
            _run_both(root, tiny, folder_data)
            (root / "done").touch()
    return root


def _run_both(root: Path, tiny: TinyModels, folder_data: Path) -> None:
    recipes = _recipes(tiny, folder_data, root)
    (root / "runs.json").write_text(json.dumps({str(root / "two" / name): recipe for name, recipe in recipes.items()}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machines = []
    for rank in range(2):
        options = ["--nnodes=2", "--nproc_per_node=1", f"--node_rank={rank}", "--master_addr=127.0.0.1"]
        command = [sys.executable, "-m", "torch.distributed.run", *options, f"--master_port={port}"]
        environment = os.environ | ENVIRONMENT | {"HFTRANSFER_CACHE": str(root / f"cache-{rank}")}
        arguments = ["-m", "tests.training.runs_in_processes", str(root / "runs.json")]
        machines.append(
            subprocess.Popen(
                [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    for name, recipe in recipes.items():
        run(recipe, out=root / "one" / name, progress=Progress(None))
    outputs = []
    for machine in machines:
        try:
            outputs.append(machine.communicate(timeout=300)[0])
        except subprocess.TimeoutExpired:
            machine.kill()
            outputs.append(machine.communicate()[0])
    for machine, output in zip(machines, outputs, strict=True):
        assert machine.returncode == 0, output


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_weights_and_metrics_are_those_of_one_process(both: Path, case: str) -> None:
    one, two = both / "one" / case, both / "two" / case
    files = sorted(file.relative_to(one) for file in (one / "model").glob("*.safetensors"))
    assert files
    for file in files:
        mine, theirs = load_file(one / file), load_file(two / file)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            if name != "directions":  # of features that never vary any directions are right
                assert torch.allclose(value, theirs[name], rtol=1e-5, atol=1e-5), name
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, two)]
    for split in ("test", "validation"):
        for name, value in metrics[0][split].items():
            # Perplexity is no share: on random weights it is some hundreds.
            close = 2e-5 if name.startswith("perplexity") else 0
            if isinstance(value, str):
                assert metrics[1][split][name] == value
            elif isinstance(value, dict):
                assert metrics[1][split][name] == pytest.approx(value, abs=2e-5), name
            else:
                assert np.allclose(metrics[1][split][name], value, rtol=close, atol=2e-5), name
    assert metrics[0]["examples"] == metrics[1]["examples"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_test_row_is_judged_once_and_in_order(both: Path, case: str) -> None:
    one, two = (pyarrow.parquet.read_table(both / folder / case / "predictions.parquet") for folder in ("one", "two"))
    assert one["id"] == two["id"]
    assert one.num_rows == two.num_rows


@pytest.mark.slow
@pytest.mark.parametrize("case", ["masks", "fsdp masks"])
def test_all_processes_judge_the_model_that_is_saved(both: Path, case: str) -> None:
    # Each normalised by its own share: the statistics that they learned are one.
    folder = both / "two" / case
    metrics = json.loads((folder / "metrics.json").read_text())
    again = load_model(folder).evaluate(str(both / "discs"))
    for name in ("mean_iou", "image_mean_iou", "mean_dice", "pixel_accuracy"):
        assert again[name] == pytest.approx(metrics["test"][name], abs=1e-6), name


@pytest.mark.slow
def test_only_the_first_process_writes(both: Path) -> None:
    names = [{p.relative_to(both / f).as_posix() for p in (both / f).rglob("*")} for f in ("one", "two")]
    assert names[0] == names[1]
    history = (both / "two" / "text" / "history.csv").read_text().splitlines()
    assert len(history) == 4  # the start is one


# --- from the command line ---


@pytest.fixture
def recipe(tiny: TinyModels, folder_data: Path) -> dict[str, Any]:
    options = {**TRAIN, "epochs": 20, "checkpoint_every_steps": 8}
    strategy = {"kind": "fine-tune", "learning_rate": 1e-3}
    return {**recipe_for(tiny("vit"), folder_data, **options), "strategy": strategy}


@pytest.mark.slow
@pytest.mark.parametrize("distributed", ["ddp", "fsdp"])
def test_a_signal_to_the_command_stops_all_processes_and_the_run_goes_on(
    recipe: dict[str, Any], tmp_path: Path, distributed: str
) -> None:
    recipe["train"] |= {"distributed": distributed}
    folder = tmp_path / "run"
    stopped = run_in_process(recipe, folder, "--processes", "2")
    wait_for(folder / "checkpoints" / "step-000000024", stopped)
    stopped.send_signal(signal.SIGTERM)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 143, output
    assert output.count("stopped by SIGTERM") == 1
    resumed = run_in_process(recipe, folder, "--processes=2", "--resume")
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, output
    assert output.count("resuming after step") == 1
    assert "2 processes" in output
    whole = run(recipe, out=tmp_path / "whole", progress=Progress(None))
    mine, theirs = (load_file(f / "model" / "model.safetensors") for f in (whole.folder, folder))
    assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) <= 1e-5


@pytest.mark.slow
def test_faults_are_told_once(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["strategy"] = {"kind": "fine-tune", "unfreeze": 77}
    told = run_in_process(recipe, tmp_path / "run", "--processes", "2")
    output, _ = told.communicate(timeout=60)
    assert told.returncode == 2, output
    assert output.count("error:") == 1
    assert "Traceback" not in output


def test_processes_are_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError) as error:
        launch(2, [])
    assert "torchrun" in faults_of(error)


# --- agreement ---


def test_one_process_agrees_with_itself() -> None:
    alone = processes()
    assert alone == Processes()
    assert alone.gather(3) == [3]
    assert alone.first(lambda: 4) == alone.together(lambda: 4) == alone.in_turn(lambda: 4) == 4
    with pytest.raises(DataError):
        alone.agree(_fails)


def _fails() -> None:
    raise DataError("a", "b")


def test_shares_are_disjoint_and_whole() -> None:
    items = list(range(11))
    shares = [list(Processes(rank, 3).share(items)) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items
    assert Processes(5, 8, 1, 4).machine == 4


def test_errors_travel_with_all_that_they_say() -> None:
    class Local(Exception):
        pass

    import pickle

    error = pickle.loads(pickle.dumps(DataError("a", "b")))
    assert error.faults == ("a", "b")
    assert pickle.loads(pickle.dumps(Interrupted(15))).exit_status == 143
    assert str(_portable(Local("what"))) == "Local: what"


def test_the_recipe_wins_over_a_stray_accelerate_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    stray_settings.cache_clear()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    assert stray_settings() == {"ACCELERATE_MIXED_PRECISION": ("train.precision", "fp16")}
    assert not {"ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"} & set(os.environ)
    stray_settings.cache_clear()
