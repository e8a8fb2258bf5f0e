// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/mapped_region.h"
#include "base/sealed_memory.h"
#include "base/sizes.h"
#include "neff/archive.h"
#include "neff/graph.h"
#include "neff/header.h"
#include "neff/limits.h"
#include "neff/subgraph.h"

namespace nrtd::neff {

inline constexpr std::string_view kInfoFile = "info.json";

// From info.json; all empty in a NEFF without it.
struct Info {
  std::string tool_version;
  std::string name;
  // Of inputs and outputs by name: how many requests the network was compiled for at once, along
  // dimension 0. Clients split and pad what they have to it. None where that is not so.
  std::map<std::string, uint32_t> batches = {};

  bool operator==(const Info&) const = default;
};

// What one kelf node runs: one subgraph a core.
struct Kelf {
  std::string version;
  std::string target;  // the chip it was compiled for, such as "sim-inf1"
  std::vector<Subgraph> subgraphs;

  bool operator==(const Kelf&) const = default;
};

using KelfMap = std::map<std::string, Kelf, std::less<>>;  // by file name, "kelf-0.json"

// What the files of a NEFF say, together. Spans and blobs inside point into the archive's files.
struct Network {
  Info info;
  Graph graph;
  KelfMap kelfs;  // those that nodes of the graph name
};

// Reads info.json, neff.json and all that they name. kInvalid, naming file and key.
Result<Network> ReadNetwork(const Archive& archive, const Limits& limits = {});

// Cores if every subgraph of every kelf node has its own; 0 for a network of host nodes only.
uint32_t CoresRequired(const Graph& graph, const KelfMap& kelfs);
// Cores of the kelf node that has most: the least with which the nodes can take turns.
uint32_t LargestNodeCores(const Graph& graph, const KelfMap& kelfs);

// Bytes to own, or a file to read: copied, because it is the client's, who may truncate it.
using NeffSource = std::variant<ByteVector, MappedRegion, SealedMemory, std::filesystem::path>;
// The first three of them.
ByteSpan BytesOf(const NeffSource& source);

// Writers put the data of files from this size on where a page of the NEFF begins. Whoever has read
// it into a SealedMemory shares them with devices right from there.
inline constexpr uint64_t kAlignedFrom = 64 * kKiB;
inline constexpr uint64_t kAlignment = 4 * kKiB;
// The elements of an .npy file that is to be put so begin at a multiple of this.
inline constexpr uint64_t kNpyAlignment = 512;

// A NEFF that was read completely, together with the bytes it was read from. Immutable: any thread
// may use it, unless it is being condensed; keep it (a shared_ptr<const Neff>, say) as long as
// anything taken from it.
class Neff {
 public:
  Neff(Neff&&) noexcept = default;
  Neff& operator=(Neff&&) noexcept = default;

  const Header& header() const { return header_; }
  const Info& info() const { return network_.info; }
  const Graph& graph() const { return network_.graph; }
  const KelfMap& kelfs() const { return network_.kelfs; }
  const Archive& archive() const { return archive_; }

  // The kelf that a node of kind kKelf runs.
  const Kelf& kelf(const Node& node) const { return network_.kelfs.find(node.kelf)->second; }

  uint32_t CoresRequired() const { return neff::CoresRequired(graph(), kelfs()); }
  uint32_t LargestNodeCores() const { return neff::LargestNodeCores(graph(), kelfs()); }
  uint64_t WeightBytes() const;  // of all file variables
  std::string UuidText() const;  // 32 lower-case hexadecimal digits
  uint64_t FileSize() const { return kHeaderSize + header_.data_size; }

  // Keeps what running it takes and no more: weights move into memory that devices can share (see
  // SharedOffset()), instructions are copied, and what it was read from is let go. If that is a
  // SealedMemory of little else than weights, the large ones beginning with pages, it stays, and
  // nothing is copied.
  // archive() is empty then. kResource: no memory. Errors of CheckWanted().
  Result<void> Condense(const std::stop_token& stop = {});
  // Where the data of a `file` variable of this NEFF begin in sealed_weights(), with a page if they
  // are kAlignedFrom or more. Nothing before Condense() and for other variables.
  std::optional<uint64_t> SharedOffset(const Variable& variable) const;
  const SealedMemory& sealed_weights() const { return weights_; }

  // Does the header's hash match the data? Reads all of it, so takes seconds for gigabytes. Real
  // NEFFs exist where it does not: report it, do not refuse them.
  bool HashMatches() const;

 private:
  friend Result<Neff> ReadNeff(NeffSource, const Limits&);
  Neff() = default;

  NeffSource backing_;  // never a path
  ByteSpan data_;       // behind the header, in backing_
  Header header_;
  Archive archive_;
  Network network_;
  SealedMemory weights_;
};

// Reads a NEFF of any version and target, as tools need it; whoever wants to run it uses
// ReadExecutable() of validator.h. The contents of uncompressed NEFFs are not copied.
// kInvalid with what is wrong and where; a size other than the header declares is reported first
// ("Wrong NEFF file size").
Result<Neff> ReadNeff(NeffSource source, const Limits& limits = {});

}  // namespace nrtd::neff
