#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.14.1, 2026-11-30: until averaging starts, the average is the untrained model, and wins.
#
# Guess: EMAWeightAveraging(update_starting_at_step=100) trains, validates and saves as usual for the first 100 steps,
# and averages after that; update_starting_at_epoch=3 starts with that epoch. Seen: up to the first update the average
# is a copy from before training. Validation measures it, checkpoints hold it as their state_dict, and after fit the
# model is set to it: of a training that ends before the start nothing at all is left. update_starting_at_epoch alone
# does not put off anything: without a step to start at, each step is averaged from the first on. No warning tells of
# either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check lightning==2.6.6 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
targets = inputs @ torch.tensor([[1.0], [2.0], [3.0], [4.0]])
rows = DataLoader(TensorDataset(inputs, targets), batch_size=16)


class Line(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.after: list[torch.Tensor] = []

    def loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return self.loss(batch)

    def on_train_batch_end(self, *_: object) -> None:
        self.after.append(self.layer.weight.detach().clone())

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("validation", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def fit(name: str, *callbacks: Callback) -> tuple[torch.Tensor, Line, float, torch.Tensor]:
    torch.manual_seed(1)
    model, keeper = Line(), ModelCheckpoint(name, save_last=True)
    start = model.layer.weight.detach().clone()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=4, accelerator="cpu", callbacks=[*callbacks, keeper], **quiet)
    trainer.fit(model, rows, rows)
    saved = torch.load(keeper.last_model_path, weights_only=True)["state_dict"]["layer.weight"]
    return start, model, float(trainer.callback_metrics["validation"]), saved


start, plain, loss, _ = fit("plain")
_, late, late_loss, saved = fit("late", EMAWeightAveraging(decay=0.5, update_starting_at_step=100))
print(f"16 steps; loss on validation {loss:.2f} without averaging, {late_loss:.2f} with averaging from step 100 on")
assert loss < 2 and torch.equal(plain.layer.weight, plain.after[-1])
assert torch.equal(late.after[-1], plain.after[-1]), "the steps are the same"
assert torch.equal(late.layer.weight, start) and torch.equal(saved, start), "this has changed: untrained weights"
assert late_loss > 10, "this has changed: validation"

_, by_epoch, _, _ = fit("epoch", EMAWeightAveraging(decay=0.5, update_starting_at_epoch=3))
from_start, from_epoch = by_epoch.after[0], by_epoch.after[11]
for weight in by_epoch.after[1:] + by_epoch.after[-1:]:
    from_start = (from_start + weight) / 2
for weight in by_epoch.after[12:] + by_epoch.after[-1:]:
    from_epoch = (from_epoch + weight) / 2
gaps = [float((by_epoch.layer.weight - weight).abs().max()) for weight in (from_start, from_epoch)]
print(f"from epoch 3 on: off by {gaps[0]:.0e} from an average of all steps, by {gaps[1]:.0e} from one of epoch 3")
assert gaps[0] < 1e-5 < 1e-3 < gaps[1], "this has changed: the epoch to start at"
PY
echo "still so"
