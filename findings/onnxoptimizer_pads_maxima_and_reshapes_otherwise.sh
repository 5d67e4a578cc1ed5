#!/usr/bin/env bash
# onnxoptimizer 0.4.2 with onnx 1.23.2 and onnxruntime 1.32.0, 2026-12-01: with its default passes a network pads
# maxima with nothing instead of zeros, and cuts rows elsewhere.
#
# Guess: optimize(model) computes what the model does, to rounding. Seen: convolutions, norms and constants are right.
# A Pad with zeros before a MaxPool goes into the pads of MaxPool, which aren't zeros but lower than all numbers: where
# a map is negative (after LeakyReLU, GELU, SiLU or a norm), its borders are others. And of two Reshapes in a row the
# first is dropped, though 0 in the second ("as in the input") then means another size: (2, 6, 2) -> (4, 6) -> (0, -1)
# has 2 rows of 12 in place of 4 of 6. Nothing is said; onnxruntime runs both.
# (fuse_pad_into_pool, and the fusing of consecutive reshapes)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  onnxoptimizer==0.4.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def both(nodes, constants, values, rank):
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [None] * rank)
    given = helper.make_tensor_value_info("values", TensorProto.FLOAT, values.shape)
    kept = [numpy_helper.from_array(np.array(data), name) for name, data in constants.items()]
    graph = helper.make_graph(nodes, "network", [given], [result], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    found = []
    for each in (model, onnxoptimizer.optimize(model)):
        print("  ", [node.op_type for node in each.graph.node])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(each.SerializeToString(), options, ["CPUExecutionProvider"])
        found.append(session.run(None, {"values": values})[0])
    return found


pads = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "zero": np.float32(0)}
for kind in ("AveragePool", "MaxPool"):
    for sign in (1, -1):
        map_ = sign * np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
        settings = {"count_include_pad": 1} if kind == "AveragePool" else {}
        nodes = [
            helper.make_node("Pad", ["values", "pads", "zero"], ["padded"]),
            helper.make_node(kind, ["padded"], ["result"], kernel_shape=[3, 3], strides=[2, 2], **settings),
        ]
        own, optimised = both(nodes, pads, map_, 4)
        padded = np.pad(map_[0, 0], 1)
        function = np.mean if kind == "AveragePool" else np.max
        true = [[function(padded[row : row + 3, column : column + 3]) for column in (0, 2)] for row in (0, 2)]
        print(f"{kind} of numbers of sign {sign}: {own.ravel()}, optimised {optimised.ravel()}")
        assert np.allclose(own[0, 0], true), "this has changed"
        if (kind, sign) == ("MaxPool", -1):
            assert own[0, 0, 0, 0] == 0 and optimised[0, 0, 0, 0] == -1, "this has changed: zeros are kept"
        else:
            assert np.allclose(own, optimised), "this has changed"

values = np.arange(24, dtype=np.float32).reshape(2, 6, 2)
nodes = [
    helper.make_node("Reshape", ["values", "first"], ["middle"]),
    helper.make_node("Reshape", ["middle", "second"], ["rows"]),
    helper.make_node("ReduceMean", ["rows"], ["result"], axes=[1], keepdims=1),
]
own, optimised = both(nodes, {"first": [4, 6], "second": [0, -1]}, values, 2)
print("means of rows:", own.ravel(), "optimised:", optimised.ravel())
assert np.allclose(own.ravel(), values.reshape(4, 6).mean(1)), "this has changed"
assert np.allclose(optimised.ravel(), values.reshape(2, 12).mean(1)), "this has changed: 4 rows"
PY
echo "still so"
