"""Restaurant descriptions from key-value input, by LoRA of a language model: TRL's SFTTrainer against ours.

Both train the same matrices beside the same layers, on the same pairs with the same chat template, epochs, batch, rate
and schedule. Seconds are those of training (ours with the evaluation of each epoch); the accuracy is ROUGE-L of texts
that one code writes with either model. TRL runs with its defaults but for the batch: gradient checkpointing is one.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.harness import Benchmark, Goal, Side, faster
from benchmarks.rivals import trl_sft

MODEL = "bundled/smollm2-135m"


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """The model's folder, the rows of each split as files, and the layers that get matrices."""
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.heads import LANGUAGE
    from hftransfer.adapters.loading import load_adapter

    if not settings["data"]:
        raise SystemExit("--data must be a folder with train, validation and test.jsonl (prompt, completion)")
    checkpoint = find_checkpoint(settings["model"])
    assert checkpoint is not None
    files = {}
    # Ours judges the validation split in every epoch, which counts: it is small.
    for name, most in (("train", settings["rows"]), ("validation", 4), ("test", settings["held"])):
        lines = (Path(settings["data"]) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        # Evenly spread: neighbours are descriptions of one place.
        chosen = [lines[at * len(lines) // most] for at in range(most)] if 0 < most < len(lines) else lines
        file = Path(settings["folder"]) / f"{name}.jsonl"
        file.write_text("\n".join(chosen) + "\n", encoding="utf-8")
        files[name] = str(file)
    adapter = load_adapter(checkpoint, (), head=LANGUAGE)
    lora = {"r": settings["rank"], "lora_alpha": 2.0 * settings["rank"], "lora_dropout": 0.05}
    return {
        **files,
        "model": str(checkpoint.folder),
        "lora": {**lora, "target_modules": adapter.lora.modules(None)},
        "merged": str(Path(settings["folder"]) / "merged"),
        "labels": _labels(files["train"], adapter) * settings["epochs"],
    }


def _labels(file: str, adapter: Any) -> int:
    """How many tokens of a file are learned."""
    from hftransfer.data.dialogues import DIALOGUES
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.sources import rows_from_python
    from hftransfer.tasks.text_rows import encode_rows, template_of, token_limit

    settings = DataSettings(source="memory")
    rows = next(iter(rows_from_python(file, settings, DIALOGUES).values()))
    parts = encode_rows(rows, template_of(adapter, settings), token_limit(adapter, settings), strict=True).parts
    return sum(part.encoded.learned for part in parts)


def ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side: a run, without texts that are written; those come afterwards."""
    from benchmarks.ours import import_all

    import_all()
    import hftransfer
    from hftransfer.base.progress import Progress

    before = _peak_bytes()
    files = {name: settings[name] for name in ("train", "validation", "test")}
    recipe = {
        "task": "text-generation",
        "model": settings["model"],
        "data": {"source": "memory", "written": 0},
        "strategy": {"kind": "lora", "rank": settings["rank"], "alpha": 2.0 * settings["rank"], "merge": True}
        | {"learning_rate": settings["learning_rate"], **settings.get("strategy", {})},
        "train": {"seed": settings["seed"], "epochs": settings["epochs"], "batch_size": settings["batch_size"]}
        | {"precision": "bf16" if settings.get("bf16") else "fp32", "patience": None, "checkpoint_every_minutes": None},
    }
    folder = Path(settings["folder"]) / "run"
    result = hftransfer.run(recipe, data=files, out=folder, progress=Progress(None))
    over_imports = _peak_bytes() - before
    found = _judged(settings, str(folder / "merged"), result.metrics["seconds"]["train"], over_imports)
    return found | {
        "before": {name: result.metrics["before"]["test"][name] for name in ("bits_per_byte", "perplexity")}
    }


def trl(settings: dict[str, Any]) -> dict[str, Any]:
    """TRL's side."""
    found = trl_sft.trained(settings)
    return _judged(settings, settings["merged"], found["train_seconds"], found["over_imports_bytes"])


def _judged(settings: dict[str, Any], model: str, seconds: float, over_imports: int) -> dict[str, Any]:
    """What a model is worth on the test split, whoever trained it: texts are written with it by one code."""
    import hftransfer
    from hftransfer.data.dialogues import DIALOGUES
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.sources import rows_from_python

    predictor = hftransfer.load(model)
    assert isinstance(predictor, hftransfer.Predictor)
    rows = next(iter(rows_from_python(settings["test"], DataSettings(source="memory"), DIALOGUES).values()))
    scores = predictor.evaluate_rows(rows)
    names = ("bits_per_byte", "perplexity", "bleu", "chrf", "rouge_l", "stopped", "written")
    return {
        "seconds": seconds,
        "accuracy": scores["rouge_l"],
        "labels_per_second": settings["labels"] / seconds,
        "over_imports_bytes": over_imports,
        "scores": {name: scores[name] for name in names},
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _memory(most: float) -> Goal:
    return Goal(
        "our memory over imports ÷ the rival's",
        lambda own, other: own.more["over_imports_bytes"] / other.more["over_imports_bytes"],
        most,
        at_most=True,
    )


_BF16: dict[str, Any] = {"bf16": True}
BENCHMARKS = (
    Benchmark(
        name="text-generation",
        about="LoRA of SmolLM2-135M on descriptions of restaurants (accuracy: ROUGE-L of written texts)",
        sides=(
            Side("ours", ours),
            Side("TRL SFTTrainer", trl, (faster(2), _memory(0.5)), environment="trl"),
            Side("ours, bf16", ours, settings=_BF16, bf16=True),
            Side("TRL SFTTrainer, bf16", trl, settings=_BF16, environment="trl", bf16=True),
        ),
        settings={
            "data": data.DESCRIPTIONS,
            "model": MODEL,
            "rows": 0,
            "held": 64,
            "epochs": 1,
            "batch_size": 16,
            "rank": 16,
            "learning_rate": 1e-3,
        },
        prepare=prepare,
        warm_up={"rows": 32, "held": 2},
        pairs=1,
    ),
)
