# SPDX-License-Identifier: Apache-2.0
"""What the scripts that write networks with seeded weights share."""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Collects nodes and constants; every function returns the name of the tensor that it makes."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants, self.names = [], [], 0

    def constant(self, array, name=None):
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def ints(self, *numbers):
        return self.constant(np.array(numbers, np.int64))

    def scalar(self, number):
        return self.constant(np.array(number, np.float32))

    def normal(self, shape, deviation, name=None):
        return self.constant(self.random.standard_normal(shape, np.float32) * np.float32(deviation), name)

    def node(self, op, *inputs, output=None, **attributes):
        self.names += 1
        output = output or f"{op.lower()}_{self.names}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"{op}_{self.names}", **attributes))
        return output

    def conv_norm(self, x, channels, outputs, kernel, stride=1, groups=1):
        """A convolution without bias and a batch normalisation, as trained networks have them."""
        fan_in = channels // groups * kernel * kernel
        weights = self.normal([outputs, channels // groups, kernel, kernel], np.sqrt(2 / fan_in))
        pad = kernel // 2
        y = self.node("Conv", x, weights, kernel_shape=[kernel, kernel], strides=[stride, stride], group=groups,
                      pads=[pad, pad, pad, pad], dilations=[1, 1])
        statistics = [
            self.random.uniform(0.6, 1.0, outputs), self.random.uniform(-0.1, 0.1, outputs),
            self.random.uniform(-0.1, 0.1, outputs), self.random.uniform(0.8, 1.2, outputs)]
        return self.node("BatchNormalization", y, *(self.constant(s.astype(np.float32)) for s in statistics),
                         epsilon=1e-5)

    def save(self, path, graph_name, inputs, outputs, opset):
        """inputs and outputs: {name: (TensorProto type, shape)}."""
        def infos(table):
            return [helper.make_tensor_value_info(k, kind, shape) for k, (kind, shape) in table.items()]

        graph = helper.make_graph(self.nodes, graph_name, infos(inputs), infos(outputs), self.constants)
        model = helper.make_model(graph, producer_name="neuron-rtd", ir_version=8,
                                  opset_imports=[helper.make_opsetid("", opset)])
        # A protobuf message ends at 2 GiB.
        is_large = sum(len(constant.raw_data) for constant in self.constants) > 2_000_000_000
        data = pathlib.Path(path).name + ".data"
        (pathlib.Path(path).parent / data).unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=is_large, location=data)


class ImageWriter(Writer):
    """Of networks on images, whose batch normalisation is that of a trained network: its statistics are those of what
    comes out of the convolution before it, for a few seeded images. With statistics that fit nothing, a deep network of
    random weights answers the same to every image, up to rounding."""

    IMAGES = 4

    def __init__(self, seed, side):
        super().__init__(seed)
        self.values = {"image": random_images(self.random, self.IMAGES, side).transpose(0, 2, 3, 1)}  # channels last

    def conv_norm(self, x, channels, outputs, kernel, stride=1, groups=1, scales=(0.6, 1.0)):
        """A convolution without bias and a batch normalisation with such scales; groups is 1 or channels."""
        fan_in = channels // groups * kernel * kernel
        weights = self.random.standard_normal([outputs, channels // groups, kernel, kernel], np.float32)
        weights *= np.float32(np.sqrt(2 / fan_in))
        pad = kernel // 2
        y = self.node("Conv", x, self.constant(weights), kernel_shape=[kernel, kernel], strides=[stride, stride], group=groups,
                      pads=[pad, pad, pad, pad], dilations=[1, 1])
        value = convolve(self.values[x], weights, stride, groups)
        mean, variance = value.mean(axis=(0, 1, 2)), value.var(axis=(0, 1, 2))
        scale, shift = self.random.uniform(*scales, outputs), self.random.uniform(-0.1, 0.1, outputs)
        normed = self.node("BatchNormalization", y, *(self.constant(s.astype(np.float32)) for s in (scale, shift, mean, variance)),
                           epsilon=1e-5)
        self.values[normed] = ((value - mean) / np.sqrt(variance + 1e-5) * scale + shift).astype(np.float32)
        return normed

    def relu(self, x):
        return self._known(self.node("Relu", x), np.maximum(self.values[x], 0))

    def relu6(self, x, zero, six):
        return self._known(self.node("Clip", x, zero, six), np.clip(self.values[x], 0, 6))

    def add(self, a, b):
        return self._known(self.node("Add", a, b), self.values[a] + self.values[b])

    def max_pool(self, x):
        """3 x 3 in steps of 2."""
        y = self.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        return self._known(y, np.max([tap for _, _, tap in taps(self.values[x], 3, 2, -np.inf)], axis=0))

    def _known(self, name, value):
        self.values[name] = value
        return name


def random_images(random, count, side):
    """[count, 3, side, side], as normalised photographs are: large shapes have most of the contrast (its spectrum falls
    with the frequency), and images differ in contrast and colour."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1 / side
    images = np.fft.irfft2(np.fft.rfft2(random.standard_normal((count, 3, side, side))) / frequency, s=(side, side))
    images /= images.std(axis=(1, 2, 3), keepdims=True)
    images *= random.uniform(0.5, 1.2, (count, 1, 1, 1))
    return (images + random.normal(0, 0.5, (count, 3, 1, 1))).astype(np.float32)


def taps(x, kernel, stride, padding):
    """(row, column, what of x meets that place of the window) for every place; x is [N, H, W, C]."""
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=padding)
    rows, columns = ((size + 2 * pad - kernel) // stride + 1 for size in x.shape[1:3])
    for i in range(kernel):
        for j in range(kernel):
            yield i, j, padded[:, i:i + stride * rows:stride, j:j + stride * columns:stride]


def convolve(x, weights, stride, groups):
    outputs = 0
    for i, j, tap in taps(x, weights.shape[2], stride, 0):
        place = weights[:, :, i, j]
        outputs = outputs + (tap @ place.T if groups == 1 else tap * place[:, 0])
    return outputs


FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
