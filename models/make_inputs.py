#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes random inputs for an ONNX model, one NAME.npy each:

    models/make_inputs.py MODEL.onnx FOLDER [--seed N]

Floats are normally distributed. Integers are what their name says: *mask ones and then zeros, segment* zeros and then
ones, others below 30,000, which any vocabulary has.
"""

import argparse
import pathlib

import numpy as np
import onnx


def values(random, name, kind, shape):
    if kind == np.float32:
        return random.standard_normal(shape, np.float32)
    last = np.arange(shape[-1])
    if name.endswith("mask"):
        return np.broadcast_to(last < shape[-1] * 3 // 4, shape).astype(kind)
    if name.startswith("segment"):
        return np.broadcast_to(last >= shape[-1] // 2, shape).astype(kind)
    return random.integers(0, 30000, shape).astype(kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(arguments.seed)
    for tensor in onnx.load(arguments.model, load_external_data=False).graph.input:
        kind = onnx.mapping.TENSOR_TYPE_TO_NP_TYPE[tensor.type.tensor_type.elem_type]
        shape = [d.dim_value for d in tensor.type.tensor_type.shape.dim]
        np.save(arguments.folder / f"{tensor.name}.npy", values(random, tensor.name, kind, shape))


if __name__ == "__main__":
    main()
