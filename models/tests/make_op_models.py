#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small ONNX models of the compiler's tests.

    models/tests/make_op_models.py [FOLDER, default test/compiler/data]
    node models/reference/make_reference.mjs --cases FOLDER

FOLDER/<case>/ holds model.onnx, an input_<i>.npy for every input and case.json; the second command
adds output_<i>.npy, as ONNX Runtime computes them. FOLDER/refused/ holds models that the compiler
must refuse. Everything is seeded: running it again changes no byte.
"""

import json
import pathlib
import sys
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]


def node(op, inputs, outputs="y", **attributes):
    """A node; names of inputs and outputs are separated by spaces."""
    names = outputs.split()
    name = f"{op.lower()}_{names[0]}"
    return helper.make_node(op, inputs.split(), names, name=name, **attributes)


def values(random, shape):
    return random.standard_normal(shape).astype(np.float32)


def make_model(
    nodes, inputs, outputs, constants, opset, ir, constants_as_inputs=False, shape=None
):
    """`shape` of the outputs, where ONNX's shape inference cannot tell."""

    def info(name, array):
        kind = onnx.mapping.NP_TYPE_TO_TENSOR_TYPE[array.dtype]
        return helper.make_tensor_value_info(name, kind, array.shape)

    listed = [info(k, v) for k, v in inputs.items()]
    if constants_as_inputs:
        listed += [info(k, v) for k, v in constants.items()]
    graph = helper.make_graph(
        nodes,
        "case",
        listed,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="make_op_models.py",
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir,
    )
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model


class Cases:
    def __init__(self, folder):
        self.folder = folder
        self.names = set()

    def add(self, name, nodes, inputs, constants=None, outputs="y", opset=13, ir=8, **more):
        """inputs and constants: {name: shape or array}. The seed comes from the case's name."""
        assert name not in self.names, name
        self.names.add(name)
        random = np.random.default_rng(zlib.crc32(name.encode()))

        def filled(table):
            return {
                k: v if isinstance(v, np.ndarray) else values(random, v)
                for k, v in (table or {}).items()
            }

        inputs, constants = filled(inputs), filled(constants)
        model = make_model(nodes, inputs, outputs.split(), constants, opset, ir, **more)
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / "model.onnx")
        description = {"inputs": {}, "outputs": {}}
        for i, (key, array) in enumerate(inputs.items()):
            np.save(folder / f"input_{i}.npy", array)
            description["inputs"][key] = f"input_{i}.npy"
        for i, key in enumerate(outputs.split()):
            description["outputs"][key] = f"output_{i}.npy"
        (folder / "case.json").write_text(json.dumps(description) + "\n")


def conv(cases):
    def one(name, x, w, bias=True, opset=13, **attributes):
        constants = {"w": w} | ({"b": [w[0]]} if bias else {})
        cases.add(f"conv_{name}", [node("Conv", "x w b" if bias else "x w", **attributes)],
                  {"x": x}, constants, opset=opset)

    one("plain", [1, 3, 6, 6], [4, 3, 3, 3])
    one("no_bias", [1, 3, 6, 6], [4, 3, 3, 3], bias=False)
    one("opset11", [1, 3, 6, 6], [4, 3, 3, 3], opset=11, pads=[1, 1, 1, 1])
    one("stride2", [1, 2, 7, 7], [3, 2, 3, 3], strides=[2, 2])
    one("strides_differ", [1, 2, 7, 6], [3, 2, 2, 3], strides=[2, 1])
    one("pads", [1, 2, 5, 5], [3, 2, 3, 3], pads=[1, 1, 1, 1])
    one("pads_asymmetric", [1, 2, 5, 5], [3, 2, 3, 3], pads=[0, 1, 2, 1])
    one("same_upper", [1, 2, 6, 6], [3, 2, 3, 3], auto_pad="SAME_UPPER", strides=[2, 2])
    one("same_lower", [1, 2, 6, 6], [3, 2, 3, 3], auto_pad="SAME_LOWER", strides=[2, 2])
    one("same_upper_even_kernel", [1, 2, 5, 5], [3, 2, 2, 4], auto_pad="SAME_UPPER")
    one("valid", [1, 2, 6, 6], [3, 2, 3, 3], auto_pad="VALID")
    one("dilation2", [1, 2, 8, 8], [3, 2, 3, 3], dilations=[2, 2], pads=[2, 2, 2, 2])
    one("groups2", [1, 4, 5, 5], [6, 2, 3, 3], group=2)
    one("depthwise", [1, 4, 5, 5], [4, 1, 3, 3], group=4, pads=[1, 1, 1, 1])
    one("1x1", [1, 5, 4, 4], [3, 5, 1, 1])
    one("not_square", [1, 2, 5, 9], [3, 2, 2, 5], kernel_shape=[2, 5])
    one("batch2", [2, 3, 5, 5], [4, 3, 3, 3])
    one("1d", [2, 3, 9], [4, 3, 3], pads=[1, 1])
    cases.add("conv_weights_are_an_input", [node("Conv", "x w")],
              {"x": [1, 2, 4, 4], "w": [3, 2, 3, 3]})


def activations(cases):
    cases.add("relu", [node("Relu", "x")], {"x": [2, 3, 4]})
    cases.add("relu_scalar", [node("Relu", "x")], {"x": []})
    cases.add("softmax_last", [node("Softmax", "x", axis=-1)], {"x": [2, 3, 5]})
    cases.add("softmax_axis1", [node("Softmax", "x", axis=1)], {"x": [2, 3, 5]})
    cases.add("softmax_default_opset13", [node("Softmax", "x")], {"x": [2, 3, 5]})
    cases.add("softmax_default_opset11", [node("Softmax", "x")], {"x": [2, 3, 5]}, opset=11)
    cases.add("softmax_axis0_opset11", [node("Softmax", "x", axis=0)], {"x": [2, 3, 2]}, opset=11)
    cases.add("softmax_axis2_opset11", [node("Softmax", "x", axis=-2)], {"x": [2, 3, 2, 2]}, opset=11)
    large = np.array([[1000, 1001, -1000, 999]], np.float32)
    cases.add("softmax_large_values", [node("Softmax", "x", axis=-1)], {"x": large})


def pooling(cases):
    def one(name, x, opset=13, **attributes):
        cases.add(f"maxpool_{name}", [node("MaxPool", "x", **attributes)], {"x": x}, opset=opset)

    one("2x2", [1, 2, 6, 6], kernel_shape=[2, 2], strides=[2, 2])
    one("3x3_stride2_pad1", [1, 2, 7, 7], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    one("ceil", [1, 2, 6, 6], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    one("ceil_opset11", [2, 1, 5, 8], opset=11, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)
    one("pads_asymmetric", [1, 2, 5, 5], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0])
    one("same_upper", [1, 2, 5, 6], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    one("not_square", [1, 2, 4, 9], kernel_shape=[1, 3], strides=[1, 3])
    one("1d", [1, 2, 9], kernel_shape=[3], strides=[2])
    negative = -np.abs(values(np.random.default_rng(7), [1, 1, 4, 4])) - 1
    one("padding_never_wins", negative, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])


def shapes(cases):
    for axis in (0, 1, 2, -1):
        cases.add(f"flatten_axis{axis}".replace("-", "m"), [node("Flatten", "x", axis=axis)],
                  {"x": [2, 3, 4]})
    for name, target in {"plain": [3, 8], "zero_and_minus1": [0, -1], "minus1": [-1]}.items():
        cases.add(f"reshape_{name}", [node("Reshape", "x s")], {"x": [2, 3, 4]},
                  {"s": np.array(target, np.int64)})
    constant = node("Constant", "", "s", value=numpy_helper.from_array(np.array([4, -1], np.int64)))
    cases.add("reshape_constant_node", [constant, node("Reshape", "x s", "r"), node("Relu", "r")],
              {"x": [2, 3, 4]})
    integers = node("Constant", "", "s", value_ints=[0, 2, -1])
    cases.add("reshape_constant_ints", [integers, node("Reshape", "x s")], {"x": [3, 8]},
              shape=[3, 2, 4])
    cases.add("reshape_of_weights", [node("Reshape", "w s", "m"), node("MatMul", "x m")],
              {"x": [2, 6]}, {"w": [2, 3, 4], "s": np.array([6, 4], np.int64)})


def products(cases):
    def gemm(name, a, b, c=None, c_is_input=False, **attributes):
        constants = {"b": b} | ({"c": c} if c is not None and not c_is_input else {})
        inputs = {"a": a} | ({"c": c} if c_is_input else {})
        cases.add(f"gemm_{name}", [node("Gemm", "a b" if c is None else "a b c", **attributes)],
                  inputs, constants)

    gemm("plain", [3, 4], [4, 5], [5])
    gemm("trans_a", [4, 3], [4, 5], [5], transA=1)
    gemm("trans_b", [3, 4], [5, 4], [5], transB=1)
    gemm("alpha_beta", [3, 4], [5, 4], [5], transB=1, alpha=0.5, beta=2.0)
    gemm("c_row", [3, 4], [4, 5], [1, 5])
    gemm("c_column", [3, 4], [4, 5], [3, 1])
    gemm("c_full", [3, 4], [4, 5], [3, 5], beta=-1.5)
    gemm("c_scalar", [3, 4], [4, 5], [])
    gemm("c_is_input", [3, 4], [4, 5], [5], c_is_input=True, alpha=2.0, beta=0.25)
    gemm("no_c", [3, 4], [4, 5])
    gemm("beta_zero", [3, 4], [4, 5], [5], beta=0.0)
    cases.add("gemm_two_inputs", [node("Gemm", "a b", alpha=3.0, transA=1, transB=1)],
              {"a": [4, 3], "b": [5, 4]})

    def matmul(name, a, b, constant=False):
        cases.add(f"matmul_{name}", [node("MatMul", "a b")],
                  {"a": a} if constant else {"a": a, "b": b}, {"b": b} if constant else {})

    matmul("plain", [3, 4], [4, 5])
    matmul("weights", [3, 4], [4, 5], constant=True)
    matmul("batched", [2, 3, 4], [2, 4, 5])
    matmul("broadcast_2d_3d", [3, 4], [2, 4, 5])
    matmul("broadcast_3d_2d_weights", [2, 3, 4], [4, 5], constant=True)
    matmul("broadcast_batch", [2, 1, 3, 4], [3, 4, 2])
    matmul("vector_left", [4], [4, 5])
    matmul("vector_right", [3, 4], [4])
    matmul("vector_both", [4], [4])
    cases.add("matmul_bias_relu",
              [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Relu", "a")],
              {"x": [2, 6]}, {"w": [6, 3], "b": [3]})
    cases.add("matmul_bias_first",
              [node("MatMul", "x w", "m"), node("Add", "b m")], {"x": [2, 3, 6]}, {"w": [6, 3], "b": [3]})


def additions(cases):
    def one(name, a, b, constant=False):
        cases.add(f"add_{name}", [node("Add", "a b")],
                  {"a": a} if constant else {"a": a, "b": b}, {"b": b} if constant else {})

    one("same_shape", [2, 3, 4], [2, 3, 4])
    one("constant", [2, 3, 4], [4], constant=True)
    one("constant_larger", [3, 1], [2, 1, 4], constant=True)
    one("broadcast_both", [2, 1, 4], [3, 1])
    one("first_smaller", [4], [2, 3, 4])
    one("scalar", [2, 3], [])
    cases.add("add_same_tensor_twice", [node("Add", "x x")], {"x": [2, 3]})


def graphs(cases):
    cases.add(
        "chain_conv_relu_maxpool",
        [
            node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]), node("Relu", "c1", "r1"),
            node("MaxPool", "r1", "p1", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", "p1 w2", "c2"), node("Relu", "c2", "r2"),
            node("MaxPool", "r2", "p2", kernel_shape=[2, 2]),
            node("Flatten", "p2", "f"), node("Gemm", "f w3 b3", "g", transB=1), node("Softmax", "g"),
        ],
        {"x": [1, 2, 8, 8]},
        {"w1": [4, 2, 3, 3], "b1": [4], "w2": [3, 4, 2, 2], "w3": [5, 12], "b3": [5]},
    )
    cases.add(
        "residual",
        [
            node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]), node("Relu", "c1", "r1"),
            node("Conv", "r1 w2 b2", "c2", pads=[1, 1, 1, 1]), node("Add", "c2 r1", "s"),
            node("Relu", "s"),
        ],
        {"x": [1, 3, 5, 5]},
        {"w1": [4, 3, 3, 3], "b1": [4], "w2": [4, 4, 3, 3], "b2": [4]},
    )
    cases.add("two_outputs", [node("Relu", "x", "y1"), node("MatMul", "y1 w", "y2")],
              {"x": [2, 3]}, {"w": [3, 4]}, outputs="y1 y2")
    cases.add("two_outputs_of_one_source", [node("Conv", "x w", "c"), node("Relu", "c", "y1"),
                                            node("Add", "c c", "y2")],
              {"x": [1, 2, 4, 4]}, {"w": [2, 2, 3, 3]}, outputs="y1 y2")
    cases.add("output_used_inside", [node("Gemm", "x w", "y1"), node("Relu", "y1", "y2"),
                                     node("Add", "y1 y2", "y3")],
              {"x": [2, 3]}, {"w": [3, 4]}, outputs="y1 y3")
    cases.add("unused_input", [node("Relu", "x")], {"x": [2, 3], "unused": [4]})
    cases.add("unused_input_dead_node", [node("Relu", "x"), node("Relu", "spare", "dead")],
              {"x": [2, 3], "spare": [4]})
    cases.add("initializers_as_inputs", [node("Gemm", "x w b")],
              {"x": [2, 3]}, {"w": [3, 4], "b": [4]}, opset=11, ir=3, constants_as_inputs=True)
    cases.add("input_reshaped_to_output", [node("Reshape", "x s")], {"x": [2, 3]},
              {"s": np.array([6], np.int64)})
    cases.add("constants_folded", [node("Add", "p q", "b"), node("Relu", "b", "c"), node("Add", "x c")],
              {"x": [2, 3]}, {"p": [3], "q": [2, 1]})
    cases.add("constant_output", [node("Relu", "x", "y1"), node("Add", "p q", "y2")],
              {"x": [2]}, {"p": [3], "q": [3]}, outputs="y1 y2")
    cases.add("names_with_colons_and_slashes", [node("Relu", "scope/input:0", "scope/output:0")],
              {"scope/input:0": [3]}, outputs="scope/output:0")
    nodes, constants, last = [], {}, "x"
    for i in range(24):
        constants[f"w{i}"] = [4, 4]
        nodes += [node("MatMul", f"{last} w{i}", f"m{i}"), node("Relu", f"m{i}", f"r{i}"),
                  node("Add", f"m{i} r{i}", f"a{i}"), node("Softmax", f"a{i}", f"s{i}")]
        last = f"s{i}"
    cases.add("long_chain", nodes + [node("Relu", last)], {"x": [2, 4]}, constants)


def refused(folder):
    """Models that are valid ONNX, mostly, and must be refused with a clear message."""
    folder.mkdir(parents=True, exist_ok=True)

    def save(name, nodes, inputs, constants=(), output=("y", TensorProto.FLOAT, None), opset=13, domain=None):
        graph = helper.make_graph(
            nodes, name, [helper.make_tensor_value_info(*i) for i in inputs],
            [helper.make_tensor_value_info(*output)],
            [numpy_helper.from_array(v, k) for k, v in dict(constants).items()])
        imports = [helper.make_opsetid("", opset)]
        if domain:
            imports.append(helper.make_opsetid(domain, 1))
        model = helper.make_model(graph, opset_imports=imports, ir_version=8,
                                  producer_name="make_op_models.py")
        onnx.save(model, folder / f"{name}.onnx")

    f = TensorProto.FLOAT
    save("symbolic_batch", [node("Relu", "x")], [("x", f, ["N", 3])], output=("y", f, ["N", 3]))
    save("unknown_dimension", [node("Relu", "x")], [("x", f, [1, None, 3])], output=("y", f, [1, None, 3]))
    save("unsupported_operators",
         [node("Erf", "x", "a"), node("LSTMish", "a", "b", domain="my.domain"), node("Erf", "b", "c"),
          node("Relu", "c", "d"), node("Not", "e", "y")],
         [("x", f, [2, 3]), ("e", TensorProto.BOOL, [2])], output=("y", TensorProto.BOOL, [2]),
         domain="my.domain")
    save("wrong_channels", [node("Conv", "x w")], [("x", f, [1, 2, 4, 4])],
         {"w": np.zeros([3, 5, 3, 3], np.float32)}, output=("y", f, [1, 3, 2, 2]))
    save("missing_tensor", [node("Add", "x nowhere")], [("x", f, [2])], output=("y", f, [2]))
    save("double_precision", [node("Relu", "x")], [("x", TensorProto.DOUBLE, [2])],
         output=("y", TensorProto.DOUBLE, [2]))
    save("conv3d", [node("Conv", "x w")], [("x", f, [1, 1, 3, 3, 3])],
         {"w": np.zeros([1, 1, 2, 2, 2], np.float32)}, output=("y", f, [1, 1, 2, 2, 2]))
    save("reshape_to_an_input", [node("Reshape", "x s")], [("x", f, [2, 3]), ("s", TensorProto.INT64, [1])],
         output=("y", f, [6]))
    save("maxpool_indices", [node("MaxPool", "x", "y i", kernel_shape=[2, 2]), node("Relu", "y", "z")],
         [("x", f, [1, 1, 4, 4])], output=("i", TensorProto.INT64, [1, 1, 3, 3]))
    save("maxpool_dilated", [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])],
         [("x", f, [1, 1, 4, 4])], output=("y", f, [1, 1, 2, 2]))
    save("opset_7", [node("Relu", "x")], [("x", f, [2])], output=("y", f, [2]), opset=7)
    save("wrong_output_shape", [node("Relu", "x")], [("x", f, [2])], output=("y", f, [3]))


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "test/compiler/data"
    cases = Cases(folder)
    for family in (conv, activations, pooling, shapes, products, additions, graphs):
        family(cases)
    refused(folder / "refused")
    print(f"{len(cases.names)} cases in {folder}")


if __name__ == "__main__":
    main()
