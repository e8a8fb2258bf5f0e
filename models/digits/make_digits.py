#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the digits network and writes digits.onnx, images.npy and labels.npy beside this file.

Needs numpy, onnx and scikit-learn (only for its data set); README.md says how to get them. The same
seed gives the same split and the same order of training; the weights may differ in the last bits
between BLAS builds.
"""

import argparse
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 20200601
HELD_OUT_PER_CLASS = 36  # 360 of 1797 images
EPOCHS = 60
BATCH = 32
LEARNING_RATE = 3e-3


# Layers. Images are NCHW. Each forward returns what its backward needs.


def columns(x):
    """Every 3x3 neighbourhood of a zero-padded image: [N, H, W, C * 9]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(x.shape[0], x.shape[2], x.shape[3], -1)


def conv(x, weight, bias):
    cols = columns(x)
    y = cols @ weight.reshape(weight.shape[0], -1).T + bias
    return y.transpose(0, 3, 1, 2), cols


def conv_backward(grad, weight, cols):
    channels = grad.shape[1]
    flat = grad.transpose(0, 2, 3, 1).reshape(-1, channels)
    grad_weight = (flat.T @ cols.reshape(len(flat), -1)).reshape(weight.shape)
    # The gradient of a convolution is the convolution with the kernel turned round and transposed.
    turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    grad_x, _ = conv(grad, turned, 0)
    return grad_x, grad_weight, flat.sum(axis=0)


def relu(x):
    return np.maximum(x, 0), x > 0


def pool(x):
    n, c, h, w = x.shape
    cells = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    cells = cells.reshape(n, c, h // 2, w // 2, 4)
    return cells.max(axis=-1), cells.argmax(axis=-1)


def pool_backward(grad, chosen):
    n, c, h, w = grad.shape
    cells = (np.arange(4) == chosen[..., None]) * grad[..., None]
    return cells.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h * 2, w * 2)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# The network: conv 8 - pool - conv 16 - pool - dense 32 - dense 10. 25 thousand multiply-adds an
# image.


def initial_parameters(random):
    def he(*shape):
        return random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)

    def zeros(n):
        return np.zeros(n, np.float32)

    return {
        "conv1.weight": he(8, 1, 3, 3),
        "conv1.bias": zeros(8),
        "conv2.weight": he(16, 8, 3, 3),
        "conv2.bias": zeros(16),
        "dense1.weight": he(32, 64),
        "dense1.bias": zeros(32),
        "dense2.weight": he(10, 32).T.copy(),
        "dense2.bias": zeros(10),
    }


def forward(p, x):
    saved = {}
    y, saved["cols1"] = conv(x, p["conv1.weight"], p["conv1.bias"])
    y, saved["relu1"] = relu(y)
    y, saved["pool1"] = pool(y)
    y, saved["cols2"] = conv(y, p["conv2.weight"], p["conv2.bias"])
    y, saved["relu2"] = relu(y)
    y, saved["pool2"] = pool(y)
    saved["flat"] = y.reshape(len(y), -1)
    y, saved["relu3"] = relu(saved["flat"] @ p["dense1.weight"].T + p["dense1.bias"])
    saved["hidden"] = y
    return softmax(y @ p["dense2.weight"] + p["dense2.bias"]), saved


def gradients(p, x, labels):
    """Of the mean cross-entropy."""
    probabilities, saved = forward(p, x)
    g = {}
    grad = (probabilities - np.eye(10, dtype=np.float32)[labels]) / len(x)
    g["dense2.weight"] = saved["hidden"].T @ grad
    g["dense2.bias"] = grad.sum(axis=0)
    grad = (grad @ p["dense2.weight"].T) * saved["relu3"]
    g["dense1.weight"] = grad.T @ saved["flat"]
    g["dense1.bias"] = grad.sum(axis=0)
    grad = (grad @ p["dense1.weight"]).reshape(saved["pool2"].shape)
    grad = pool_backward(grad, saved["pool2"]) * saved["relu2"]
    grad, g["conv2.weight"], g["conv2.bias"] = conv_backward(
        grad, p["conv2.weight"], saved["cols2"]
    )
    grad = pool_backward(grad, saved["pool1"]) * saved["relu1"]
    _, g["conv1.weight"], g["conv1.bias"] = conv_backward(grad, p["conv1.weight"], saved["cols1"])
    return g


class Adam:
    def __init__(self, parameters):
        self.mean = {k: np.zeros_like(v) for k, v in parameters.items()}
        self.variance = {k: np.zeros_like(v) for k, v in parameters.items()}
        self.step = 0

    def update(self, parameters, grads, rate):
        self.step += 1
        for name, grad in grads.items():
            self.mean[name] += 0.1 * (grad - self.mean[name])
            self.variance[name] += 0.001 * (grad * grad - self.variance[name])
            mean = self.mean[name] / (1 - 0.9**self.step)
            variance = self.variance[name] / (1 - 0.999**self.step)
            parameters[name] -= (rate * mean / (np.sqrt(variance) + 1e-8)).astype(np.float32)


def shifted(random, x):
    """Each image moved by at most one pixel in both directions, with zeros coming in."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    dy, dx = random.integers(0, 3, (2, len(x)))
    rows = dy[:, None, None] + np.arange(8)[None, :, None]
    cols = dx[:, None, None] + np.arange(8)[None, None, :]
    return padded[np.arange(len(x))[:, None, None], 0, rows, cols][:, None]


def train(random, x, labels):
    parameters = initial_parameters(random)
    adam = Adam(parameters)
    for epoch in range(EPOCHS):
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = random.permutation(len(x))
        for at in range(0, len(order), BATCH):
            batch = order[at : at + BATCH]
            # Every other batch as it is: the held-out images are not shifted.
            images = shifted(random, x[batch]) if at // BATCH % 2 else x[batch]
            adam.update(parameters, gradients(parameters, images, labels[batch]), rate)
    return parameters


def split(random, labels):
    """Indices to train on and to hold out, the same number of each digit held out."""
    held_out = np.concatenate(
        [
            random.permutation(np.flatnonzero(labels == digit))[:HELD_OUT_PER_CLASS]
            for digit in range(10)
        ]
    )
    held_out = random.permutation(held_out)
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def onnx_model(parameters):
    node = helper.make_node
    three = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    two = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", ["input:0", "conv1.weight", "conv1.bias"], ["conv1"], name="conv1", **three),
        node("Relu", ["conv1"], ["relu1"], name="relu1"),
        node("MaxPool", ["relu1"], ["pool1"], name="pool1", **two),
        node("Conv", ["pool1", "conv2.weight", "conv2.bias"], ["conv2"], name="conv2", **three),
        node("Relu", ["conv2"], ["relu2"], name="relu2"),
        node("MaxPool", ["relu2"], ["pool2"], name="pool2", **two),
        node("Flatten", ["pool2"], ["flat"], name="flatten", axis=1),
        node("Gemm", ["flat", "dense1.weight", "dense1.bias"], ["dense1"], name="dense1", transB=1),
        node("Relu", ["dense1"], ["relu3"], name="relu3"),
        node("MatMul", ["relu3", "dense2.weight"], ["dense2"], name="dense2"),
        node("Add", ["dense2", "dense2.bias"], ["logits"], name="dense2_bias"),
        node("Softmax", ["logits"], ["output:0"], name="softmax", axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input:0", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("output:0", TensorProto.FLOAT, [1, 10])],
        [
            numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k)
            for k, v in parameters.items()
        ],
    )
    model = helper.make_model(
        graph,
        producer_name="make_digits.py",
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    here = pathlib.Path(__file__).resolve().parent
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=pathlib.Path, default=here, help="folder of the files")
    output = arguments.parse_args().output

    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images / 16).astype(np.float32)[:, None]
    labels = data.target.astype(np.int64)

    random = np.random.default_rng(SEED)
    training, held_out = split(random, labels)
    parameters = train(random, images[training], labels[training])
    for name, which in (("training", training), ("held-out", held_out)):
        right = int((forward(parameters, images[which])[0].argmax(axis=1) == labels[which]).sum())
        print(f"{name}: {right} of {len(which)} correct, {100 * right / len(which):.2f} %")

    output.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx_model(parameters), output / "digits.onnx")
    np.save(output / "images.npy", images[held_out])
    np.save(output / "labels.npy", labels[held_out])


if __name__ == "__main__":
    main()
