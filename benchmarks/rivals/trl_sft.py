"""TRL's SFTTrainer as its documents have it; nothing of ours but the data is used, and no code of ours trains."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any


def trained(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of `SFTTrainer.train`, the tokens of labels that it saw, and its peak memory over imports; the model with
    its matrices merged lies in `kept` afterwards.

    Completions alone are learned, by the chat template: TRL's default for prompts and completions. So are gradient
    checkpointing and no packing. Learning rate, schedule, epochs and batch are those of the other side.
    """
    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    torch.manual_seed(settings["seed"])
    before = _peak_bytes()
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32)
    rows = [json.loads(line) for line in Path(settings["train"]).read_text(encoding="utf-8").splitlines()]
    arguments = SFTConfig(
        output_dir=settings["folder"],
        use_cpu=not torch.cuda.is_available(),
        bf16=settings.get("bf16", False),
        per_device_train_batch_size=settings["batch_size"],
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.01,
        seed=settings["seed"],
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(
            [
                {
                    "prompt": [{"role": "user", "content": row["prompt"]}],
                    "completion": [{"role": "assistant", "content": row["completion"]}],
                }
                for row in rows
            ]
        ),
        processing_class=tokenizer,
        peft_config=LoraConfig(**settings["lora"], task_type="CAUSAL_LM"),
    )
    seconds = trainer.train().metrics["train_runtime"]
    over_imports = _peak_bytes() - before
    merged = trainer.model.merge_and_unload()
    merged.save_pretrained(settings["merged"])
    tokenizer.save_pretrained(settings["merged"])
    return {"train_seconds": seconds, "over_imports_bytes": over_imports}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
