#!/usr/bin/env bash
# transformers 5.23.0 with torch 2.14.1 and keras 3.15.1, 2026-11-30: early stopping ends a training that improves
# steadily.
#
# Guess: EarlyStoppingCallback(2, 0.01) stops once two evaluations in a row are not 0.01 better than the best that
# counted, as EarlyStopping(patience=2, min_delta=0.01) of Keras and Lightning does. Seen: each evaluation is compared
# with the best one so far, which any gain moves up, however small. A metric that rises by 0.008 at each evaluation
# never gains 0.01 at once: Trainer stops at the third, and Keras trains on. More evaluations per epoch, which make each
# gain smaller, stop the same training earlier.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  transformers==5.23.0 accelerate==1.15.0 keras==3.15.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 KERAS_BACKEND=torch "$folder/venv/bin/python" -W ignore - 2> errors <<'PY'
import keras
import torch
import transformers as tr

rows = [{"inputs": torch.ones(1), "labels": torch.ones(1)}] * 4


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        given = self.layer(inputs)
        return {"loss": (given - labels).square().mean(), "logits": given}


def by_trainer(values: list[float]) -> int:
    coming = iter(values)
    settings = tr.TrainingArguments(
        "out", num_train_epochs=len(values), eval_strategy="epoch", save_strategy="epoch", save_total_limit=1,
        load_best_model_at_end=True, metric_for_best_model="accuracy", report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = tr.Trainer(
        Line(), settings, train_dataset=rows, eval_dataset=rows,
        compute_metrics=lambda _: {"accuracy": next(coming)}, callbacks=[tr.EarlyStoppingCallback(2, 0.01)],
    )  # fmt: skip
    trainer.remove_callback(tr.PrinterCallback)
    trainer.train()
    return sum("eval_accuracy" in entry for entry in trainer.state.log_history)


def by_keras(values: list[float]) -> int:
    class Told(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict) -> None:
            logs["val_accuracy"] = values[epoch]

    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    stopping = keras.callbacks.EarlyStopping("val_accuracy", min_delta=0.01, patience=2, mode="max")
    ones = torch.ones(4, 1)
    return len(model.fit(ones, ones, epochs=len(values), callbacks=[Told(), stopping], verbose=0).epoch)


courses = {
    "0.03 at a time": [0.5 + 0.03 * step for step in range(10)],
    "0.008 at a time": [0.5 + 0.008 * step for step in range(10)],
    "no more": [0.5, 0.6] + [0.6] * 8,
}
for name, values in courses.items():
    seen = (by_trainer(values), by_keras(values))
    print(f"{name}: Trainer evaluates {seen[0]} times, Keras {seen[1]} times, up to {values[seen[1] - 1]:.3f}")
    expected = {"0.03 at a time": (10, 10), "0.008 at a time": (3, 10), "no more": (4, 4)}[name]
    assert seen == expected, "this has changed"
PY
echo "still so"
