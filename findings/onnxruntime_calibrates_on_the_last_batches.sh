#!/usr/bin/env bash
# onnxruntime 1.32.0 with onnx 1.23.2 and numpy 2.4.6, 2026-12-01: CalibMaxIntermediateOutputs, which is to save
# memory, calibrates on what is left over at the end: one batch of 101 here.
#
# Guess: quantize_static with CalibMaxIntermediateOutputs=10 finds the ranges that it finds without, as documented
# ("This will produce the same result as all computing with None, but is more memory efficient"). Seen: at each tenth
# batch what was collected is cleared before its range is taken. Of 101 batches the last one alone counts, of 109 the
# last nine, and with 100 there is an error that no data was collected. Larger values of all other batches are cut off:
# a quantised layer is off by 0.8 of its greatest output and more, where it was off by a hundredth. Nothing is said.
# CalibMovingAverageConstant, "effective only when" CalibMovingAverage is True, has no effect then either: the plain
# mean of all batches is taken for each constant. (MinMaxCalibrater.collect_data in quantization/calibrate.py)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

rng = np.random.default_rng(0)
weights = rng.normal(size=(16, 4)).astype(np.float32)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["values", "weights"], ["result"])],
    "network",
    [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["rows", 16])],
    [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["rows", 4])],
    [numpy_helper.from_array(weights, "weights")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "model.onnx")
# Batches of growing and falling size, as those of a folder sorted by class may be: the last ones are small.
batches = [(size * rng.uniform(-1, 1, (8, 16))).astype(np.float32) for size in np.linspace(4, 1, 109)]


class Reader(CalibrationDataReader):
    def __init__(self, count):
        self.left = iter(batches[:count])

    def get_next(self):
        batch = next(self.left, None)
        return None if batch is None else {"values": batch}


def quantise(count, **settings):
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8}
    quantize_static("model.onnx", "quantised.onnx", Reader(count), extra_options=settings, **kinds)
    scale = [
        float(numpy_helper.to_array(each))
        for each in onnx.load("quantised.onnx").graph.initializer
        if each.name == "values_scale"
    ][0]
    session = onnxruntime.InferenceSession("quantised.onnx", providers=["CPUExecutionProvider"])
    every = np.concatenate(batches[:count])
    true = every @ weights
    error = np.abs(session.run(None, {"values": every})[0] - true).max() / np.abs(true).max()
    return 255 * scale, error


def width(chosen):
    return float(max(batch.max() for batch in chosen) - min(batch.min() for batch in chosen))


for count, left in ((101, 1), (109, 9)):
    whole, error = quantise(count)
    saving, worse = quantise(count, CalibMaxIntermediateOutputs=10)
    print(f"{count} batches: width {whole:.3f}, of all by hand {width(batches[:count]):.3f}, error {error:.3f}")
    last = width(batches[count - left : count])
    print(f"  by ten: width {saving:.3f}, of the last {left} by hand {last:.3f}, error {worse:.3f}")
    assert abs(whole - width(batches[:count])) < 1e-3 and error < 0.02, "this has changed"
    assert abs(saving - last) < 1e-3 and worse > 0.2, "this has changed"

try:
    quantise(100, CalibMaxIntermediateOutputs=10)
except ValueError as error:
    print("100 batches by ten:", error)
else:
    raise AssertionError("this has changed: whole tens are counted")

mean = float(np.mean([batch.max() for batch in batches]) - np.mean([batch.min() for batch in batches]))
widths = [quantise(109, CalibMovingAverage=True, CalibMovingAverageConstant=each)[0] for each in (0.01, 0.5, 1.0)]
print("moving average: widths", [round(each, 3) for each in widths], f"for 0.01, 0.5 and 1; plain mean {mean:.3f}")
assert all(abs(each - mean) < 1e-3 for each in widths), "this has changed: the constant counts"
PY
echo "still so"
