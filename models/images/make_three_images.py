#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes three_images.onnx: three inputs of 1x3x224x224 float32 (602,112 bytes each), of which a few pixels are looked
at. What an inference of it takes is the way of its inputs, which ./dev bench measures.

    models/images/make_three_images.py
"""

import pathlib

import onnx
from onnx import TensorProto, helper

SHAPE = [1, 3, 224, 224]


def main():
    nodes = []
    for name in "abc":
        nodes.append(
            helper.make_node("MaxPool", [name], [f"{name}_few"], name=f"pool_{name}", kernel_shape=[1, 1], strides=[112, 112])
        )
    nodes.append(helper.make_node("Add", ["a_few", "b_few"], ["ab"], name="add_ab"))
    nodes.append(helper.make_node("Add", ["ab", "c_few"], ["y"], name="add_abc"))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "abc"]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 2, 2])]
    graph = helper.make_graph(nodes, "three_images", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, pathlib.Path(__file__).with_name("three_images.onnx"))


if __name__ == "__main__":
    main()
