#!/usr/bin/env bash
# onnxsim 0.8.1 with onnx 1.23.2 and onnxruntime 1.32.0, 2026-12-01: a simplified network weighs the columns of a
# picture where it weighed its rows.
#
# Guess: simplify keeps the outputs to rounding, and their shapes. Seen: two means (sums, maxima, ...) in a row over
# different axes become one over both. Where only one of the two keeps its axis with length 1 (keepdims), the one that
# is left takes the setting of the second for both axes. mean(3, keepdim=True).mean(1) has the shape (1, rows) instead
# of (1, rows, 1): as an output, it is another shape; as a factor of square maps, columns are weighed in place of rows,
# and nothing is said but a note on shapes in the log of onnxruntime. Means of like keepdims are right. The second of
# the results of simplify, "checked", is True, as outputs are compared only where check_n is given.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  onnxsim==0.8.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxsim import simplify


def build(kind, first, second, weigh):
    """Reduce (1, channels, rows, columns) over columns, then channels, and weigh a map by the result."""
    names = {"axis3": [3], "axis1": [1]}
    nodes = [
        helper.make_node(kind, ["features", "axis3"], ["middle"], keepdims=first),
        helper.make_node(kind, ["middle", "axis1"], ["weights"], keepdims=second),
    ]
    if weigh:
        nodes.append(helper.make_node("Mul", ["map", "weights"], ["result"]))
    else:
        nodes[-1].output[0] = "result"
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3, 5, 5])]
    if weigh:
        inputs.append(helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 5, 5]))
    rank = 3 if weigh else 2 + first + second
    outputs = [helper.make_tensor_value_info("result", TensorProto.FLOAT, [None] * rank)]
    constants = [numpy_helper.from_array(np.array(axes, np.int64), name) for name, axes in names.items()]
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {wanted.name: inputs[wanted.name] for wanted in session.get_inputs()})[0]


rng = np.random.default_rng(0)
inputs = {"features": rng.random((1, 3, 5, 5), np.float32), "map": np.ones((1, 5, 5), np.float32)}
functions = {"ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceMax": np.max}
for kind, function in functions.items():
    for first, second in ((1, 1), (0, 0), (1, 0), (0, 1)):
        model = build(kind, first, second, False)
        true = function(function(inputs["features"], 3, keepdims=bool(first)), 1, keepdims=bool(second))
        simple, checked = simplify(model)
        own, found = run(model), run(simple)
        print(f"{kind}, keepdims {first} and {second}: {own.shape}, simplified {found.shape}; checked: {checked}")
        assert np.allclose(own, true, atol=1e-5) and checked, "this has changed"
        if first == second:
            assert found.shape == true.shape and np.allclose(found, true, atol=1e-5), "this has changed"
        else:
            rank = 2 if second == 0 else 4
            assert found.ndim == rank != true.ndim, "this has changed: shapes are kept"

model = build("ReduceMean", 1, 0, True)
rows = inputs["features"].mean((1, 3))[0]
own, found = run(model)[0], run(simplify(model)[0])[0]
print("means of rows:", rows.round(3), "first column of the weighed map:", own[:, 0].round(3))
print("simplified: first column:", found[:, 0].round(3), "first row:", found[0].round(3))
assert np.allclose(own, rows[:, None] * inputs["map"][0]), "this has changed"
assert np.allclose(found, rows[None] * inputs["map"][0]) and not np.allclose(found, own), "this has changed"
PY
echo "still so"
