#!/usr/bin/env bash
# coremltools 9.0 with torch 2.14.1 and numpy 2.4.6, 2026-12-01: a converted RMSNorm has no number for rows of zeros,
# and blows small rows up.
#
# Guess: torch.nn.RMSNorm is converted to x / sqrt(mean(x ** 2) + eps), as LayerNorm and GroupNorm are to theirs, so
# that a row of zeros (a padded position, the embedding of padding_idx) stays zero. Seen: each row is first divided by
# its greatest absolute value, then eps is added, and the divisor is multiplied again. So eps is eps times that value
# squared: 0 for zeros, and 0 / 0 is NaN, which attention spreads to all positions. Rows as small as the root of eps,
# which torch damps to 0.7 of the length of others, come out at full length. With rows of a size around 1 all is well,
# so a check with random inputs passes. Norms written out by hand, as in Llama's code, are right. Nothing is said.
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


class ByHand(torch.nn.Module):
    def forward(self, values):
        return values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + 1e-5)


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


# Rows of zeros, of the size of the root of eps, and of size 1.
row = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1])
values = torch.stack([0 * row, 1e-5**0.5 * row, row])
for way in ("trace", "export"):
    for name, module in {"RMSNorm": torch.nn.RMSNorm(8, eps=1e-5), "by hand": ByHand()}.items():
        function = convert(module.eval(), values, way)
        found = evaluate(function, values)[:, 0]
        true = module(values).detach().numpy()[:, 0]
        kinds = [operation.op_type for operation in function.operations if operation.op_type != "const"]
        print(f"{way}, {name}: {found.round(4)}, torch: {true.round(4)}; {kinds}")
        assert np.allclose(true, [0, 0.5**0.5, 1], atol=1e-4), "this has changed"
        if name == "by hand":
            assert np.allclose(found, true, atol=1e-4), "this has changed"
        else:
            assert np.isnan(found[0]), "this has changed: zeros stay zeros"
            assert abs(found[1] - 1) < 1e-3, "this has changed: small rows are damped"
            assert abs(found[2] - 1) < 1e-3, "this has changed"
PY
echo "still so"
