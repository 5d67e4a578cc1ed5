#!/usr/bin/env bash
# lightning 2.6.6 and accelerate 1.15.0 with torch 2.14.1, 2026-11-30: the last step of each epoch is too small.
#
# Guess: with accumulated gradients each step is the mean over its batches, and if 10 batches are taken 4 at a time, the
# third step is the mean of the two that are left, as it is in transformers' Trainer. Seen: both libraries take this
# last step at the end of the epoch, and divide by 4 all the same: it has half of its size. With 33 batches it would be
# a quarter of a step, taken with Adam's moments moved by it. The examples read last count less than all others, and an
# epoch of fewer batches than are accumulated, as few-shot work has them, trains at a fraction of its rate. Nothing is
# said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  lightning==2.6.6 accelerate==1.15.0 transformers==5.23.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import accelerate
import lightning
import torch
import transformers as tr
from torch.utils.data import DataLoader, TensorDataset

# The loss is the weight itself: each batch has the gradient 1, and each step of SGD should take 1 away.


def layer() -> torch.nn.Linear:
    made = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(made.weight)
    return made


def by_lightning(batches: int, together: int) -> float:
    class Line(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer()

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            return self.layer(batch[0]).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1.0)

    model = Line()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_epochs=1, accumulate_grad_batches=together, accelerator="cpu", **quiet)
    trainer.fit(model, DataLoader(TensorDataset(torch.ones(batches, 1))))
    return float(model.layer.weight)


def by_accelerate(batches: int, together: int) -> float:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=together)
    model = layer()
    rows = DataLoader(TensorDataset(torch.ones(batches, 1)))
    model, optimizer, rows = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1.0), rows)
    for (inputs,) in rows:
        with accelerator.accumulate(model):
            accelerator.backward(model(inputs).mean())
            optimizer.step()
            optimizer.zero_grad()
    return float(model.weight)


def by_trainer(batches: int, together: int) -> float:
    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer()

        def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": self.layer(inputs).mean()}

    settings = tr.TrainingArguments(
        "out", num_train_epochs=1, per_device_train_batch_size=1, gradient_accumulation_steps=together, use_cpu=True,
        learning_rate=1.0, lr_scheduler_type="constant", optim="sgd", max_grad_norm=0.0, save_strategy="no",
        logging_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    model = Line()
    trainer = tr.Trainer(model, settings, train_dataset=[{"inputs": torch.ones(1)}] * batches)
    trainer.remove_callback(tr.PrinterCallback)
    trainer.train()
    return float(model.layer.weight)


for batches, together, steps in ((8, 4, 2), (10, 4, 3), (2, 8, 1)):
    ways = {"Lightning": by_lightning, "accelerate": by_accelerate, "Trainer": by_trainer}
    seen = {name: round(-way(batches, together), 4) for name, way in ways.items()}
    print(f"{batches} batches, {together} at a time, {steps} steps: moved by {seen}")
    assert seen["Trainer"] == steps, "the oracle: as far as there are steps"
    assert seen["Lightning"] == seen["accelerate"] == batches / together, "this has changed"
PY
echo "still so"
