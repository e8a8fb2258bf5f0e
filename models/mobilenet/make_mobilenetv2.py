#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes MobileNetV2 (1.0, 224) with seeded weights, as exporters write it.

    models/mobilenet/make_mobilenetv2.py [--batch 1] [-o mobilenetv2.onnx]

Input image: float32 [batch, 3, 224, 224]. Output logits: float32 [batch, 1000].
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from onnx_writer import FLOAT, Writer  # noqa: E402

# Expansion, channels, blocks, stride of the first.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("-o", "--output", default="mobilenetv2.onnx")
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error("--batch must be 1 or more")
    w = Writer(seed=20210303)
    zero, six = w.scalar(0), w.scalar(6)

    def relu6(x):
        return w.node("Clip", x, zero, six)

    x = relu6(w.conv_norm("image", 3, 32, 3, 2))
    channels = 32
    for expansion, outputs, blocks, first_stride in STAGES:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            inner = channels * expansion
            y = relu6(w.conv_norm(x, channels, inner, 1)) if expansion != 1 else x
            y = relu6(w.conv_norm(y, inner, inner, 3, stride, groups=inner))
            y = w.conv_norm(y, inner, outputs, 1)
            x = w.node("Add", x, y) if stride == 1 and channels == outputs else y
            channels = outputs
    x = relu6(w.conv_norm(x, channels, 1280, 1))
    x = w.node("Flatten", w.node("GlobalAveragePool", x))
    w.node("Gemm", x, w.normal([1000, 1280], 1 / np.sqrt(1280)), w.normal([1000], 0.01), transB=1, output="logits")
    w.save(arguments.output, "mobilenetv2", {"image": (FLOAT, [arguments.batch, 3, 224, 224])},
           {"logits": (FLOAT, [arguments.batch, 1000])}, opset=13)


if __name__ == "__main__":
    main()
