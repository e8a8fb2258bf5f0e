#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a BERT sentence-pair classifier (MRPC) with seeded weights, as exporters write it: shapes computed by the
graph, layer normalisation, GELU and attention in small operators.

    models/bert/make_bert.py [--layers 24] [--hidden 1024] [--heads 16] [--seq 128] [--batch 1] [-o bert.onnx]

Inputs input_ids, input_mask, segment_ids: int32 [batch, seq]. Output logits: float32 [batch, 2]. BERT-Large is the
default; BERT-Base is --layers 12 --hidden 768 --heads 12. Weights of more than 2 GB go to bert.onnx.data beside it. The
answers mean nothing, but take as long as those of a trained network and have the same magnitudes inside.
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from onnx_writer import FLOAT, INT32, Writer  # noqa: E402

VOCABULARY = 30522
POSITIONS = 512


class Bert:
    def __init__(self, arguments):
        self.arguments = arguments
        self.w = Writer(seed=20210301)
        self.half, self.one, self.two = (self.w.scalar(v) for v in (0.5, 1, 2))
        self.root_two = self.w.scalar(np.sqrt(2))
        self.epsilon = self.w.scalar(1e-12)
        self.index = [self.w.constant(np.array(i, np.int64)) for i in range(2)]
        self.first = self.w.ints(0)

    def norm(self, x):
        w, hidden = self.w, self.arguments.hidden
        mean = w.node("ReduceMean", x, axes=[-1])
        apart = w.node("Sub", x, mean)
        variance = w.node("ReduceMean", w.node("Pow", apart, self.two), axes=[-1])
        deviation = w.node("Sqrt", w.node("Add", variance, self.epsilon))
        y = w.node("Mul", w.node("Div", apart, deviation), w.constant(w.random.uniform(0.8, 1.2, hidden).astype(np.float32)))
        return w.node("Add", y, w.normal([hidden], 0.05))

    def dense(self, x, inputs, outputs):
        y = self.w.node("MatMul", x, self.w.normal([inputs, outputs], 0.7 / np.sqrt(inputs)))
        return self.w.node("Add", self.w.normal([outputs], 0.02), y)

    def dimensions(self, x, *rest):
        """[batch, rows, rest...], from the tensor as exporters ask it."""
        w = self.w
        shape = w.node("Shape", x)
        known = [w.node("Unsqueeze", w.node("Gather", shape, i, axis=0), self.first) for i in self.index]
        return w.node("Concat", *known, w.ints(*rest), axis=0)

    def heads(self, x, order):
        heads = self.arguments.heads
        split = self.w.node("Reshape", x, self.dimensions(x, heads, self.arguments.hidden // heads))
        return self.w.node("Transpose", split, perm=order)

    def attention(self, x, mask):
        w, hidden = self.w, self.arguments.hidden
        query, key, value = (self.dense(x, hidden, hidden) for _ in range(3))
        scores = w.node("MatMul", self.heads(query, [0, 2, 1, 3]), self.heads(key, [0, 2, 3, 1]))
        scores = w.node("Div", scores, w.scalar(np.sqrt(hidden / self.arguments.heads)))
        weights = w.node("Softmax", w.node("Add", scores, mask), axis=-1)
        mixed = w.node("MatMul", weights, self.heads(value, [0, 2, 1, 3]))
        mixed = w.node("Transpose", mixed, perm=[0, 2, 1, 3])
        joined = w.node("Reshape", mixed, self.dimensions(mixed, hidden))
        return self.dense(joined, hidden, hidden)

    def gelu(self, x):
        w = self.w
        erf = w.node("Erf", w.node("Div", x, self.root_two))
        return w.node("Mul", w.node("Mul", x, w.node("Add", erf, self.one)), self.half)

    def layer(self, x, mask):
        hidden = self.arguments.hidden
        x = self.norm(self.w.node("Add", self.attention(x, mask), x))
        inner = self.gelu(self.dense(x, hidden, 4 * hidden))
        return self.norm(self.w.node("Add", self.dense(inner, 4 * hidden, hidden), x))

    def write(self):
        a, w = self.arguments, self.w
        words = w.node("Gather", w.normal([VOCABULARY, a.hidden], 0.5, "word_embeddings"), "input_ids")
        kinds = w.node("Gather", w.normal([2, a.hidden], 0.1, "segment_embeddings"), "segment_ids")
        positions = w.node("Slice", w.normal([1, POSITIONS, a.hidden], 0.1, "position_embeddings"), w.ints(0), w.ints(a.seq), w.ints(1))
        x = self.norm(w.node("Add", w.node("Add", words, kinds), positions))
        mask = w.node("Cast", w.node("Unsqueeze", "input_mask", w.ints(1, 2)), to=FLOAT)
        mask = w.node("Mul", w.node("Sub", self.one, mask), w.scalar(-10000))
        for _ in range(a.layers):
            x = self.layer(x, mask)
        first = w.node("Gather", x, self.index[0], axis=1)
        pooled = w.node("Tanh", w.node("Gemm", first, w.normal([a.hidden, a.hidden], 0.03), w.normal([a.hidden], 0.02), transB=1))
        w.node("Gemm", pooled, w.normal([2, a.hidden], 0.1), w.normal([2], 0.02), transB=1, output="logits")
        ids = (INT32, [a.batch, a.seq])
        w.save(a.output, "bert", {"input_ids": ids, "input_mask": ids, "segment_ids": ids},
               {"logits": (FLOAT, [a.batch, 2])}, opset=13)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"layers": 24, "hidden": 1024, "heads": 16, "seq": 128, "batch": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("-o", "--output", default="bert.onnx")
    arguments = parser.parse_args()
    if min(vars(arguments)[n] for n in ("layers", "hidden", "heads", "seq", "batch")) < 1:
        parser.error("all numbers must be 1 or more")
    if arguments.hidden % arguments.heads:
        parser.error(f"--hidden {arguments.hidden} is no multiple of --heads {arguments.heads}")
    if arguments.seq > POSITIONS:
        parser.error(f"--seq {arguments.seq} is more than the {POSITIONS} positions that BERT knows")
    Bert(arguments).write()


if __name__ == "__main__":
    main()
