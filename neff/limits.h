// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>

#include "base/sizes.h"

namespace nrtd::neff {

// Of a name: of a tensor, node, variable, queue, type, version. TensorFlow's deepest scopes make
// names of some 300. Lists of the daemon and answers of inferences repeat names.
inline constexpr size_t kMaxNameBytes = 1024;

// How much a NEFF may ask of its reader. A NEFF comes from a client that the daemon does not trust;
// beyond any of these ReadNeff() answers kInvalid with the value, the limit and the place.
struct Limits {
  // Networks of 2.5 GiB of weights exist and must load. A core group rarely has more than one
  // device's 8 GB of DRAM for them, and file and memory sizes above 4 GiB have never been seen.
  uint64_t max_neff_bytes = 4 * kGiB;

  // All files of the tar together, unpacked: one device's DRAM.
  uint64_t max_unpacked_bytes = 8 * kGiB;

  // Unpacked bytes a compressed byte. Weights hardly shrink and JSON shrinks some 20-fold; deflate
  // itself ends at 1032, which is what a bomb reaches.
  uint64_t max_compression_ratio = 100;
  // The ratio is looked at only beyond this size, so that a small NEFF of zeros passes.
  uint64_t ratio_free_bytes = 64 * kMiB;

  // A subgraph has some 40 files and a file per weight; the largest known networks have thousands.
  size_t max_files = 65536;
  // ustar cannot say more than 256.
  size_t max_path_bytes = 512;

  // One JSON file. An engine's descriptors take about 300 bytes each.
  uint64_t max_json_bytes = 64 * kMiB;
  // Values in one JSON file. Some 100 bytes of memory each while the file is being read.
  size_t max_json_values = 4'000'000;
  // One string or number of it. The parser's messages copy what it read last.
  size_t max_json_token = 1 * kMiB;
  // The format's own nesting is below 10.
  size_t max_json_depth = 64;

  // Of the graph. The header counts cores for 64 kelf nodes; host nodes and inputs come on top.
  size_t max_nodes = 65536;
  size_t max_tensors = 65536;
  size_t max_node_ports = 4096;  // inputs, or outputs, of one node or of the network
  size_t max_dimensions = 32;    // numpy's limit

  // Of all kelfs together: 16 devices of 4 cores is the largest instance.
  size_t max_subgraphs = 64;
  // Of one subgraph.
  size_t max_variables = 65536;
  size_t max_queues = 1024;
  size_t max_descriptors = 1'000'000;

  // Nobody wants it any more: reading ends with the error of CheckWanted().
  std::stop_token stop;
};

}  // namespace nrtd::neff
