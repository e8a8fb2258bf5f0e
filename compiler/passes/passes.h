// SPDX-License-Identifier: Apache-2.0
//
// Rewrites of the graph, each in a file of its own. All keep what the network computes, its inputs
// (those that no node uses included) and its outputs; all are idempotent and deterministic.
#pragma once

#include "compiler/ir.h"

namespace nrtd::compiler {

// Computes at compile time what depends on constants only (evaluate.h). What is not worth it stays
// for the core, which may read constants like anything else.
void FoldConstants(Graph& graph);

// An addition behind a product or convolution becomes its bias, if nothing else reads the product
// and the addend can be had before it.
void FuseBias(Graph& graph);

// Removes nodes that no output depends on. Values stay, so ids stay valid.
void RemoveDeadCode(Graph& graph);

// A product or convolution with constant weights times a number, or a number a channel: the weights
// are multiplied instead, and the bias.
void FuseScale(Graph& graph);

// x/2 (1 + erf(x / sqrt 2)), written out, becomes one function.
void RecogniseGelu(Graph& graph);

// Layer normalisation, written out as means, differences and roots, becomes one operation.
void RecogniseLayerNorm(Graph& graph);

// What attention does before its softmax, a scale and a mask, becomes part of it.
void MaskSoftmax(Graph& graph);

// Where all readers of a value read the same run of entries along a dimension, the others are not
// computed: of a classifier's last layer, only what becomes of the first token.
void SkipUnreadParts(Graph& graph);

// A transpose before a product becomes the way in which it is read; one behind it, the way in which
// it is written.
void FoldTransposes(Graph& graph);

// An activation behind a product, a convolution or a pair is done on the way out of PE or POOL.
void FuseActivations(Graph& graph);

// Where convolutions are most of the work: images as [N,H,W,C] instead of [N,C,H,W] from one to the
// next, because there all channels of a pixel are a run, which is how PE and POOL are fastest.
void PutChannelsLast(Graph& graph);

// Moves every activation right behind the node that makes its input, so that the engines hand over
// once and the activation can work in place.
void PlaceActivations(Graph& graph);

// All of those above, in the order that they need.
void RunPasses(Graph& graph);

// Products and convolutions multiply in bfloat16, but for products that are exact.
void CastProducts(Graph& graph);

}  // namespace nrtd::compiler
