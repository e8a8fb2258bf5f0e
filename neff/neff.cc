// SPDX-License-Identifier: Apache-2.0
#include "neff/neff.h"

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/wanted.h"
#include "neff/json_fields.h"

namespace nrtd::neff {
namespace {

Result<Info> ReadInfo(const Archive& archive, const Limits& limits) {
  const auto file = archive.Find(kInfoFile);
  if (!file) return Info{};
  NRTD_ASSIGN(const Json document, ParseJson(*file, kInfoFile, limits));
  const Field root(kInfoFile, document);
  Info info;
  NRTD_ASSIGN(info.tool_version, TextOr(root, "tool_version", ""));
  NRTD_ASSIGN(info.name, TextOr(root, "name", ""));
  NRTD_ASSIGN(const std::optional<Field> batches, root.Find("batch"));
  if (!batches) return info;
  NRTD_ASSIGN(const std::vector<Field> members, batches->Members(limits.max_nodes));
  for (const Field& member : members) {
    NRTD_ASSIGN(info.batches[std::string(member.key())], member.Uint32());
  }
  return info;
}

// Reads kelfs one after the other; the limits count for all of them together.
class KelfReader {
 public:
  KelfReader(const Archive& archive, const Limits& limits)
      : archive_(archive), limits_(limits), left_(limits) {}

  Result<Kelf> Read(const std::string& file_name) {
    const auto file = archive_.Find(file_name);
    if (!file) {
      return Fail(Nerr::kInvalid,
                  "{} names '{}', which is not in the NEFF: pack it again with all its files",
                  kGraphFile, file_name);
    }
    NRTD_ASSIGN(const Json document, ParseJson(*file, file_name, limits_));
    const Field root(file_name, document);
    Kelf kelf;
    NRTD_ASSIGN(kelf.version, TextOr(root, "version", ""));
    NRTD_ASSIGN(kelf.target, TextOr(root, "target", ""));
    NRTD_ASSIGN(const Field graphs, root.Get("graphs"));
    NRTD_ASSIGN(const std::vector<Field> items, graphs.Items(left_.max_subgraphs));
    if (items.empty()) return graphs.Invalid("a kelf without subgraphs");
    left_.max_subgraphs -= items.size();
    for (const Field& item : items) {
      NRTD_TRY(CheckWanted(limits_.stop));
      NRTD_ASSIGN(Subgraph subgraph, ReadOne(item));
      kelf.subgraphs.push_back(std::move(subgraph));
    }
    return kelf;
  }

 private:
  Result<Subgraph> ReadOne(const Field& item) {
    NRTD_ASSIGN(const Field name_field, item.Get("name"));
    NRTD_ASSIGN(const std::string name, name_field.Text());
    NRTD_ASSIGN(const Field definition_field, item.Get("definition"));
    NRTD_ASSIGN(const std::string definition, definition_field.Text());
    // Otherwise a small file could be read many times over.
    if (!definitions_.insert(definition).second)
      return definition_field.Invalid("'{}' is named twice", definition);
    NRTD_ASSIGN(Subgraph subgraph, ReadSubgraph(archive_, name, definition, left_));
    for (const EngineProgram& engine : subgraph.engines) left_.max_descriptors -= engine.dma.size();
    return subgraph;
  }

  const Archive& archive_;
  const Limits& limits_;
  Limits left_;
  std::set<std::string> definitions_;
};

// Can devices map the weights where they are? Large ones begin with pages, none was copied when the
// archive was read, and nothing of what lies behind gets into a variable.
bool AreOnPages(const KelfMap& kelfs, const SealedMemory& file) {
  const auto begin = reinterpret_cast<uintptr_t>(file.bytes().data());
  for (const auto& [name, kelf] : kelfs) {
    for (const Subgraph& subgraph : kelf.subgraphs) {
      for (const Variable& variable : subgraph.variables) {
        const uint64_t size = variable.data.size();
        if (size == 0) continue;
        const auto at = reinterpret_cast<uintptr_t>(variable.data.data());
        if (at < begin || !RangeFits(at - begin, size, file.bytes().size())) return false;
        if (size >= kAlignedFrom && ((at - begin) % kAlignment != 0 || variable.size != size))
          return false;
      }
    }
  }
  return true;
}

// What of a file may be something else than weights: an eighth of them, and so much in any case.
constexpr uint64_t kOthersShare = 8;
constexpr uint64_t kOthersAlways = 1 * kMiB;

// Is there little else in the file, which would stay with them?
bool IsMostly(const std::vector<ByteSpan>& weights, const SealedMemory& file) {
  uint64_t bytes = 0;
  for (const ByteSpan& part : weights) bytes += part.size();
  return file.bytes().size() <= bytes + bytes / kOthersShare + kOthersAlways;
}

// Cores of each kelf node.
std::vector<uint32_t> NodeCores(const Graph& graph, const KelfMap& kelfs) {
  std::vector<uint32_t> cores;
  for (const Node& node : graph.nodes) {
    if (node.kind != NodeKind::kKelf) continue;
    const auto kelf = kelfs.find(node.kelf);
    cores.push_back(kelf == kelfs.end() ? 0 : static_cast<uint32_t>(kelf->second.subgraphs.size()));
  }
  return cores;
}

}  // namespace

ByteSpan BytesOf(const NeffSource& source) {
  if (const auto* owned = std::get_if<ByteVector>(&source)) return *owned;
  if (const auto* sealed = std::get_if<SealedMemory>(&source)) return sealed->bytes();
  return std::get<MappedRegion>(source).bytes();
}

Result<Network> ReadNetwork(const Archive& archive, const Limits& limits) {
  Network network;
  NRTD_ASSIGN(network.info, ReadInfo(archive, limits));
  const auto graph_file = archive.Find(kGraphFile);
  if (!graph_file)
    return Fail(Nerr::kInvalid,
                "the NEFF holds no {}: pack it with 'neuron-cc compile' or neuron-packager",
                kGraphFile);
  NRTD_ASSIGN(network.graph, ParseGraph(*graph_file, limits));
  KelfReader kelfs(archive, limits);
  for (const Node& node : network.graph.nodes) {
    if (node.kind != NodeKind::kKelf || network.kelfs.contains(node.kelf)) continue;
    NRTD_ASSIGN(Kelf kelf, kelfs.Read(node.kelf));
    network.kelfs.emplace(node.kelf, std::move(kelf));
  }
  return network;
}

uint32_t CoresRequired(const Graph& graph, const KelfMap& kelfs) {
  uint32_t sum = 0;
  for (const uint32_t cores : NodeCores(graph, kelfs)) sum += cores;
  return sum;
}

uint32_t LargestNodeCores(const Graph& graph, const KelfMap& kelfs) {
  uint32_t largest = 0;
  for (const uint32_t cores : NodeCores(graph, kelfs)) largest = std::max(largest, cores);
  return largest;
}

uint64_t Neff::WeightBytes() const {
  uint64_t bytes = 0;
  for (const auto& [name, kelf] : kelfs()) {
    for (const Subgraph& subgraph : kelf.subgraphs) {
      for (const Variable& variable : subgraph.variables) bytes += variable.data.size();
    }
  }
  return bytes;
}

std::string Neff::UuidText() const {
  return Hex(header_.uuid);
}

bool Neff::HashMatches() const {
  return DataHash(header_.pkg_version, data_) == header_.hash;
}

Result<void> Neff::Condense(const std::stop_token& stop) {
  std::vector<ByteSpan> parts;
  // Variables may name the same file, a great many of them: its bytes are there once.
  std::map<std::pair<const std::byte*, size_t>, size_t> part_of;
  std::vector<std::pair<Variable*, size_t>> variables;
  for (auto& [name, kelf] : network_.kelfs) {
    for (Subgraph& subgraph : kelf.subgraphs) {
      for (Variable& variable : subgraph.variables) {
        if (variable.data.empty()) continue;
        const auto [place, fresh] =
            part_of.try_emplace({variable.data.data(), variable.data.size()}, parts.size());
        if (fresh) parts.push_back(variable.data);
        variables.emplace_back(&variable, place->second);
      }
      for (EngineProgram& engine : subgraph.engines) {
        const ByteSpan bytes = engine.instructions.bytes();
        engine.instructions = Blob::Own(ByteVector(bytes.begin(), bytes.end()));
      }
    }
  }
  auto* sealed = std::get_if<SealedMemory>(&backing_);
  if (sealed != nullptr && !archive_.compressed() && IsMostly(parts, *sealed) &&
      AreOnPages(network_.kelfs, *sealed)) {
    weights_ = std::move(*sealed);
  } else {
    NRTD_ASSIGN(weights_, SealedMemory::Create(parts, stop));
    for (const auto& [variable, part] : variables) variable->data = weights_.part(part);
  }
  archive_ = {};
  data_ = {};
  backing_ = ByteVector();
  return {};
}

std::optional<uint64_t> Neff::SharedOffset(const Variable& variable) const {
  const ByteSpan all = weights_.bytes();
  if (variable.data.empty() || all.empty() || variable.data.data() < all.data() ||
      variable.data.data() >= all.data() + all.size())
    return std::nullopt;
  return static_cast<uint64_t>(variable.data.data() - all.data());
}

Result<Neff> ReadNeff(NeffSource source, const Limits& limits) {
  Neff neff;
  if (const auto* path = std::get_if<std::filesystem::path>(&source)) {
    NRTD_ASSIGN(neff.backing_, MappedRegion::CopyFile(path->string(), limits.max_neff_bytes));
  } else {
    neff.backing_ = std::move(source);
  }
  const ByteSpan bytes = BytesOf(neff.backing_);
  if (bytes.size() > limits.max_neff_bytes) {
    return Fail(Nerr::kInvalid, "NEFF of {} bytes is larger than the limit of {}", bytes.size(),
                limits.max_neff_bytes);
  }
  NRTD_ASSIGN(neff.header_, ParseHeader(bytes));
  NRTD_TRY(CheckFileSize(neff.header_, bytes.size()));
  neff.data_ = bytes.subspan(kHeaderSize);
  NRTD_ASSIGN(neff.archive_, Archive::Read(neff.data_, limits));
  NRTD_ASSIGN(neff.network_, ReadNetwork(neff.archive_, limits));
  return neff;
}

}  // namespace nrtd::neff
