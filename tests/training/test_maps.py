"""The head on maps: the same as one layer on enlarged maps, and solved as logistic regression is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch.nn.functional import interpolate

from hftransfer.adapters.dense import PyramidHead, apart
from hftransfer.tasks.pixels import at_size, shares, tiles_of
from hftransfer.training.maps import _at_cells, _Cells, _solved

GRIDS = ((3, 8, 12), (5, 4, 6), (4, 1, 1))


def _maps(seed: int = 0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(2, *grid) for grid in GRIDS]


def test_small_logits_enlarged_are_those_of_enlarged_maps() -> None:
    maps, head = _maps(), PyramidHead(GRIDS, 3)
    with torch.no_grad():
        head.weight.normal_()
        head.bias.normal_()
        big = torch.cat([interpolate(own, size=(8, 12), mode="bilinear", align_corners=False) for own in maps], dim=1)
        wanted = torch.einsum("cd,bdhw->bchw", head.weight, big) + head.bias[:, None, None]
        flat = torch.cat([own.flatten(1) for own in maps], dim=1)
        assert torch.allclose(head(flat), wanted, atol=1e-5)
    assert all(torch.equal(one, other) for one, other in zip(apart(flat, GRIDS), maps, strict=True))


def test_features_of_cells_are_those_of_enlarged_maps() -> None:
    maps = [own[:1] for own in _maps(1)]
    cells = np.array([0, 5, 11, 40, 95])
    big = torch.cat([interpolate(own, size=(8, 12), mode="bilinear", align_corners=False) for own in maps], dim=1)
    assert torch.allclose(_at_cells(maps, cells), big[0].flatten(1)[:, cells].T, atol=1e-5)


def test_shares_are_counts_of_the_pixels_of_cells() -> None:
    ids = np.random.default_rng(0).integers(-1, 3, (24, 36)).astype(np.int16)
    found = shares(ids, 4, 6, 3)
    for cell in range(24):
        row, column = divmod(cell, 6)
        own = ids[row * 6 : row * 6 + 6, column * 6 : column * 6 + 6]
        assert found[cell] == pytest.approx([(own == label).mean() for label in range(3)])
    assert (shares(ids, 4, 6, 3, np.array([7, 3])) == found[[7, 3]]).all()
    assert (at_size(ids, 24, 36) == ids).all()


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_the_solution_is_that_of_a_plain_minimisation(balance: float) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 4)) * [1, 5, 0.2, 1] + 3
    wanted = random.dirichlet([1, 1, 0.3], size=300)
    l2 = 0.05
    found = _solved(_Cells(torch.from_numpy(features).float(), torch.from_numpy(wanted).float()), balance, l2, 300)
    scaled = (features - features.mean(0)) / features.std(0)
    by_class = (wanted.sum(0).mean() / wanted.sum(0)) ** balance
    weighted = wanted * by_class

    def objective(flat: np.ndarray) -> float:
        place = flat.reshape(5, 3)
        loss = -(weighted * log_softmax(scaled @ place[:-1] + place[-1], axis=1)).sum() / weighted.sum()
        return float(loss + 0.5 * l2 * np.square(place[:-1]).sum())

    oracle = minimize(objective, np.zeros(15), method="BFGS").x.reshape(5, 3)
    logits = scaled @ oracle[:-1] + oracle[-1]
    own = features @ found.weight.double().numpy().T + found.bias.double().numpy()
    centred = [values - values.mean(axis=1, keepdims=True) for values in (logits, own)]
    assert np.abs(centred[0] - centred[1]).max() < 5e-3


@pytest.mark.parametrize(("size", "edge"), [((100, 60), 64), ((64, 64), 64), ((513, 700), 128), ((33, 200), 32)])
def test_tiles_part_an_image(size: tuple[int, int], edge: int) -> None:
    count = np.zeros((size[1], size[0]), dtype=int)
    for tile in tiles_of(0, size, edge):
        left, top, right, bottom = tile.core
        count[top:bottom, left:right] += 1
        assert tile.box[0] <= left <= right <= tile.box[2]
        assert tile.box[1] <= top <= bottom <= tile.box[3]
        assert max(tile.box[2] - tile.box[0], tile.box[3] - tile.box[1]) <= edge
    assert (count == 1).all()
