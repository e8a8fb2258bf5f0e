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
    return np.asarray(random.standard_normal(shape), np.float32)


def make_model(
    nodes, inputs, outputs, constants, opset, ir, constants_as_inputs=False, shape=None,
    kind=TensorProto.FLOAT,
):
    """`shape` of the outputs, where ONNX's shape inference cannot tell; `kind` of their elements."""

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
        [helper.make_tensor_value_info(name, kind, shape) for name in outputs],
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

    def add(self, name, nodes, inputs, constants=None, outputs="y", opset=13, ir=8, external=False, **more):
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
        if external:
            (folder / "weights.bin").unlink(missing_ok=True)
            onnx.save(model, str(folder / "model.onnx"), save_as_external_data=True, location="weights.bin",
                      size_threshold=60)
        else:
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
    one("shared_row", [2, 3], [1, 3])
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


def functions(cases):
    """Of one element: over several shapes, and for all numbers that they take."""
    plain = {"Abs": {}, "Ceil": {}, "Elu": {"alpha": 0.7}, "Erf": {}, "Exp": {}, "Floor": {},
             "HardSigmoid": {"alpha": 0.3, "beta": 0.4}, "HardSwish": {}, "LeakyRelu": {"alpha": 0.2},
             "Neg": {}, "Sigmoid": {}, "Softplus": {}, "Tanh": {}, "Identity": {}, "Relu": {}}
    for op, attributes in plain.items():
        for name, shape in {"vector": [37], "matrix": [5, 40], "images": [2, 3, 9, 11]}.items():
            cases.add(f"{op.lower()}_{name}", [node(op, "x", **attributes)], {"x": shape}, opset=14)
    for op in ("Log", "Sqrt", "Reciprocal"):
        for name, shape in {"vector": [37], "images": [2, 3, 9, 11]}.items():
            positive = np.abs(values(np.random.default_rng(3), shape)) + np.float32(0.1)
            cases.add(f"{op.lower()}_{name}", [node(op, "x")], {"x": positive})
    cases.add("hardsigmoid_defaults", [node("HardSigmoid", "x")], {"x": [4, 9]})
    cases.add("leakyrelu_default", [node("LeakyRelu", "x")], {"x": [4, 9]})
    cases.add("elu_default", [node("Elu", "x")], {"x": [4, 9]})
    scalar = lambda v: np.array(v, np.float32)
    cases.add("clip_both", [node("Clip", "x l h")], {"x": [5, 7]}, {"l": scalar(-0.5), "h": scalar(0.8)})
    cases.add("clip_low", [node("Clip", "x l")], {"x": [5, 7]}, {"l": scalar(-0.5)})
    cases.add("clip_high", [helper.make_node("Clip", ["x", "", "h"], ["y"], name="clip")],
              {"x": [5, 7]}, {"h": scalar(0.25)})
    cases.add("clip_nothing", [node("Clip", "x")], {"x": [5, 7]})
    cases.add("clip_relu6", [node("Clip", "x l h")], {"x": [1, 4, 6, 6]}, {"l": scalar(0), "h": scalar(6)})
    cases.add("dropout", [node("Dropout", "x")], {"x": [3, 5]})
    cases.add("dropout_opset11", [node("Dropout", "x", ratio=0.3)], {"x": [3, 5]}, opset=11)


def arithmetic(cases):
    for op in ("Sub", "Mul", "Div", "Max", "Min", "Pow"):
        name = op.lower()

        def operand(seed, shape):
            array = values(np.random.default_rng(seed), shape)
            return np.asarray(np.abs(array) + np.float32(0.2)) if op in ("Div", "Pow") else array

        for label, (a, b) in {
            "same": ([2, 3, 4], [2, 3, 4]), "row": ([2, 3, 4], [4]), "column": ([2, 3, 4], [3, 1]),
            "both": ([2, 1, 4], [3, 1]), "first_smaller": ([4], [2, 3, 4]), "scalar": ([2, 3], []),
            "scalar_first": ([], [2, 3]),
        }.items():
            cases.add(f"{name}_{label}", [node(op, "a b")], {"a": operand(1, a), "b": operand(2, b)})
        for label, (a, b) in {"constant_scalar": ([3, 5], []), "constant_row": ([3, 5], [5]),
                              "constant_one": ([3, 5], [1, 1])}.items():
            cases.add(f"{name}_{label}", [node(op, "a b")], {"a": operand(3, a)}, {"b": operand(4, b)})
            cases.add(f"{name}_{label}_first", [node(op, "b a")], {"a": operand(5, a)}, {"b": operand(6, b)})
    for exponent in (0.5, 1.0, 2.0, 3.0):
        base = np.abs(values(np.random.default_rng(8), [4, 5]))
        cases.add(f"pow_{exponent}".replace(".", "_"), [node("Pow", "x e")], {"x": base},
                  {"e": np.array(exponent, np.float32)})
    cases.add("pow_integer_exponent", [node("Pow", "x e")], {"x": [4, 5]}, {"e": np.array(2, np.int64)})
    for op in ("Max", "Min", "Sum", "Mean"):
        cases.add(f"{op.lower()}_of_three", [node(op, "a b c")], {"a": [2, 3], "b": [3], "c": [2, 1]})
        cases.add(f"{op.lower()}_of_one", [node(op, "a")], {"a": [2, 3]})
    for kind in (np.int32, np.int64):
        random = np.random.default_rng(9)
        a, b = (random.integers(1, 50, [3, 4]).astype(kind) for _ in range(2))
        for op in ("Add", "Sub", "Mul", "Div"):
            cases.add(f"{op.lower()}_{kind.__name__}", [node(op, "a b")], {"a": a, "b": b},
                      kind=TensorProto.INT32 if kind is np.int32 else TensorProto.INT64)


def logic(cases):
    a = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    b = np.array([[1, 3, 2], [4, 4, 9]], np.float32)
    for op in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        cases.add(f"{op.lower()}_floats", [node(op, "a b")], {"a": a, "b": b}, kind=TensorProto.BOOL)
        cases.add(f"{op.lower()}_integers", [node(op, "a b")],
                  {"a": a.astype(np.int64), "b": b[0].astype(np.int64)}, kind=TensorProto.BOOL)
    p, q = a > 2, b > 3
    for op in ("And", "Or"):
        cases.add(op.lower(), [node(op, "a b")], {"a": p, "b": q}, kind=TensorProto.BOOL)
        cases.add(f"{op.lower()}_repeated", [node(op, "a b")], {"a": p, "b": q[:, :1]}, kind=TensorProto.BOOL)
    cases.add("not", [node("Not", "a")], {"a": p}, kind=TensorProto.BOOL)
    cases.add("where", [node("Where", "c a b")], {"c": p, "a": [2, 3], "b": [2, 3]})
    cases.add("where_repeated", [node("Where", "c a b")], {"c": p, "a": [3], "b": []})
    cases.add("where_constant", [node("Where", "c a b")], {"c": p, "b": [2, 3]},
              {"a": np.array(-10000, np.float32)})
    kinds = {"float": (np.float32, TensorProto.FLOAT), "int32": (np.int32, TensorProto.INT32),
             "int64": (np.int64, TensorProto.INT64), "bool": (np.bool_, TensorProto.BOOL),
             "uint8": (np.uint8, TensorProto.UINT8), "double": (np.float64, TensorProto.DOUBLE)}
    for source, (from_type, _) in kinds.items():
        for target, (_, to) in kinds.items():
            if source != target:
                cases.add(f"cast_{source}_{target}", [node("Cast", "x", to=to)],
                          {"x": np.array([[0, 1, 2], [3, 100, 7]]).astype(from_type)}, kind=to)


def movement(cases):
    for name, perm in {"2d": [1, 0], "heads": [0, 2, 1, 3], "last": [0, 1, 3, 2], "nhwc": [0, 2, 3, 1],
                       "all": [3, 2, 1, 0], "3d": [2, 0, 1], "same": [0, 1, 2]}.items():
        shape = [2, 3, 4, 5][: len(perm)]
        cases.add(f"transpose_{name}", [node("Transpose", "x", perm=perm)], {"x": shape})
    cases.add("transpose_default", [node("Transpose", "x")], {"x": [2, 3, 4]})
    cases.add("transpose_int64", [node("Transpose", "x")], {"x": np.arange(12, dtype=np.int64).reshape(3, 4)},
              kind=TensorProto.INT64)

    def ints(*numbers):
        return np.array(numbers, np.int64)

    for name, (starts, ends, axes, steps) in {
        "first": ([0], [1], [1], [1]), "middle": ([1], [3], [0], [1]), "negative": ([-2], [-1], [2], [1]),
        "to_the_end": ([1], [2**62], [0], [1]), "steps": ([0], [5], [0], [2]), "two": ([1, 0], [4, 2], [0, 2], [1, 1]),
        "backwards": ([-1], [-(2**62)], [0], [-1]), "backwards_steps": ([4], [0], [0], [-2]),
    }.items():
        cases.add(f"slice_{name}", [node("Slice", "x s e a t")], {"x": [5, 3, 4]},
                  {"s": ints(*starts), "e": ints(*ends), "a": ints(*axes), "t": ints(*steps)})
    cases.add("slice_no_axes", [node("Slice", "x s e")], {"x": [5, 3]}, {"s": ints(1, 0), "e": ints(4, 2)})
    for axis in (0, 1, 2, -1):
        cases.add(f"concat_axis{axis}".replace("-", "m"), [node("Concat", "a b", axis=axis)],
                  {"a": [2, 3, 4], "b": [2, 3, 4]})
    cases.add("concat_three", [node("Concat", "a b c", axis=1)], {"a": [2, 1, 4], "b": [2, 3, 4]}, {"c": [2, 2, 4]})
    cases.add("concat_one", [node("Concat", "a", axis=0)], {"a": [2, 3]})
    cases.add("concat_of_itself", [node("Concat", "a a", axis=0)], {"a": [2, 3]})
    cases.add("split_equal", [node("Split", "x", "p q", axis=1), node("Add", "p q")], {"x": [2, 4, 3]})
    cases.add("split_sizes", [node("Split", "x n", "p q", axis=0), node("Concat", "q p", axis=0)], {"x": [5, 3]},
              {"n": ints(1, 4)})
    cases.add("split_opset11", [node("Split", "x", "p q", axis=-1, split=[1, 3]), node("MatMul", "p q", "m"),
                                node("Relu", "m")], {"x": [3, 1, 4]}, opset=11)
    cases.add("split_outputs", [node("Split", "x", "y z", axis=0)], {"x": [4, 3]}, outputs="y z")
    cases.add("expand", [node("Expand", "x s")], {"x": [3, 1]}, {"s": ints(2, 3, 4)})
    cases.add("expand_ones", [node("Expand", "x s")], {"x": [3, 4]}, {"s": ints(1, 1)})
    cases.add("tile", [node("Tile", "x r")], {"x": [2, 3]}, {"r": ints(2, 3)})
    cases.add("tile_once", [node("Tile", "x r")], {"x": [2, 3, 2]}, {"r": ints(1, 2, 1)})
    cases.add("pad_zero", [node("Pad", "x p")], {"x": [2, 3]}, {"p": ints(1, 0, 0, 2)})
    cases.add("pad_value", [node("Pad", "x p v")], {"x": [1, 2, 3, 3]},
              {"p": ints(0, 0, 1, 1, 0, 0, 2, 1), "v": np.array(-1.5, np.float32)})
    cases.add("pad_negative", [node("Pad", "x p")], {"x": [4, 5]}, {"p": ints(-1, 1, 0, -2)})
    for op, name in (("Squeeze", "squeeze"), ("Unsqueeze", "unsqueeze")):
        shape = [2, 1, 3, 1] if op == "Squeeze" else [2, 3]
        cases.add(name, [node(op, "x a")], {"x": shape}, {"a": ints(1, -1)})
        cases.add(f"{name}_opset11", [node(op, "x", axes=[1, 3])], {"x": shape}, opset=11)
    cases.add("squeeze_all", [node("Squeeze", "x")], {"x": [2, 1, 3, 1]})
    for axis in (0, 1, 2, -1):
        indices = np.array([[0, 2], [1, -1]], np.int64)
        cases.add(f"gather_axis{axis}".replace("-", "m"), [node("Gather", "x i", axis=axis)],
                  {"x": [3, 4, 5], "i": indices})
    cases.add("gather_embedding", [node("Gather", "t i")], {"i": np.array([[3, 0, 7, 7]], np.int32)}, {"t": [8, 6]})
    cases.add("gather_scalar", [node("Gather", "x i", axis=1)], {"x": [3, 4]}, {"i": np.array(2, np.int64)})
    cases.add("gather_int64", [node("Gather", "x i")], {"x": np.arange(6, dtype=np.int64), "i": ints(5, 0)},
              kind=TensorProto.INT64)
    for mode in ("DCR", "CRD"):
        cases.add(f"depthtospace_{mode.lower()}", [node("DepthToSpace", "x", blocksize=2, mode=mode)], {"x": [1, 8, 2, 3]})
    cases.add("spacetodepth", [node("SpaceToDepth", "x", blocksize=2)], {"x": [1, 2, 4, 6]})
    for name, attributes in {"asymmetric": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
                             "half_pixel": {}}.items():
        cases.add(f"resize_nearest_{name}", [helper.make_node("Resize", ["x", "", "s"], ["y"], name="r", **attributes)],
                  {"x": [1, 2, 3, 4]}, {"s": np.array([1, 1, 2, 3], np.float32)})


def computed_shapes(cases):
    """What exporters write where shapes were dynamic."""
    def ints(*numbers):
        return np.array(numbers, np.int64)

    cases.add("shape_gather_concat_reshape", [
        node("Shape", "x", "s"), node("Gather", "s zero", "batch"), node("Gather", "s one", "rows"),
        node("Unsqueeze", "batch a", "b1"), node("Unsqueeze", "rows a", "r1"),
        node("Concat", "b1 r1 two minus", "t", axis=0), node("Reshape", "x t")],
        {"x": [2, 3, 8]}, {"zero": np.array(0, np.int64), "one": np.array(1, np.int64), "a": ints(0), "two": ints(2),
                           "minus": ints(-1)}, shape=[2, 3, 2, 4])
    cases.add("shape_slice_reshape", [
        node("Shape", "x", "s"), node("Slice", "s from to", "h"), node("Concat", "h rest", "t", axis=0),
        node("Reshape", "x t")],
        {"x": [2, 3, 4, 5]}, {"from": ints(0), "to": ints(2), "rest": ints(-1)}, shape=[2, 3, 20])
    cases.add("shape_arithmetic", [
        node("Shape", "x", "s"), node("Gather", "s one", "c"), node("Div", "c two", "half"), node("Unsqueeze", "half a", "h"),
        node("Concat", "minus h", "t", axis=0), node("Reshape", "x t")],
        {"x": [3, 8]}, {"one": np.array(1, np.int64), "two": np.array(2, np.int64), "a": ints(0), "minus": ints(-1)},
        shape=[6, 4])
    value = numpy_helper.from_array(np.array([2.5], np.float32))
    cases.add("constantofshape_expand", [
        node("Shape", "x", "s"), node("ConstantOfShape", "s", "c", value=value), node("Mul", "x c")], {"x": [2, 3]})
    ones = numpy_helper.from_array(np.array([1], np.int64))
    cases.add("expand_where_equal", [
        node("ConstantOfShape", "rank", "ones", value=ones), node("Mul", "ones minus", "negative"),
        node("Equal", "target negative", "same"), node("Where", "same ones target", "t"), node("Expand", "x t")],
        {"x": [1, 3]}, {"rank": ints(2), "minus": ints(-1), "target": ints(4, -1)}, shape=[4, 3])
    cases.add("range_positions", [node("Range", "zero n one", "p"), node("Gather", "t p", "e"), node("Add", "x e")],
              {"x": [4, 6]}, {"zero": np.array(0, np.int64), "n": np.array(4, np.int64), "one": np.array(1, np.int64),
                              "t": [9, 6]}, shape=[4, 6])
    cases.add("size_scale", [node("Size", "x", "n"), node("Cast", "n", "f", to=TensorProto.FLOAT), node("Div", "x f")],
              {"x": [3, 4]})


def reductions(cases):
    for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
        name = op.lower()
        for label, axes in {"last": [-1], "first": [0], "middle": [1], "two": [1, 2], "outer_two": [0, 2]}.items():
            for keep in (0, 1):
                if op == "ReduceSum":
                    nodes = [node(op, "x a", keepdims=keep)]
                    constants = {"a": np.array(axes, np.int64)}
                else:
                    nodes = [node(op, "x", axes=axes, keepdims=keep)]
                    constants = {}
                cases.add(f"{name}_{label}_keep{keep}", nodes, {"x": [3, 4, 21]}, constants)
        cases.add(f"{name}_all", [node(op, "x")], {"x": [3, 4, 5]})
    cases.add("reducesum_opset11", [node("ReduceSum", "x", axes=[1])], {"x": [3, 4]}, opset=11)
    for name, shape in {"row": [4, 24], "sequence": [2, 5, 32], "odd": [3, 7]}.items():
        cases.add(f"layernormalization_{name}", [node("LayerNormalization", "x g b", axis=-1, epsilon=1e-6)],
                  {"x": shape}, {"g": [shape[-1]], "b": [shape[-1]]}, opset=17)
        cases.add(f"layernorm_written_out_{name}", written_out_norm(), {"x": shape},
                  {"two": np.array(2, np.float32), "e": np.array(1e-5, np.float32), "g": [shape[-1]], "b": [shape[-1]]})
        cases.add(f"gelu_written_out_{name}", [
            node("Div", "x r", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"), node("Mul", "x f", "m"),
            node("Mul", "m half")], {"x": shape},
            {"r": np.array(np.sqrt(2), np.float32), "one": np.array(1, np.float32), "half": np.array(0.5, np.float32)})
    cases.add("layernormalization_no_bias", [node("LayerNormalization", "x g")], {"x": [3, 16]}, {"g": [16]}, opset=17)
    for axis in (0, 1, 2, 3):
        cases.add(f"softmax_4d_axis{axis}", [node("Softmax", "x", axis=axis)], {"x": [2, 3, 4, 17]})


def written_out_norm():
    return [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "d"), node("Pow", "d two", "s"),
            node("ReduceMean", "s", "v", axes=[-1]), node("Add", "v e", "w"), node("Sqrt", "w", "r"),
            node("Div", "d r", "n"), node("Mul", "n g", "k"), node("Add", "k b")]


def more_images(cases):
    for name, attributes in {
        "2x2": dict(kernel_shape=[2, 2], strides=[2, 2]), "3x3_pad1": dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        "include_pad": dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1),
        "same_upper": dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        "not_square": dict(kernel_shape=[1, 3], strides=[1, 2]),
    }.items():
        cases.add(f"averagepool_{name}", [node("AveragePool", "x", **attributes)], {"x": [1, 3, 8, 8]})
    cases.add("averagepool_1d", [node("AveragePool", "x", kernel_shape=[3], strides=[2])], {"x": [2, 3, 9]})
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        for name, shape in {"images": [2, 5, 7, 7], "1d": [2, 3, 9], "odd": [1, 9, 3, 5]}.items():
            cases.add(f"{op.lower()}_{name}", [node(op, "x")], {"x": shape})

    def statistics(channels, seed):
        random = np.random.default_rng(seed)
        return {"g": values(random, [channels]), "h": values(random, [channels]), "m": values(random, [channels]),
                "v": np.abs(values(random, [channels])) + np.float32(0.5)}

    norm = lambda x, y="y": node("BatchNormalization", f"{x} g h m v", y, epsilon=1e-3)
    for name, shape in {"images": [2, 3, 5, 5], "2d": [4, 3], "1d": [2, 3, 7]}.items():
        cases.add(f"batchnormalization_{name}", [norm("x")], {"x": shape}, statistics(3, 11))
    cases.add("conv_batchnorm", [node("Conv", "x w", "c"), norm("c")], {"x": [1, 3, 6, 6]},
              {"w": [4, 3, 3, 3]} | statistics(4, 12))
    cases.add("conv_bias_batchnorm_relu", [node("Conv", "x w b", "c"), norm("c", "n"), node("Relu", "n")],
              {"x": [1, 3, 6, 6]}, {"w": [4, 3, 3, 3], "b": [4]} | statistics(4, 13))
    cases.add("depthwise_batchnorm_clip", [
        node("Conv", "x w", "c", group=4, pads=[1, 1, 1, 1]), norm("c", "n"), node("Clip", "n low high")],
        {"x": [1, 4, 6, 6]}, {"w": [4, 1, 3, 3], "low": np.array(0, np.float32), "high": np.array(6, np.float32)}
        | statistics(4, 14))
    cases.add("batchnorm_conv", [norm("x", "n"), node("Conv", "n w")], {"x": [1, 4, 6, 6]},
              {"w": [2, 4, 3, 3]} | statistics(4, 15))
    cases.add("conv_sigmoid_gate", [node("Conv", "x w", "c"), node("Sigmoid", "c", "s"), node("Mul", "c s")],
              {"x": [1, 3, 5, 5]}, {"w": [4, 3, 3, 3]})
    cases.add("matmul_scale_bias", [node("MatMul", "x w", "m"), node("Mul", "m k", "s"), node("Add", "s b")],
              {"x": [3, 4]}, {"w": [4, 5], "k": [5], "b": [5]})
    cases.add("matmul_divided", [node("MatMul", "x w", "m"), node("Div", "m k")], {"x": [3, 4]},
              {"w": [4, 5], "k": np.array(8, np.float32)})
    for function in ("Tanh", "Sigmoid", "LeakyRelu", "Erf"):
        cases.add(f"gemm_{function.lower()}", [node("Gemm", "x w b", "g"), node(function, "g")], {"x": [3, 4]},
                  {"w": [4, 5], "b": [5]})


def attention(cases):
    """Four ways in which exporters write it."""
    heads, width, length = 2, 4, 6
    hidden = heads * width

    def ints(*numbers):
        return np.array(numbers, np.int64)

    def project(name):
        return [node("MatMul", f"x w{name}", f"m{name}"), node("Add", f"m{name} b{name}", f"p{name}"),
                node("Reshape", f"p{name} split", f"r{name}")]

    constants = {f"w{n}": [hidden, hidden] for n in "qkv"} | {f"b{n}": [hidden] for n in "qkv"}
    constants |= {"split": ints(1, length, heads, width), "joined": ints(1, length, hidden),
                  "scale": np.array(np.sqrt(width), np.float32)}
    mask = np.where(np.arange(length) < 4, 0, -10000).astype(np.float32).reshape(1, 1, 1, length)
    front = project("q") + project("k") + project("v") + [
        node("Transpose", "rq", "q", perm=[0, 2, 1, 3]), node("Transpose", "rk", "k", perm=[0, 2, 3, 1]),
        node("Transpose", "rv", "v", perm=[0, 2, 1, 3])]
    back = [node("MatMul", "a v", "c"), node("Transpose", "c", "t", perm=[0, 2, 1, 3]), node("Reshape", "t joined")]
    inputs = {"x": [1, length, hidden]}
    cases.add("attention_masked", front + [node("MatMul", "q k", "s"), node("Div", "s scale", "d"),
              node("Add", "d mask", "e"), node("Softmax", "e", "a", axis=-1)] + back, inputs | {"mask": mask}, constants)
    cases.add("attention_mask_first", front + [node("MatMul", "q k", "s"), node("Div", "s scale", "d"),
              node("Add", "mask d", "e"), node("Softmax", "e", "a", axis=-1)] + back, inputs | {"mask": mask}, constants)
    cases.add("attention_plain", front + [node("MatMul", "q k", "s"), node("Div", "s scale", "d"),
              node("Softmax", "d", "a", axis=-1)] + back, inputs, constants)
    cases.add("attention_scaled_query", front + [node("Div", "q scale", "u"), node("MatMul", "u k", "s"),
              node("Softmax", "s", "a", axis=-1)] + back, inputs, constants)
    cases.add("attention_mask_from_integers", [
        node("Unsqueeze", "tokens ax", "u"), node("Cast", "u", "f", to=TensorProto.FLOAT), node("Sub", "one f", "n"),
        node("Mul", "n low", "mask")] + front + [node("MatMul", "q k", "s"), node("Div", "s scale", "d"),
        node("Add", "d mask", "e"), node("Softmax", "e", "a", axis=-1)] + back,
        inputs | {"tokens": np.array([[1, 1, 1, 1, 0, 0]], np.int64)},
        constants | {"ax": ints(1, 2), "one": np.array(1, np.float32), "low": np.array(-10000, np.float32)})
    cases.add("transposed_product_read_twice", [
        node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "s"), node("Relu", "t", "r"),
        node("MatMul", "s x", "u"), node("MatMul", "u r")], {"x": [2, 3, 4]})

    # Only what becomes of the first token is read behind, as by a classifier; and of two tokens in the middle.
    layer = front + [node("MatMul", "q k", "s"), node("Div", "s scale", "d"), node("Add", "d mask", "e"),
                     node("Softmax", "e", "a", axis=-1)] + back[:-1] + [
        node("Reshape", "t joined", "j"), node("MatMul", "j wo", "o"), node("Add", "o bo", "ob"), node("Add", "ob x", "z"),
        node("MatMul", "z wi", "i"), node("Sigmoid", "i", "g"), node("MatMul", "g wf", "f"), node("Add", "f z", "n")]
    rows = constants | {"wo": [hidden, hidden], "bo": [hidden], "wi": [hidden, 12], "wf": [12, hidden], "wc": [hidden, 3]}
    cases.add("only_first_token_read", layer + [node("Gather", "n first", "c0", axis=1), node("MatMul", "c0 wc")],
              inputs | {"mask": mask}, rows | {"first": np.array(0, np.int64)})
    cases.add("only_last_token_read", layer + [node("Gather", "n last", "c0", axis=1), node("MatMul", "c0 wc")],
              inputs | {"mask": mask}, rows | {"last": np.array([-1], np.int64)})
    cases.add("only_two_tokens_read", layer + [
        node("Slice", "n begin end axis", "c0"), node("MatMul", "c0 wc")], inputs | {"mask": mask},
        rows | {"begin": ints(2), "end": ints(4), "axis": ints(1)})
    cases.add("different_tokens_read", layer + [
        node("Gather", "n first", "c0", axis=1), node("Gather", "n second", "c1", axis=1), node("Add", "c0 c1")],
        inputs | {"mask": mask}, rows | {"first": np.array(0, np.int64), "second": np.array(1, np.int64)})


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
         [node("Sinh", "x", "a"), node("LSTMish", "a", "b", domain="my.domain"), node("Sinh", "b", "c"),
          node("Relu", "c", "d"), node("Xor", "e e", "y")],
         [("x", f, [2, 3]), ("e", TensorProto.BOOL, [2])], output=("y", TensorProto.BOOL, [2]),
         domain="my.domain")
    for name, location in {"external_up": "../model.onnx", "external_absolute": "/etc/hostname",
                           "external_missing": "nowhere.bin"}.items():
        save(name, [node("MatMul", "x w")], [("x", f, [2, 3])], {"w": np.zeros([3, 4], np.float32)},
             output=("y", f, [2, 4]))
        model = onnx.load(folder / f"{name}.onnx")
        tensor = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
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
    for name, attribute in {"short_initializer": False, "short_constant": True}.items():
        save(name, [node("Reshape", "x s")], [("x", f, [2, 3])], {"s": np.array([3, 2], np.int64)},
             output=("y", f, [3, 2]))
        model = onnx.load(folder / f"{name}.onnx")
        model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:13]
        if attribute:
            value = model.graph.initializer.pop()
            model.graph.node.insert(0, helper.make_node("Constant", [], ["s"], name="constant_s", value=value))
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    save("upsample", [node("Upsample", "x s")], [("x", f, [1, 1, 2, 2])], {"s": np.array([1, 1, 2, 2], np.float32)},
         output=("y", f, [1, 1, 4, 4]))
    save("wrong_output_shape", [node("Relu", "x")], [("x", f, [2])], output=("y", f, [3]))


def outside(cases):
    """Weights in a file beside the model."""
    cases.add("external_weights", [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Reshape", "a s")],
              {"x": [2, 3]}, {"w": [3, 4], "b": [4], "s": np.array([4, 2], np.int64)}, external=True)


def large_indices(folder):
    """A shape that is the last element of more than 1 MiB of int64 in numbers.bin, which the test writes."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 1 << 18
    last = numpy_helper.from_array(np.array([count - 1], np.int64), "last")
    numbers = TensorProto(name="numbers", data_type=TensorProto.INT64, dims=[count],
                          data_location=TensorProto.EXTERNAL)
    numbers.external_data.add(key="location", value="numbers.bin")
    graph = helper.make_graph(
        [node("Gather", "numbers last", "s"), node("Expand", "x s")], "large_indices",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])], [numbers, last])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
                              producer_name="make_op_models.py")
    (folder / "large_indices.onnx").write_bytes(model.SerializeToString())


def recurrent(cases):
    """LSTM and GRU: [steps, batch, inputs] = [5, 2, 3], 4 hidden."""
    def add(name, op, gates, states, directions=1, initial=False, bias=True, **attributes):
        rows = gates * 4
        constants = {"w": [directions, rows, 3], "r": [directions, rows, 4]}
        inputs = {"x": [5, 2, 3]}
        if bias:
            constants["b"] = [directions, 2 * rows]
        if initial:
            inputs |= {name: [directions, 2, 4] for name in "hc"[:states]}
        listed = ["x", "w", "r", "b" if bias else "", "", *(["h", "c"][:states] if initial else [])]
        outputs = ["y", "yh", "yc"][: states + 1]
        n = helper.make_node(op, [*listed], outputs, name=name, hidden_size=4, **attributes)
        cases.add(name, [n], inputs, constants, outputs=" ".join(outputs), opset=14)

    for op, gates, states in (("LSTM", 4, 2), ("GRU", 3, 1)):
        low = op.lower()
        add(f"{low}_forward", op, gates, states)
        add(f"{low}_reverse", op, gates, states, direction="reverse")
        add(f"{low}_both_ways", op, gates, states, directions=2, direction="bidirectional")
        add(f"{low}_initial", op, gates, states, initial=True)
        add(f"{low}_initial_both_ways", op, gates, states, directions=2, initial=True, direction="bidirectional")
        add(f"{low}_without_bias", op, gates, states, bias=False)
    add("gru_linear_before_reset", "GRU", 3, 1, linear_before_reset=1)
    add("gru_linear_before_reset_initial", "GRU", 3, 1, initial=True, linear_before_reset=1)
    add("lstm_activations_named", "LSTM", 4, 2, activations=["Sigmoid", "Tanh", "Tanh"])


def upwards(cases):
    """Transposed convolutions and resizing."""
    def up(name, x, w, bias=False, **attributes):
        constants = {"w": w}
        if bias:
            constants["b"] = [w[1] * attributes.get("group", 1)]
        cases.add(f"convtranspose_{name}", [node("ConvTranspose", "x w b" if bias else "x w", **attributes)],
                  {"x": x}, constants)

    up("plain", [1, 3, 4, 5], [3, 2, 3, 3])
    up("bias", [2, 3, 4, 5], [3, 2, 3, 3], bias=True)
    up("stride", [1, 3, 4, 5], [3, 2, 3, 3], strides=[2, 2])
    up("stride_uneven", [1, 3, 4, 5], [3, 2, 2, 3], strides=[2, 3])
    up("pads", [1, 3, 4, 5], [3, 2, 3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    up("pads_uneven", [1, 3, 4, 5], [3, 2, 3, 3], pads=[1, 0, 0, 2], strides=[2, 2])
    up("output_padding", [1, 3, 4, 5], [3, 2, 3, 3], pads=[1, 1, 1, 1], strides=[2, 2], output_padding=[1, 1])
    up("dilated", [1, 3, 4, 5], [3, 2, 3, 3], dilations=[2, 2])
    up("groups", [1, 4, 4, 5], [4, 3, 3, 3], group=2, bias=True)
    up("depthwise", [1, 4, 4, 5], [4, 1, 2, 2], group=4, strides=[2, 2])
    up("same_upper", [1, 3, 4, 5], [3, 2, 3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    up("output_shape", [1, 3, 4, 5], [3, 2, 3, 3], strides=[2, 2], output_shape=[8, 10])
    up("one_dimension", [1, 3, 7], [3, 2, 4], strides=[2], pads=[1, 1])
    up("one_place", [1, 3, 4, 5], [3, 6, 1, 1])
    up("unet", [1, 8, 6, 6], [8, 4, 2, 2], strides=[2, 2], bias=True)

    for mode in ("linear", "nearest"):
        for place in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            for name, size in {"up": [7, 9], "down": [2, 3], "rows": [7, 5], "columns": [4, 8]}.items():
                cases.add(f"resize_{mode}_{place}_{name}",
                          [helper.make_node("Resize", ["x", "", "", "s"], ["y"], name="r", mode=mode,
                                            coordinate_transformation_mode=place)],
                          {"x": [2, 3, 4, 5]}, {"s": np.array([2, 3, *size], np.int64)})
    for rounding in ("floor", "ceil", "round_prefer_ceil"):
        cases.add(f"resize_nearest_asymmetric_{rounding}",
                  [helper.make_node("Resize", ["x", "", "", "s"], ["y"], name="r", mode="nearest",
                                    coordinate_transformation_mode="asymmetric", nearest_mode=rounding)],
                  {"x": [1, 2, 4, 5]}, {"s": np.array([1, 2, 7, 3], np.int64)})
    cases.add("resize_linear_scales", [helper.make_node("Resize", ["x", "", "s"], ["y"], name="r", mode="linear")],
              {"x": [1, 2, 4, 5]}, {"s": np.array([1, 1, 1.6, 2.5], np.float32)})


def on_the_host(cases):
    """What no engine has, alone and between what engines do."""
    i64 = TensorProto.INT64

    def k(n):
        return np.array([n], np.int64)

    for op in ("ArgMax", "ArgMin"):
        low = op.lower()
        for axis in (0, 1, -1):
            for keep in (0, 1):
                cases.add(f"host_{low}_axis{axis}_keep{keep}".replace("-", "m"),
                          [node(op, "x", axis=axis, keepdims=keep)], {"x": [3, 4, 5]}, kind=i64)
        cases.add(f"host_{low}_ties_last", [node(op, "x", axis=1, select_last_index=1)],
                  {"x": np.array([[1, 2, 2], [3, 3, 0]], np.float32)}, kind=i64)
        cases.add(f"host_{low}_ties_first", [node(op, "x", axis=1)],
                  {"x": np.array([[1, 2, 2], [3, 3, 0]], np.float32)}, kind=i64)
    cases.add("host_argmax_int32", [node("ArgMax", "x")], {"x": np.arange(12, dtype=np.int32).reshape(3, 4)}, kind=i64)
    cases.add("host_argmax_behind_products", [node("MatMul", "x w", "m"), node("Relu", "m", "r"), node("ArgMax", "r", axis=1)],
              {"x": [4, 6]}, {"w": [6, 5]}, kind=i64)
    for axis in (0, 1, -1):
        for largest in (0, 1):
            cases.add(f"host_topk_axis{axis}_largest{largest}".replace("-", "m"),
                      [node("TopK", "x k", "y i", axis=axis, largest=largest), node("Cast", "i", "j", to=TensorProto.FLOAT)],
                      {"x": [3, 4, 5]}, {"k": k(2)}, outputs="y j")
    cases.add("host_topk_values", [node("TopK", "x k", "y i")], {"x": [3, 7]}, {"k": k(3)})
    cases.add("host_topk_indices", [node("TopK", "x k", "v y")], {"x": [3, 7]}, {"k": k(3)}, kind=i64)
    cases.add("host_topk_all", [node("TopK", "x k", "y i")], {"x": [3, 7]}, {"k": k(7)})
    cases.add("host_topk_between_products",
              [node("MatMul", "x w", "m"), node("TopK", "m k", "t i"), node("MatMul", "t v", "y")],
              {"x": [4, 6]}, {"w": [6, 8], "k": k(3), "v": [3, 5]})
    cases.add("host_topk_and_its_input",
              [node("MatMul", "x w", "m"), node("TopK", "m k", "t i"), node("ReduceSum", "t a", "s"), node("Add", "m s", "y")],
              {"x": [4, 6]}, {"w": [6, 8], "k": k(3), "a": k(1)})
    for name, more in {"plain": {}, "exclusive": {"exclusive": 1}, "reverse": {"reverse": 1},
                       "both": {"exclusive": 1, "reverse": 1}}.items():
        cases.add(f"host_cumsum_{name}", [node("CumSum", "x a", **more)], {"x": [3, 4, 2]}, {"a": np.array(1, np.int64)})
    for op in ("Sin", "Cos", "Tan", "Round", "Sign"):
        cases.add(f"host_{op.lower()}", [node(op, "x")], {"x": np.linspace(-3.5, 3.5, 15, dtype=np.float32).reshape(3, 5)})
    cases.add("host_of_a_constant", [node("Sin", "c", "s"), node("Mul", "x s")], {"x": [3, 4]}, {"c": [3, 4]})
    cases.add("host_chain", [node("Sin", "x", "a"), node("Cos", "a", "b"), node("Add", "a b", "c"), node("Sign", "c")],
              {"x": [3, 4]})
    cases.add("host_two_levels", [node("Relu", "x", "a"), node("Sin", "a", "b"), node("Exp", "b", "c"),
                                  node("Cos", "c", "d"), node("Add", "d a")], {"x": [3, 4]})
    cases.add("host_sends_an_input_on", [node("Sin", "x", "y"), node("Identity", "x", "z")], {"x": [3, 4]}, outputs="y z")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "test/compiler/data"
    cases = Cases(folder)
    for family in (conv, activations, pooling, shapes, products, additions, graphs, functions, arithmetic, logic,
                   movement, computed_shapes, reductions, more_images, attention, outside, recurrent, upwards,
                   on_the_host):
        family(cases)
    refused(folder / "refused")
    large_indices(folder / "outside")
    print(f"{len(cases.names)} cases in {folder}")


if __name__ == "__main__":
    main()
