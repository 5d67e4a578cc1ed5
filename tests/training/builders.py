"""Small transfers of every task and strategy, for tests of the engines."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hftransfer.adapters.base import Adapter
from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.progress import Progress
from hftransfer.data.rows import BytesContent, GoldAnswer, QuestionContent, Row, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Split, Splits
from hftransfer.data.targets import CLASSES, Targets
from hftransfer.jobs.session import Clock
from hftransfer.tasks import head_task
from hftransfer.training.devices import Compute
from hftransfer.training.job import Job
from hftransfer.training.loop import Keeping
from hftransfer.training.settings import TrainSettings
from hftransfer.training.transfer import Transferred, transfer
from tests.builders import TinyModels, encoded, picture

FP32 = Compute(torch.device("cpu"), "fp32", 8)


GOOD, BAD = ("great", "lovely", "fine", "good"), ("awful", "dull", "poor", "bad")


def rows_for(task: str, count: int, seed: int) -> list[Row]:
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = ("red", "blue")[number % 2]
        if task == "image-classification":
            content: Any = BytesContent(encoded(picture(label, seed * 1000 + number)))
        else:
            word = str(random.choice(GOOD if label == "red" else BAD))
            before = " ".join(random.choice(["the film", "a story", "the actor"], random.integers(1, 4)))
            if task == "text-classification":
                content = TextContent(f"{before} was very {word}", None)
            else:
                context = f"{before} was very {word} ."
                answers = (GoldAnswer(word, context.index(word)),)
                content = QuestionContent(f"q{seed}-{number}", "what was the film ?", context, str(number))
        rows.append(Row(f"{seed}:{number}", content, answers if task == "question-answering" else label))
    return rows


def split_for(task: str, count: int, seed: int) -> Split:
    rows = rows_for(task, count, seed)
    kind = head_task(task).targets
    targets: Targets = np.arange(count) % 2 if kind is CLASSES else kind.encode(rows, ())
    return Split(rows, targets, [hashlib.blake2b(row.content.read(), digest_size=16).digest() for row in rows])


def checkpoint_of(tiny: TinyModels, family: str) -> Checkpoint:
    folder = str(tiny(family))
    checkpoint = find_checkpoint(f"open_clip:local-dir:{folder}" if family == "open_clip" else folder)
    assert checkpoint is not None
    return checkpoint


def adapter_for(tiny: TinyModels, family: str, task: str, strategy: Any) -> tuple[Adapter, str]:
    checkpoint = checkpoint_of(tiny, family)
    names = () if task == "question-answering" else ("blue", "red")
    adapter = load_adapter(checkpoint, names, head=head_task(task).head, pooling=strategy.pooling_for(head_task(task)))
    return adapter, checkpoint.weights_sha256


def transferred(
    tiny: TinyModels,
    family: str,
    task: str,
    strategy: Any,
    adapter: Adapter | None = None,
    keeping: Keeping | None = None,
    **train: Any,
) -> tuple[Transferred, int]:
    if adapter is None:
        adapter, sha = adapter_for(tiny, family, task, strategy)
    else:
        sha = checkpoint_of(tiny, family).weights_sha256
    names = () if task == "question-answering" else ("blue", "red")
    splits = Splits(split_for(task, 16, 1), split_for(task, 8, 2), split_for(task, 8, 3), names)
    boundary = strategy.prepare(adapter, train.get("seed", 0))
    usual = 5 if task == "image-classification" else 8
    settings = TrainSettings(**{"precision": "fp32", "epochs": usual, "batch_size": 8, "patience": None, **train})
    job = Job(
        adapter=adapter,
        boundary=boundary,
        task=head_task(task),
        strategy=strategy,
        splits=splits,
        data=DataSettings(source="memory"),
        train=settings,
        weights_sha256=sha,
        compute=replace(FP32, precision=train.get("precision", "fp32")),
        progress=Progress(None),
        stage=Clock().stage,
        keeping=keeping,
    )
    return transfer(job), boundary


def hashes_of(adapter: Adapter) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()
        for name, tensor in adapter.model.state_dict().items()
        if tensor.numel()
    }
