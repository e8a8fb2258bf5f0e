// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/error.h"
#include "compiler/ir.h"
#include "compiler/samples.h"

namespace nrtd::compiler {

// Hears of how many of the nodes are done.
using Progress = std::function<void(size_t done, size_t nodes)>;

// Weights rounded to bfloat16 move what a product or a convolution computes, for inputs of one kind
// by much the same each time. Behind CastProducts() this measures by how much, on samples: the
// network runs on each in float32 and as it is, side by side, and the mean difference of every
// output channel, before the activation, goes into the bias (which becomes one where there is
// none), before the nodes behind it run. So corrections also make up for what earlier nodes still
// differ by: over the samples, a corrected node's mean is that of float32. (Nagel et al.,
// "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2, with
// samples.) Of few samples the mean carries their own rounding along, which then goes to all
// inputs.
//
// As they are stay products of two activations or with a view, by a constant vector, with the
// constant on the left, and biases that are no number a channel; channels of an infinite bias.
// Takes the time of at most four inferences a sample by one thread, that of packing all weights at
// most four times, and memory for what is live in two inferences of every sample at once.
//
// How many nodes were corrected. kInvalid: a sample does not fit the network, leads a corrected
// channel to numbers that are not finite, or there is nothing to correct. kFail: the core would
// refuse a sample.
Result<size_t> CorrectBiases(Graph& graph, std::span<const Sample> samples,
                             const Progress& progress = {});

}  // namespace nrtd::compiler
