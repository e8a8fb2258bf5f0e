// SPDX-License-Identifier: Apache-2.0
//
// Rewrites of the graph, each in a file of its own. All keep what the network computes, its inputs
// (those that no node uses included) and its outputs; all are idempotent and deterministic.
#pragma once

#include "compiler/ir.h"

namespace nrtd::compiler {

// Computes at compile time what depends on constants only: reshapes, element-wise functions and
// pairs. What it cannot compute stays for the core, which may read constants like anything else.
void FoldConstants(Graph& graph);

// An addition behind a product or convolution becomes its bias, if nothing else reads the product
// and the addend can be had before it.
void FuseBias(Graph& graph);

// Removes nodes that no output depends on. Values stay, so ids stay valid.
void RemoveDeadCode(Graph& graph);

// Moves every activation right behind the node that makes its input, so that the engines hand over
// once and the activation can work in place.
void PlaceActivations(Graph& graph);

// All of them, in the order that they need.
void RunPasses(Graph& graph);

}  // namespace nrtd::compiler
