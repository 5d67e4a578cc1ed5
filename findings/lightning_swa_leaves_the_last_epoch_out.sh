#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.14.1, 2026-11-30: averaged weights have the untrained ones in them, and lack the last
# epoch.
#
# Guess: StochasticWeightAveraging averages the weights at the end of each epoch from swa_epoch_start on, as the recipe
# of torch.optim.swa_utils does and the paper. Seen: it averages at the start of each epoch. So the epochs' means are
# shifted by one: swa_epoch_start=1 takes the weights from before all training for the first of them, and the weights
# that the last epoch led to are in none. That epoch is trained for nothing. In four epochs of fine-tuning a quarter of
# the result is the model as it was, with its random head.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check lightning==2.6.6 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import copy

import lightning
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
targets = inputs @ torch.tensor([[1.0], [2.0], [3.0], [4.0]])


class Line(lightning.LightningModule):
    def __init__(self, first: int) -> None:
        super().__init__()
        self.layer, self.first, self.ends = torch.nn.Linear(4, 1), first, []
        self.other = [AveragedModel(copy.deepcopy(self.layer))]

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def on_train_epoch_end(self) -> None:
        self.ends.append(self.layer.weight.detach().clone())
        if self.current_epoch + 1 >= self.first:
            self.other[0].update_parameters(self.layer)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


for first in (1, 3):
    torch.manual_seed(1)
    model = Line(first)
    ends = [model.layer.weight.detach().clone()]
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    averaging = StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=first)
    trainer = lightning.Trainer(max_epochs=4, accelerator="cpu", callbacks=[averaging], **quiet)
    trainer.fit(model, DataLoader(TensorDataset(inputs, targets), batch_size=16))
    ends += model.ends
    spans = {(a, b): torch.stack(ends[a : b + 1]).mean(0) for a in range(5) for b in range(a, 5)}
    found = [span for span, mean in spans.items() if torch.allclose(mean, model.layer.weight, atol=1e-6)]
    by_torch = [span for span, mean in spans.items() if torch.allclose(mean, model.other[0].module.weight, atol=1e-6)]
    with torch.no_grad():
        losses = [float((layer(inputs) - targets).square().mean()) for layer in (model.layer, model.other[0].module)]
    print(f"from epoch {first} of 4: mean of epochs {found}, loss {losses[0]:.2f}; torch's {by_torch}, {losses[1]:.2f}")
    assert by_torch == [(first, 4)], "the oracle is the mean after these epochs"
    assert found == [(first - 1, 3)], "this has changed"
    assert losses[0] > 1.5 * losses[1], "this has changed: the loss"
PY
echo "still so"
