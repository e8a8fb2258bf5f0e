#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes ResNet-50 (v1.5, 25.6 M weights) with seeded weights, as exporters write it: every convolution followed by its
batch normalisation, whose statistics are those of seeded images.

    models/resnet/make_resnet50.py [--batch 1] [-o resnet50.onnx]

Input image: float32 [batch, 3, 224, 224]. Output logits: float32 [batch, 1000].
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from onnx_writer import FLOAT, ImageWriter  # noqa: E402

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))  # blocks, inner channels, stride of the first


def bottleneck(w, x, channels, inner, stride):
    y = w.relu(w.conv_norm(x, channels, inner, 1))
    y = w.relu(w.conv_norm(y, inner, inner, 3, stride))
    y = w.conv_norm(y, inner, 4 * inner, 1, scales=(0.1, 0.3))
    if stride != 1 or channels != 4 * inner:
        x = w.conv_norm(x, channels, 4 * inner, 1, stride)
    return w.relu(w.add(y, x))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("-o", "--output", default="resnet50.onnx")
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error("--batch must be 1 or more")
    w = ImageWriter(seed=20210302, side=224)
    x = w.relu(w.conv_norm("image", 3, 64, 7, 2))
    x = w.max_pool(x)
    channels = 64
    for blocks, inner, stride in STAGES:
        for block in range(blocks):
            x = bottleneck(w, x, channels, inner, stride if block == 0 else 1)
            channels = 4 * inner
    x = w.node("Flatten", w.node("GlobalAveragePool", x))
    w.node("Gemm", x, w.normal([1000, channels], 1 / np.sqrt(channels)), w.normal([1000], 0.01), transB=1, output="logits")
    w.save(arguments.output, "resnet50", {"image": (FLOAT, [arguments.batch, 3, 224, 224])},
           {"logits": (FLOAT, [arguments.batch, 1000])}, opset=13)


if __name__ == "__main__":
    main()
