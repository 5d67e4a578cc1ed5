"""One input gives one prediction and a list gives a list, in every task; and what tasks give can be pickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hftransfer as ht
from hftransfer.base.progress import Progress
from hftransfer.tasks import TASKS
from hftransfer.tasks.outcomes import Number
from tests.builders import TinyModels, picture, write_tiny_writer

PICTURES = [picture(colour, number) for number in range(12) for colour in ("red", "blue")]
TEXTS = ["a good film", "a bad film"] * 12
MASKS = [Image.fromarray(np.tile(np.arange(40, dtype=np.uint8) // 20, (32, 1))) for _ in PICTURES]
CONTEXT = "Ann Lee sang in Rome."


def _questions() -> list[dict[str, Any]]:
    answers = {"text": ["Ann Lee"], "answer_start": [0]}
    return [{"id": str(n), "question": "Who?", "context": f"{CONTEXT} {n}", "answers": answers} for n in range(24)]


CASES: dict[str, tuple[str, Any, Any]] = {
    "image-classification": ("resnet", list(zip(PICTURES, ["red", "blue"] * 12, strict=True)), PICTURES[0]),
    "image-regression": ("resnet", list(zip(PICTURES, [4.5, 1.5] * 12, strict=True)), PICTURES[0]),
    "image-segmentation": ("vit", list(zip(PICTURES, MASKS, strict=True)), PICTURES[0]),
    "text-classification": ("bert", list(zip(TEXTS, ["pos", "neg"] * 12, strict=True)), TEXTS[0]),
    "text-regression": ("bert", list(zip(TEXTS, [4.5, 1.5] * 12, strict=True)), TEXTS[0]),
    "token-classification": ("bert", [{"tokens": ["Ann", "sang"], "tags": ["B-PER", "O"]}] * 24, "Ann sang"),
    "question-answering": ("bert", _questions(), {"question": "Who?", "context": CONTEXT}),
    "text-generation": ("llama", [{"prompt": f"a{n}", "completion": "b"} for n in range(24)], "a"),
}


def test_every_task_with_a_model_of_its_own_is_here() -> None:
    assert set(CASES) == {name for name, task in TASKS.items() if task.learns == "head"}


@pytest.mark.parametrize("task", CASES)
def test_one_gives_one_and_a_list_a_list(tiny: TinyModels, task: str, tmp_path: Path) -> None:
    family, rows, one = CASES[task]
    given: dict[str, Any] = {"strategy": "linear-probe", "progress": Progress(None)}
    if task in ("question-answering", "text-generation"):
        given |= {"strategy": "fine-tune:1", "epochs": 1}
    writes = task == "text-generation"
    folder = write_tiny_writer(family, tmp_path / "writer") if writes else tiny(family)
    model = ht.fit(task, model=folder, train=rows, **given)
    alone, listed = model(one), model([one])
    assert not isinstance(alone, list)
    assert isinstance(listed, list)
    assert len(listed) == 1
    assert type(listed[0]) is type(alone)
    assert len(model([one, one])) == 2
    assert list(model([])) == []
    again = pickle.loads(pickle.dumps(model))
    if isinstance(alone, Number):  # told with all its digits, of which the last depends on where weights lie in memory
        assert again(one).value == pytest.approx(alone.value, rel=1e-5)
    else:
        assert str(again(one)) == str(alone)
    assert str(pickle.loads(pickle.dumps(alone))) == str(alone)
