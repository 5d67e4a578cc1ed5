#!/usr/bin/env bash
# onnx 1.23.2 beside onnxruntime 1.32.0, 2026-11-30: the reference runtime adds the first bias to all channels of a
# depthwise transposed convolution.
#
# Guess: onnx.reference is what the operators mean, so that a runtime that differs from it is wrong. Seen: with group
# equal to the count of channels, as learned upsampling is exported (ConvTranspose2d(8, 8, groups=8)), each group is run
# on its own with the whole bias, and takes bias[0] of it. Everything else is right: without a bias, with one group, and
# with Conv in groups. Groups of more than one output channel raise an error. Who checks a converter or an own runtime
# against the reference sees a fault where there is none, or copies it. (reference/ops/op_conv_transpose.py)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

draw = np.random.default_rng(0)
values = draw.normal(size=(2, 4, 5, 5)).astype("float32")
bias = np.array([10, 20, 30, 40], "float32")


def by_hand(weights):
    """Each channel of the input spreads its own kernel, two pixels apart."""
    result = np.tile(bias[:, None, None], (2, 1, 11, 11)).reshape(2, 4, 11, 11)
    for row in range(5):
        for column in range(5):
            spread = values[:, :, row, column, None, None] * weights[:, 0]
            result[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += spread
    return result


def run(kind, weights, with_bias, **settings):
    inputs = ["values", "weights", "bias"] if with_bias else ["values", "weights"]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, ["result"], **settings)],
        "graph",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, {"values": values})[0], session.run(None, {"values": values})[0]


kernels = draw.normal(size=(4, 1, 3, 3)).astype("float32")
own, runtime = run("ConvTranspose", kernels, True, group=4, strides=[2, 2])
apart = (runtime - own).mean((0, 2, 3))
print("depthwise, with a bias of", bias.tolist(), "- onnxruntime less reference:", np.round(apart, 3).tolist())
assert np.allclose(runtime, by_hand(kernels), atol=1e-4), "by hand"
assert np.allclose(runtime - own, (bias - bias[0])[:, None, None], atol=1e-4), "this has changed"

whole = draw.normal(size=(4, 4, 3, 3)).astype("float32")
for name, pair in {
    "depthwise without a bias": run("ConvTranspose", kernels, False, group=4, strides=[2, 2]),
    "one group": run("ConvTranspose", whole, True, strides=[2, 2]),
    "Conv in groups": run("Conv", kernels, True, group=4),
}.items():
    print(f"{name}: largest difference {np.abs(pair[0] - pair[1]).max():.5f}")
    assert np.allclose(*pair, atol=1e-4), "this has changed"
PY
echo "still so"
