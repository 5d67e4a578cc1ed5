#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.14.1, 2026-11-30: test(ckpt_path="best") after fit tests other weights than the file's.
#
# Guess: with EMAWeightAveraging, `trainer.fit` and then `trainer.test(ckpt_path="best")` tests the averaged weights:
# they are the state_dict of the checkpoint, what validation measured and what load_from_checkpoint reads. Seen: in the
# trainer that has trained, the callback still holds its average. On loading it puts the weights that were not averaged
# into the model, and only validation swaps them, not test and predict. A new trainer, given the same file, tests the
# averaged ones. The score that is reported is not that of the model that is handed on. WeightAveraging does the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check lightning==2.6.6 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from torch.utils.data import DataLoader, TensorDataset

inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
targets = inputs @ torch.tensor([[1.0], [2.0], [3.0], [4.0]])
rows = DataLoader(TensorDataset(inputs, targets), batch_size=64)


class Line(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return self.loss(batch)

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("validation", self.loss(batch))

    def test_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("test", self.loss(batch))

    def predict_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return self.layer(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(*callbacks: Callback) -> lightning.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(max_epochs=5, accelerator="cpu", callbacks=list(callbacks), **quiet)


for name, callbacks in {
    "no averaging": [], "EMA": [EMAWeightAveraging(decay=0.9)], "mean": [WeightAveraging()]
}.items():  # fmt: skip
    torch.manual_seed(1)
    keeper = ModelCheckpoint(name, monitor="validation")
    trained = trainer(*callbacks, keeper)
    trained.fit(Line(), rows, rows)
    same = trained.test(Line(), rows, ckpt_path="best", verbose=False)[0]["test"]
    predicted = torch.cat(trained.predict(Line(), rows, ckpt_path="best"))
    fresh = trainer().test(Line(), rows, ckpt_path=keeper.best_model_path, verbose=False)[0]["test"]
    state = torch.load(keeper.best_model_path, weights_only=True)["state_dict"]
    by_hand = inputs @ state["layer.weight"].T + state["layer.bias"]
    saved, validated = float((by_hand - targets).square().mean()), float(keeper.best_model_score)
    print(f"{name}: validated {validated:.3f}, file {saved:.3f}, new trainer {fresh:.3f}, same trainer {same:.3f}")
    assert abs(validated - saved) < 1e-3 and abs(fresh - saved) < 1e-3, "this has changed: what the file holds"
    assert (abs(same - saved) > 1) == bool(callbacks), "this has changed: test"
    assert torch.allclose(predicted, by_hand, atol=1e-4) != bool(callbacks), "this has changed: predict"
PY
echo "still so"
