#!/usr/bin/env bash
# openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 1.26.4, CPython 3.11, Linux x86-64; seen on 2026-12-01.
# Behaviour: on OpenVINO's CPU, in float32, Relu, Clip, Max, Min and HardSigmoid of ONNX give ordinary numbers for NaN
#   (the bound, or zero); onnxruntime gives NaN for all of them, as ONNX's reference and PyTorch do. Sigmoid and LeakyRelu
#   keep NaN in both.
# Likely guess: a NaN in the weights or pixels of a network shows as NaN in its outputs, in whichever runtime. In
#   OpenVINO the first ReLU hides it, and the outputs are plausible numbers.
# Output seen (operator, onnxruntime, OpenVINO, each for NaN, 2 and -2):
# > Clip         nan, 1.0, -1.0     -1.0, 1.0, -1.0
# > Relu         nan, 2.0, 0.0      0.0, 2.0, 0.0
# > Max          nan, 2.0, -1.0     -1.0, 2.0, -1.0
# > Min          nan, 1.0, -2.0     1.0, 1.0, -2.0
# > HardSigmoid  nan, 0.9, 0.1      1.0, 0.9, 0.1
# > Sigmoid      nan, 0.9, 0.1      nan, 0.9, 0.1
. "$(dirname "$0")/common.sh"
check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==1.26.4 <<'PYTHON'
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper

NUMBERS = np.array([np.nan, 2.0, -2.0] * 8, np.float32)
core = openvino.Core()


def graph(operator, bounds):
    """A model of one operator, with its bounds as constants."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(NUMBERS)]) for name in ("x", "y")]
    constants = [helper.make_tensor(f"bound{i}", TensorProto.FLOAT, [], [bound]) for i, bound in enumerate(bounds)]
    node = helper.make_node(operator, ["x", *(constant.name for constant in constants)], ["y"])
    whole = helper.make_graph([node], operator, ends[:1], ends[1:], constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()


def shown(values):
    return ", ".join(str(round(float(value), 1) + 0.0) for value in values[:3])


for operator, bounds in {"Clip": (-1, 1), "Relu": (), "Max": (-1,), "Min": (1,), "HardSigmoid": (), "Sigmoid": ()}.items():
    model = graph(operator, bounds)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    print(f"{operator:12} {shown(session.run(None, {'x': NUMBERS})[0]):18} {shown(compiled(NUMBERS)[0])}")
PYTHON
