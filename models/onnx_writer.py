# SPDX-License-Identifier: Apache-2.0
"""What the scripts that write networks with seeded weights share."""

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
        onnx.save(model, path)


FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
