#!/usr/bin/env bash
# captum 0.9.0 with torch 2.14.1, 2026-11-30: TracInCPFast ranks other examples than TracInCP.
#
# Guess: TracInCPFast, for the last layer alone, gives "exactly the same" scores as naive back-propagation, as its
# documents say, so those of TracInCP with layers of that layer. Seen: it multiplies inputs and gradients of the layer,
# which is what its weights make, and leaves out its bias, which nearly every head has. With embeddings of length 1, as
# contrastive models give them, the bias outweighs all else: four of the ten most influential examples are others, and
# nearly half of the scores have the other sign. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  captum==0.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from captum.influence import TracInCP, TracInCPFast
from torch import nn

torch.manual_seed(0)


class Head(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.head = nn.Linear(32, 4, bias=bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.normalize(inputs, dim=-1))


inputs, labels = torch.randn(300, 32), torch.randint(4, (300,))
inputs[:, :4] += 2 * nn.functional.one_hot(labels, 4)
known, new = torch.utils.data.TensorDataset(inputs[:200], labels[:200]), (inputs[200:], labels[200:])


def load(model: nn.Module, path: str) -> float:
    model.load_state_dict(torch.load(path))
    return 1.0


def gradients(model: nn.Module, rows: torch.Tensor, targets: torch.Tensor, names: tuple[str, ...]) -> torch.Tensor:
    found = []
    for row, target in zip(rows, targets):
        model.zero_grad()
        nn.functional.cross_entropy(model(row[None]), target[None]).backward()
        found.append(torch.cat([part.grad.flatten() for name, part in model.named_parameters() if name in names]))
    return torch.stack(found)


for bias in (False, True):
    model = Head(bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[:200]), labels[:200]).backward()
        optimizer.step()
    torch.save(model.state_dict(), "model.pt")
    loss = {"loss_fn": nn.CrossEntropyLoss(reduction="sum"), "batch_size": 50}
    fast = TracInCPFast(model, model.head, known, ["model.pt"], load, **loss).influence(new)
    whole = TracInCP(model, known, ["model.pt"], load, **loss, sample_wise_grads_per_batch=True, layers=["head"])
    whole = whole.influence(new)
    parts = ("head.weight", "head.bias")
    by_hand, weights = (
        gradients(model, *new, names) @ gradients(model, inputs[:200], labels[:200], names).T
        for names in (parts, parts[:1])
    )
    first, second = fast.topk(10).indices, whole.topk(10).indices
    other = sum(len(set(one.tolist()) - set(two.tolist())) for one, two in zip(first, second)) / 100
    signs = float((fast.sign() != whole.sign()).float().mean())
    ratio = float((whole.abs().sum() / fast.abs().sum()))
    print(f"bias {bias}: {other:.1f} of the first ten are others, {signs:.3f} of the signs;", end=" ")
    print(f"TracInCP is {ratio:.2f} times as large")
    assert torch.allclose(whole, by_hand, atol=1e-5), "this has changed: TracInCP"
    assert torch.allclose(fast, weights, atol=1e-5), "this has changed: TracInCPFast has the bias"
    assert (other > 1 and ratio > 1.3) == bias, "this has changed"
assert "exactly the same as when naive" in TracInCPFast.__doc__, "this has changed: the documents"
PY
echo "still so"
