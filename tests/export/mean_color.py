"""A file of the runtime that needs no network: it calls the mean color of an image its logits."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from focalnet_d2.data.class_map import class_map
from focalnet_d2.export.description import KEY, Description


def write_mean_color(path: Path) -> None:
    """Writes it as ONNX, with the classes red, green and blue whose ids are 7, 8 and 9."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, "H", "W"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["images", "axes"], ["logits"], keepdims=0)
    graph = helper.make_graph([node], "mean", [images], [logits], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    about = Description("Mean", "classes", {}, class_map([7, 8, 9], ["red", "green", "blue"]))
    helper.set_model_props(model, {KEY: about.to_json()})
    onnx.save(model, path)
