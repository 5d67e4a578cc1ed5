"""Copies for quick passes: BatchNorm a part of the convolutions before it, and nothing else another."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn

from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.adapters.loading import load_adapter
from hftransfer.base.errors import ModelError
from hftransfer.tasks import head_task
from hftransfer.training import frozen
from hftransfer.training.devices import Compute
from hftransfer.training.frozen import frozen_twin
from hftransfer.training.packed import PackedConv2d, PackedLinear, pack_convolutions, pack_linear

in_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="torch packs no weights in bfloat16 on this processor"
)
FP32 = Compute(torch.device("cpu"), "fp32", 4)
BF16 = Compute(torch.device("cpu"), "bf16", 4)
OF_CONVOLUTIONS = ("resnet", "efficientnet", "timm", "timm_resnet", "mobilenet_v2")


class Block(nn.Module):
    """A convolution, what comes between, and BatchNorm with statistics of its own."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d, between: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.between = between
        self.norm: Any = norm(3)
        shake(self)

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.conv(pixels)
        between = self.between(found) if self.between is not None else found
        return self.norm(between)  # type: ignore[no-any-return]


class ReadTwice(Block):
    """What the convolution gives is added to what BatchNorm makes of it."""

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.conv(pixels)
        return self.norm(found) + found  # type: ignore[no-any-return]


class RunsTwice(Block):
    """The convolution runs once more, without BatchNorm."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.conv(super().forward(pixels))  # type: ignore[no-any-return]


def shake(model: nn.Module) -> None:
    """Nothing; BatchNorm layers have statistics, scales and shifts as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            ranges = {"running_mean": (-1, 1), "running_var": (0.5, 2), "weight": (0.5, 1.5), "bias": (-0.5, 0.5)}
            for name, between in ranges.items():
                if (tensor := getattr(module, name)) is not None:
                    tensor.data.uniform_(*between, generator=generator)


class Plain:
    """A network that takes pixels, without a head."""

    modality = "image"

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model.eval()
        self.stages = [model]

    def encode(self, examples: Sequence[Image.Image]) -> dict[str, Tensor]:
        pixels = [np.asarray(image.resize((16, 16)), dtype=np.float32) / 255 for image in examples]
        return {"pixel_values": torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()}

    def with_model(self, model: nn.Module) -> Plain:
        return Plain(model)

    def below(self, inputs: dict[str, Tensor], boundary: int) -> dict[str, Tensor]:
        del boundary
        return {"hidden": self.model(inputs["pixel_values"])}

    def processor_settings(self) -> dict[str, Any]:
        return {}


def plain(*blocks: nn.Module) -> Plain:
    return Plain(nn.Sequential(*blocks, *(Block() for _ in range(5 - len(blocks)))))


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def pixels(own: Any, compute: Compute = FP32) -> dict[str, Tensor]:
    colors = np.random.default_rng(1).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    given: dict[str, Tensor] = own.encode([Image.fromarray(image) for image in colors])
    return {name: tensor.to(compute.dtype) for name, tensor in given.items()}


def features(own: Any, compute: Compute = FP32) -> Tensor:
    with torch.inference_mode():
        found: Tensor = own.below(pixels(own, compute), len(own.stages))["hidden"]
    return found.float()


@pytest.mark.parametrize("family", OF_CONVOLUTIONS)
def test_features_of_real_architectures_are_the_same_without_batchnorm(family, tiny):
    checkpoint = find_checkpoint(str(tiny(family)))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, head=IMAGE_CLASSES)
    shake(adapter.model)
    before = {name: tensor.clone() for name, tensor in adapter.model.state_dict().items()}
    twin = frozen_twin(adapter, FP32)
    assert norms(adapter.model) > 4
    assert norms(twin.model) == 0
    torch.testing.assert_close(features(twin), features(adapter), rtol=1e-4, atol=1e-5)
    assert before.keys() == adapter.model.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapter.model.state_dict().items())


@pytest.mark.parametrize(
    ("block", "left"),
    [
        (Block, 0),
        (lambda: Block(between=nn.ReLU()), 1),
        (lambda: Block(between=nn.ReLU(inplace=True)), 1),
        (lambda: Block(lambda width: BatchNormAct2d(width, act_layer=nn.SiLU)), 0),
        (lambda: Block(lambda width: nn.BatchNorm2d(width, affine=False)), 0),
        (lambda: Block(lambda width: nn.BatchNorm2d(width, track_running_stats=False)), 1),
        (RunsTwice, 1),
        (ReadTwice, 5),
    ],
    ids=["plain", "between", "in place", "with activation", "no weights", "no statistics", "runs twice", "read twice"],
)
def test_only_what_a_convolution_can_do_alone_is_taken_into_it(block, left):
    torch.manual_seed(0)
    network = plain(block())
    twin = frozen_twin(network, FP32)
    assert norms(twin.model) == left
    torch.testing.assert_close(features(twin), features(network), rtol=1e-4, atol=1e-5)


@in_bfloat16
def test_batchnorm_that_is_left_stays_in_float32():
    network = plain(*(Block(between=nn.ReLU()) for _ in range(5)))
    twin = frozen_twin(network, BF16)
    kinds = {type(module): module.weight.dtype for module in twin.model.modules() if hasattr(module, "weight")}
    assert kinds == {PackedConv2d: torch.bfloat16, nn.BatchNorm2d: torch.float32}


def test_bfloat16_is_no_less_exact_without_batchnorm():
    torch.manual_seed(0)
    network = plain()
    wanted = features(network)
    found = features(frozen_twin(network, BF16), BF16)
    assert float((found - wanted).abs().mean() / wanted.abs().mean()) < 0.01


@in_bfloat16
@pytest.mark.parametrize("family", ["vit", "bert", "gpt2"])
def test_packed_layers_give_the_same_to_the_bit(family, tiny, monkeypatch):
    checkpoint = find_checkpoint(str(tiny(family)))
    assert checkpoint is not None
    task: Any = "image-classification" if family == "vit" else "text-classification"
    adapter = load_adapter(checkpoint, ("one", "other"), head=head_task(task).head)
    twin = frozen_twin(adapter, BF16)
    packed = [module for module in twin.model.modules() if isinstance(module, PackedLinear)]
    linear = [module for module in adapter.model.modules() if type(module) is nn.Linear]
    assert adapter.head in linear
    assert len(packed) == len(linear) - 1  # the head stays in float32
    monkeypatch.setattr(frozen, "pack_linear", lambda _: None)
    inputs = {name: own.to(torch.bfloat16 if own.is_floating_point() else own.dtype) for name, own in trial(adapter)}
    with torch.inference_mode():
        found, wanted = (own.below(inputs, len(own.stages))["hidden"] for own in (twin, frozen_twin(adapter, BF16)))
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("family", ["vit", "bert"])
def test_the_head_of_a_twin_resolves_what_lies_close_together(family, tiny):
    checkpoint = find_checkpoint(str(tiny(family)))
    assert checkpoint is not None
    task: Any = "image-classification" if family == "vit" else "text-classification"
    adapter = load_adapter(checkpoint, ("one", "other"), head=head_task(task).head)
    width = adapter.head.weight.shape[1]
    # Years: in bfloat16 the next ones lie 8 apart.
    adapter.set_head(torch.zeros(2, width), torch.tensor([2001.0, 2002.5]))
    twin = frozen_twin(adapter, BF16)
    inputs = {name: own.to(torch.bfloat16 if own.is_floating_point() else own.dtype) for name, own in trial(adapter)}
    with torch.inference_mode(), BF16.autocast():
        found = twin.above(twin.below(inputs, 0), 0)
    assert found.float().tolist() == [[2001.0, 2002.5]] * 2
    with torch.inference_mode(), BF16.autocast(), frozen.head_in_float32(adapter.head):
        found = adapter.above(adapter.below(dict(trial(adapter)), 0), 0)
    assert found.float().tolist() == [[2001.0, 2002.5]] * 2


def trial(adapter: Any) -> list[tuple[str, Tensor]]:
    """Two examples as the network takes them."""
    return list(adapter.sample_inputs(2).items())


@in_bfloat16
@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 8), (2, 2, 3, 8), (0, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_is_a_linear_layer(shape, bias):
    torch.manual_seed(0)
    plain = nn.Linear(8, 6, bias=bias).to(torch.bfloat16)
    model = nn.Sequential(copy.deepcopy(plain))
    pack_linear(model)
    given = torch.randn(shape).to(torch.bfloat16)
    with torch.inference_mode():
        assert torch.equal(model(given), plain(given))
    assert model(given).requires_grad  # learned through, it is as any other
    assert type(model[0]) is PackedLinear
    again = copy.deepcopy(model)
    assert type(again[0]) is nn.Linear
    with torch.inference_mode():
        assert torch.equal(again(given), plain(given))
    assert model.state_dict().keys() == again.state_dict().keys()
    assert type(pickle.loads(pickle.dumps(model))[0]) is nn.Linear


def test_a_network_that_computes_in_float32_alone_is_told(tiny, monkeypatch):
    checkpoint = find_checkpoint(str(tiny("vit")))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, head=IMAGE_CLASSES)
    monkeypatch.setattr(adapter.model.vit.layernorm, "forward", lambda hidden: hidden @ torch.eye(hidden.shape[-1]))
    frozen_twin(adapter, FP32)
    with pytest.raises(ModelError, match=r"(?s)dtype.*That was in bf16: try precision fp32"):
        frozen_twin(adapter, BF16)


def test_float32_is_not_packed(tiny):
    checkpoint = find_checkpoint(str(tiny("vit")))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, head=IMAGE_CLASSES)
    assert not any(isinstance(module, PackedLinear) for module in frozen_twin(adapter, FP32).model.modules())
    assert not any(isinstance(module, PackedLinear) for module in adapter.model.modules())


@pytest.mark.parametrize("compute", [FP32, pytest.param(BF16, marks=in_bfloat16)], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", OF_CONVOLUTIONS)
def test_packed_convolutions_give_the_same(family, compute, tiny, monkeypatch):
    checkpoint = find_checkpoint(str(tiny(family)))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, head=IMAGE_CLASSES)
    shake(adapter.model)
    twin = frozen_twin(adapter, compute)
    packed = [module for module in twin.model.modules() if isinstance(module, PackedConv2d)]
    assert len(packed) == sum(isinstance(module, nn.Conv2d) for module in adapter.model.modules())
    assert any(module.behind for module in packed)
    monkeypatch.setattr(frozen, "pack_convolutions", lambda *_: None)
    found, wanted = features(twin, compute), features(frozen_twin(adapter, compute), compute)
    # In bfloat16 SiLU is given what the convolution gave before it was rounded; ReLU commutes with rounding.
    assert torch.equal(found, wanted) or compute is FP32 or family in ("efficientnet", "timm")
    close = 1e-4 if compute is FP32 else 0.02
    torch.testing.assert_close(found, wanted, rtol=close, atol=close * float(wanted.abs().max()))
    assert not any(isinstance(module, PackedConv2d) for module in adapter.model.modules())


class Behind(nn.Module):
    """A convolution and an activation behind it."""

    def __init__(self, act: nn.Module, **settings: Any) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(4, 4, 3, **settings), act

    def forward(self, pixels: Tensor) -> Tensor:
        return self.act(self.conv(pixels))  # type: ignore[no-any-return]


class Residual(Behind):
    """What the convolution gave is added to what the activation made of it."""

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.conv(pixels)
        return self.act(found) + found  # type: ignore[no-any-return]


class Again(Behind):
    """The activation serves twice."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.act(super().forward(pixels) - 0.5)  # type: ignore[no-any-return]


def _same(**settings: Any) -> Behind:
    block = Behind(nn.ReLU6(), stride=2)
    block.conv = Conv2dSame(4, 4, 3, stride=2, **settings)
    return block


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=in_bfloat16)])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: Behind(nn.ReLU()), nn.ReLU),
        (lambda: Behind(nn.ReLU(inplace=True)), nn.ReLU),
        (lambda: Behind(nn.ReLU6(), padding=1, stride=2), nn.ReLU6),
        (lambda: Behind(nn.ReLU6(inplace=True), groups=4, bias=False), nn.ReLU6),
        (lambda: Behind(nn.SiLU(), dilation=2), nn.SiLU),
        (lambda: Behind(nn.Hardswish(), padding=(1, 0)), nn.Hardswish),
        (_same, nn.ReLU6),
        (lambda: Behind(nn.ReLU(), padding="same", dilation=2), nn.ReLU),
        (lambda: Behind(nn.ReLU(), padding="valid"), nn.ReLU),
        (lambda: Behind(nn.GELU()), None),
        (lambda: Behind(nn.ReLU(), padding=1, padding_mode="reflect"), None),
        (lambda: Again(nn.ReLU()), None),
        (lambda: Residual(nn.ReLU()), None),
        (lambda: Residual(nn.ReLU(inplace=True)), None),
    ],
)
def test_what_follows_a_convolution_is_a_part_of_it_where_nothing_else_reads_it(make, kind, dtype):
    torch.manual_seed(0)
    plain = make().to(dtype)
    pixels = (4 * torch.randn(2, 4, 9, 9)).to(dtype).contiguous(memory_format=torch.channels_last)
    model = copy.deepcopy(plain)
    pack_convolutions(model, lambda: model(pixels))
    assert isinstance(model.conv, PackedConv2d) == isinstance(model.act, nn.Identity) == (kind is not None)
    assert getattr(model.conv, "behind", None) is kind
    others = torch.randn(5, 4, 12, 10).to(dtype)
    for own in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.inference_mode():
            for given in (pixels, others):
                torch.testing.assert_close(
                    own(given), plain(given), rtol=0.02, atol=1e-5 if dtype.itemsize == 4 else 0.02
                )
            assert torch.equal(own(pixels), plain(pixels)) or dtype == torch.float32 or kind in (nn.SiLU, nn.Hardswish)
    learned = [one(pixels.requires_grad_()) for one in (model, plain)]
    assert torch.equal(*learned)
    slopes = [torch.autograd.grad(one.float().square().sum(), pixels)[0] for one in learned]
    assert torch.equal(*slopes)
