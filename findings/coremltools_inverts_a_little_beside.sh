#!/usr/bin/env bash
# coremltools 9.0 with torch 2.14.1 and numpy 2.4.6, 2026-12-01: a converted 1 / x is 1 / (x + 0.0001): half as large at
# 0.0001, and infinite at -0.0001.
#
# Guess: 1 / x and torch.reciprocal are converted to what they are, as x / y, x ** -1, rsqrt and log are (to 1e-12 and
# less). Seen: both become Core ML's "inverse", whose epsilon is left at its default of 0.0001, for traced and exported
# modules and with compute_precision FLOAT32. Depths of 1 / disparity that go to 10,000 end at 5,000; at 0.001 they are
# 9 % too near, at 0.01 one percent. Small negative numbers come out too large, or with the other sign. Nothing is said.
# Core ML runs on a Mac alone; here coremltools' own evaluation of the converted operations tells.
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
    return coremltools.convert(source, minimum_deployment_target=target, **precise, **settings).functions["main"]


def evaluate(function, values):
    """What coremltools itself works out for the operations, with the input as a constant."""
    found = {next(iter(function.inputs.values())): values.numpy()}

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1,))])
    def program(unused):
        for operation in function.operations:
            if operation.op_type != "const":
                given = {
                    name: found[each] if each in found else each.val
                    for name, each in operation.inputs.items()
                    if each is not None
                }
                found[operation.outputs[0]] = getattr(Builder, operation.op_type)(**given).val
        return unused

    return found[function.outputs[0]]


values = torch.tensor([[-0.01, -0.0005, -0.00005, 0.0001, 0.001, 0.01, 1.0]])
functions = {
    "1 / x": lambda x: 1 / x,
    "reciprocal": torch.reciprocal,
    "x / (x * x)": lambda x: x / (x * x),
    "x ** -1": lambda x: x**-1,
}
print("torch:", [round(value, 2) for value in (1 / values)[0].tolist()])
for way in ("trace", "export"):
    for name, call in functions.items():
        function = convert(Module(call), values, way)
        kinds = [operation.op_type for operation in function.operations if operation.op_type != "const"]
        found = evaluate(function, values)
        print(f"{way}, {name}, {kinds}: {[round(float(value), 2) for value in found[0]]}")
        if "inverse" in kinds:
            assert name in ("1 / x", "reciprocal"), "this has changed"
            assert np.allclose(found, 1 / (values.numpy() + 1e-4), rtol=1e-4), "this has changed: another epsilon"
            off = np.abs(found * values.numpy() - 1)[0]
            assert off[3] > 0.49 and off[4] > 0.08 and found[0][2] > 0, "this has changed"
        else:
            assert name in ("x / (x * x)", "x ** -1"), "this has changed: no inverse"
            assert np.allclose(found, 1 / values.numpy(), rtol=1e-4), "this has changed"
PY
echo "still so"
