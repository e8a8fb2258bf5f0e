#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes random inputs for an ONNX model, one NAME.npy each:

    models/make_inputs.py MODEL.onnx FOLDER [--seed N] [--count N]

Floats are normally distributed, images [N, 3, side, side] as photographs are (onnx_writer.py). Integers are what their
name says: *mask ones and then zeros, segment* zeros and then ones, *ids two sentences as BERT's tokenizer writes them
([CLS] ... [SEP] ... [SEP], zeros behind), others below 30,000, which any vocabulary has. With --count there are so many
sets of them, in FOLDER/0 and so on.
"""

import argparse
import pathlib

import numpy as np
import onnx

from onnx_writer import random_images

CLS, SEP = 101, 102  # of BERT's vocabulary


def values(random, name, kind, shape):
    if kind == np.float32 and len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3]:
        return random_images(random, shape[0], shape[2])
    if kind == np.float32:
        return random.standard_normal(shape, np.float32)
    last = np.arange(shape[-1])
    if name.endswith("mask"):
        return np.broadcast_to(last < shape[-1] * 3 // 4, shape).astype(kind)
    if name.startswith("segment"):
        return np.broadcast_to(last >= shape[-1] // 2, shape).astype(kind)
    ids = random.integers(1000, 30000, shape)
    if name.endswith("ids"):
        length = shape[-1] * 3 // 4  # of the mask
        ids[..., 0] = CLS
        ids[..., [shape[-1] // 2 - 1, length - 1]] = SEP
        ids[..., length:] = 0
    return ids.astype(kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int)
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    inputs = onnx.load(arguments.model, load_external_data=False).graph.input
    count = arguments.count
    for folder in [arguments.folder] if count is None else [arguments.folder / str(i) for i in range(count)]:
        folder.mkdir(parents=True, exist_ok=True)
        for tensor in inputs:
            kind = onnx.mapping.TENSOR_TYPE_TO_NP_TYPE[tensor.type.tensor_type.elem_type]
            shape = [d.dim_value for d in tensor.type.tensor_type.shape.dim]
            np.save(folder / f"{tensor.name}.npy", values(random, tensor.name, kind, shape))


if __name__ == "__main__":
    main()
