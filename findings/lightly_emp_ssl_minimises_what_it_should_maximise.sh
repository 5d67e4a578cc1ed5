#!/usr/bin/env bash
# lightly 1.6.0 with torch 2.14.1, 2026-11-30: EMPSSLLoss is least where all images have the same embedding.
#
# Guess: the loss of EMP-SSL (arXiv 2304.03977) wants views of an image alike and images apart: its total coding rate
# is to be made large, so that the loss has minus 1/2 log det(I + d / (b eps) Z'Z), as the authors' program does.
# Seen: emp_ssl_loss.py adds it with plus. Embeddings that are one and the same for all images have a smaller loss than
# orthogonal ones, where views agree in full in both, and training a small network with it makes all embeddings alike:
# their mean cosine goes from 0.24 to 1.00, where by the formula of the paper it goes to 0.06. The loss falls all the
# while, and nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  lightly==1.6.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
LIGHTLY_DID_VERSION_CHECK=True "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from lightly.loss import EMPSSLLoss
from torch.nn.functional import cosine_similarity, normalize

own = EMPSSLLoss(tcr_eps=0.2, inv_coef=200.0)


def paper(views):
    together = torch.stack(views)
    rates = []
    for view in together:
        count, width = view.shape
        rates.append(0.5 * torch.logdet(torch.eye(width) + width / (count * 0.2) * view.T @ view))
    alike = cosine_similarity(together, together.mean(0, keepdim=True), dim=-1).mean()
    return -torch.stack(rates).mean() - 200.0 * alike


# Sixteen images, eight views each, that agree in full: all images at one point, or each on its own axis.
same = [normalize(torch.ones(16, 16), dim=1)] * 8
apart = [torch.eye(16)] * 8
for name, loss in (("paper", paper), ("lightly", own)):
    print(f"{name}: all the same {float(loss(same)):.2f}, all apart {float(loss(apart)):.2f}")
assert paper(apart) < paper(same) - 10, "by hand"
assert own(same) < own(apart) - 10, "this has changed: the loss prefers images apart"


def train(loss):
    """Mean cosine of the embeddings of different images before and after training, and each loss."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))
    images = torch.randn(64, 32)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    told, losses = [], []
    for step in range(501):
        views = [normalize(net(images + 0.3 * torch.randn_like(images)), dim=1) for _ in range(8)]
        if step in (0, 500):
            embedded = normalize(net(images).detach(), dim=1)
            told.append(float((embedded @ embedded.T)[~torch.eye(64, dtype=torch.bool)].mean()))
        value = loss(views)
        losses.append(float(value))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return told, losses


for name, loss, least, most in (("paper", paper, -0.1, 0.1), ("lightly", own, 0.95, 1.01)):
    (before, after), losses = train(loss)
    print(f"{name}: mean cosine of images {before:.3f} before and {after:.3f} after training;"
          f" loss {losses[0]:.1f} to {losses[-1]:.1f}")
    assert losses[-1] < losses[0] and least < after < most, "this has changed"
PY
echo "still so"
