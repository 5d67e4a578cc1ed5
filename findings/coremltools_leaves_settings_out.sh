#!/usr/bin/env bash
# coremltools 9.0 with torch 2.14.1 and numpy 2.4.6, 2026-12-01: converted networks add with another factor, norm by
# other statistics, take the argmax of each row, and shrink pictures without smoothing.
#
# Guess: convert keeps the settings of what it converts, or refuses, as it does with many operations (and with
# recompute_scale_factor, padding_mode="circular", divisor_override). Seen: of an exported module add and sub lose
# alpha: torch.add(x, y, alpha=2) is x + y (a traced one is refused). InstanceNorm2d with track_running_stats=True, in
# eval mode, takes the statistics of the picture in place of those of the training. argmax() without an axis, "of all
# elements", is along the last axis. interpolate(antialias=True), as torchvision's Resize does it by itself, is that
# without. Nothing is said. Core ML runs on a Mac alone; here the operations are read, and evaluated by coremltools.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  coremltools==9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2> /dev/null <<'PY'
import coremltools
import numpy as np
import torch
from coremltools.converters.mil import Builder


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, values):
        return self.function(values)


def convert(module, values, way):
    settings = {"inputs": [coremltools.TensorType(shape=values.shape)]} if way == "trace" else {}
    if way == "trace":
        source = torch.jit.trace(module, values)
    else:
        source = torch.export.export(module, (values,)).run_decompositions({})
    precise = {"compute_precision": coremltools.precision.FLOAT32, "convert_to": "milinternal"}
    target = coremltools.target.iOS18
    function = coremltools.convert(source, minimum_deployment_target=target, **precise, **settings).functions["main"]
    return function, [operation for operation in function.operations if operation.op_type != "const"]


def given(operation):
    return {name: None if each is None else each.val for name, each in operation.inputs.items()}


values, other = torch.arange(12.0).reshape(3, 4), torch.full((3, 4), 10.0)
for name, call in {
    "add": lambda x: torch.add(x, other, alpha=2),
    "sub": lambda x: torch.sub(x, other, alpha=2),
    "add of twice as much": lambda x: x + 2 * other,
}.items():
    _, operations = convert(Module(call), values, "export")
    kinds, second = [each.op_type for each in operations], float(np.ravel(given(operations[0])["y"])[0])
    true = (call(values) - values)[0, 0].item()
    print(f"export, {name}: {kinds} of {second}; torch changes values by {true}")
    assert len(kinds) == 1 and abs(true) == 20 and second == (20 if "twice" in name else 10), "this has changed"
for name in ("add", "sub"):
    try:
        convert(Module(lambda x, name=name: getattr(torch, name)(x, other, alpha=2)), values, "trace")
    except ValueError as error:
        print(f"trace, {name}: {error}")
    else:
        raise AssertionError("this has changed: traced modules aren't refused")

pictures = torch.rand(1, 2, 6, 6)
norms = {
    "InstanceNorm2d": torch.nn.InstanceNorm2d(2, affine=True, track_running_stats=True),
    "BatchNorm2d": torch.nn.BatchNorm2d(2),
}
for way in ("trace", "export"):
    for name, norm in norms.items():
        norm.running_mean[:] = 100
        norm.eval()
        _, operations = convert(Module(norm), pictures, way)
        constants = [each for operation in operations for each in given(operation).values() if each is not None]
        kept = any(np.any(np.isclose(np.asarray(each, float), 100)) for each in constants if not isinstance(each, str))
        mean = norm(pictures).mean().item()
        kinds = [each.op_type for each in operations]
        print(f"{way}, {name}: {kinds}; running mean in it: {kept}; torch: mean {mean:.0f}")
        assert mean < -50 and kept == (name == "BatchNorm2d"), "this has changed: running statistics are kept"

    call = lambda x: x.argmax()
    _, operations = convert(Module(call), values, way)
    found = None

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1,))])
    def program(unused):
        global found
        settings = given(operations[0])
        found = Builder.reduce_argmax(x=values.numpy(), axis=settings["axis"], keep_dims=settings["keep_dims"]).val
        return unused

    print(f"{way}, argmax: {[each.op_type for each in operations]}: {found.tolist()}, torch: {call(values).item()}")
    assert call(values) == 11 and found.tolist() == [3, 3, 3] and len(operations) == 1, "this has changed"

    same = []
    for smooth in (True, False):
        call = lambda x, smooth=smooth: torch.nn.functional.interpolate(
            x, size=(2, 2), mode="bilinear", antialias=smooth
        )
        _, operations = convert(Module(call), pictures, way)
        settings = {name: np.asarray(each).tolist() for name, each in given(operations[-1]).items() if each is not None}
        same.append((call(pictures), [each.op_type for each in operations], settings))
    gap = (same[0][0] - same[1][0]).abs().max().item()
    print(f"{way}, smoothed: {same[0][1:]}, torch: {gap:.2f} from that without")
    assert same[0][1:] == same[1][1:] and gap > 0.05, "this has changed: smoothing counts"
PY
echo "still so"
