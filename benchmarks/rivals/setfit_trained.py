"""SetFit as its documents have it: contrastive training of the whole model, then the head; nothing of ours imported."""

import csv
import json
import sys
import time
from pathlib import Path

from datasets import Dataset, disable_progress_bars
from setfit import SetFitModel, Trainer, TrainingArguments


def read(folder: str, split: str) -> tuple[list[str], list[str]]:
    """The texts and labels of a split."""
    with (Path(folder) / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


settings = json.loads(sys.argv[1])
disable_progress_bars()
began = time.perf_counter()
(texts, labels), (others, wanted) = read(settings["data"], "train"), read(settings["data"], "test")
more = read(settings["data"], "validation")
model = SetFitModel.from_pretrained(settings["model"], labels=sorted(set(labels)))
arguments = TrainingArguments(
    output_dir=settings["folder"], seed=settings["seed"], save_strategy="no", report_to="none", show_progress_bar=False
)
rows = Dataset.from_dict({"text": texts + more[0], "label": labels + more[1]})
trainer = Trainer(model=model, args=arguments, train_dataset=rows)
trainer.train()
found = model.predict(others)
accuracy = sum(str(one) == other for one, other in zip(found, wanted, strict=True)) / len(wanted)
print("\n" + json.dumps({"seconds": time.perf_counter() - began, "accuracy": accuracy}))
