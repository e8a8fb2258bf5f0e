// SPDX-License-Identifier: Apache-2.0
#include "neff/writer.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "neff/json_fields.h"
#include "neff/tar_writer.h"

namespace nrtd::neff {
namespace {

constexpr int kIndent = 2;

// All files of the NEFF, by path. Those that are generated here are owned here.
class FileSet {
 public:
  Result<void> Add(const std::string& path, ByteSpan bytes) {
    const auto [at, added] = files_.emplace(path, bytes);
    if (!added && !std::ranges::equal(at->second, bytes))
      return Fail(Nerr::kInvalid, "two different contents for '{}'", path);
    return {};
  }
  Result<void> AddText(const std::string& path, std::string text) {
    texts_.push_back(std::move(text));
    return Add(path, AsBytes(texts_.back()));
  }
  const FileMap& files() const { return files_; }

 private:
  FileMap files_;
  std::deque<std::string> texts_;
};

Result<Header> CompleteHeader(const NeffContents& contents) {
  Header header = contents.header;
  header.pkg_version = PackageVersion::kSha256;
  header.header_size = kHeaderSize;
  header.tpb_per_node = {};
  header.num_tpb = CoresRequired(contents.graph, contents.kelfs);
  if (header.requested_tpb_count == 0) header.requested_tpb_count = header.num_tpb;
  size_t next = 0;
  for (const Node& node : contents.graph.nodes) {
    if (node.kind != NodeKind::kKelf) continue;
    const auto kelf = contents.kelfs.find(node.kelf);
    if (kelf == contents.kelfs.end())
      return Fail(Nerr::kInvalid, "node \"{}\" names '{}', which is not given", node.name,
                  node.kelf);
    const size_t cores = kelf->second.subgraphs.size();
    if (next == kMaxKelfNodes || cores > 255) {
      return Fail(Nerr::kInvalid, "the header has room for {} kelf nodes of 255 cores; node \"{}\"",
                  kMaxKelfNodes, node.name);
    }
    header.tpb_per_node[next++] = static_cast<uint8_t>(cores);
  }
  return header;
}

Result<std::string> InfoText(const NeffContents& contents, const Header& header) {
  const Info& info = contents.info;
  Json json = {
      {"tool_version", info.tool_version.empty() ? header.build_version : info.tool_version},
      {"kelp_version", "Dynamic"},
      {"name", info.name.empty() ? header.name : info.name},
      {"num_tpb", header.num_tpb},
      {"num_tpb_requested", header.requested_tpb_count},
      {"num_tpb_per_node", header.tpb_per_node}};
  if (!info.batches.empty()) json["batch"] = info.batches;
  return DumpJson(json, kInfoFile, kIndent);
}

Result<void> AddKelf(const std::string& name, const Kelf& kelf, FileSet& files) {
  Json graphs = Json::array();
  for (const Subgraph& subgraph : kelf.subgraphs) {
    graphs.push_back({{"name", subgraph.name}, {"definition", subgraph.definition}});
    NRTD_ASSIGN(std::string definition, SerializeDefinition(subgraph));
    NRTD_TRY(files.AddText(subgraph.definition, std::move(definition)));
    for (const EngineProgram& engine : subgraph.engines) {
      NRTD_ASSIGN(std::string text, SerializeEngine(subgraph, engine));
      NRTD_TRY(files.AddText(subgraph.PathOf(engine.json_file), std::move(text)));
      NRTD_TRY(files.Add(subgraph.PathOf(engine.instruction_file), engine.instructions.bytes()));
    }
  }
  const Json json = {
      {"graphs", std::move(graphs)}, {"version", kelf.version}, {"target", kelf.target}};
  NRTD_ASSIGN(std::string text, DumpJson(json, name, kIndent));
  return files.AddText(name, std::move(text));
}

template <typename T>
std::string FirstDifference(std::string_view what, const std::vector<T>& given,
                            const std::vector<T>& read) {
  if (given.size() != read.size())
    return fmt::format("{} {} instead of {}", read.size(), what, given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] != read[i]) return fmt::format("number {} of {}", i, what);
  }
  return {};
}

Result<void> CheckSame(std::string_view where, std::initializer_list<std::string> differences) {
  for (const std::string& difference : differences) {
    if (!difference.empty()) {
      return Fail(Nerr::kInvalid,
                  "{}: would be read differently: {}; neff/writer.h has the rules on order", where,
                  difference);
    }
  }
  return {};
}

// What a reader will see is what was given.
Result<void> CheckReadable(const NeffContents& contents, const FileMap& files) {
  NRTD_ASSIGN(const Archive archive, Archive::FromFiles(files));
  NRTD_ASSIGN(const Network read, ReadNetwork(archive));
  NRTD_TRY(CheckSame(kGraphFile,
                     {FirstDifference("nodes", contents.graph.nodes, read.graph.nodes),
                      FirstDifference("tensors", contents.graph.tensors, read.graph.tensors),
                      FirstDifference("inputs", contents.graph.inputs, read.graph.inputs),
                      FirstDifference("outputs", contents.graph.outputs, read.graph.outputs)}));
  for (const auto& [name, kelf] : contents.kelfs) {
    const auto found = read.kelfs.find(name);
    if (found == read.kelfs.end())
      return Fail(Nerr::kInvalid, "no node of the graph runs '{}'", name);
    for (size_t i = 0; i < kelf.subgraphs.size(); ++i) {
      const Subgraph& a = kelf.subgraphs[i];
      const Subgraph& b = found->second.subgraphs[i];
      NRTD_TRY(CheckSame(a.definition, {FirstDifference("variables", a.variables, b.variables),
                                        FirstDifference("queues", a.queues, b.queues),
                                        FirstDifference("engines", a.engines, b.engines)}));
    }
  }
  return {};
}

Result<void> Collect(const NeffContents& contents, const Header& header, FileSet& files) {
  NRTD_ASSIGN(std::string info, InfoText(contents, header));
  NRTD_TRY(files.AddText(std::string(kInfoFile), std::move(info)));
  NRTD_ASSIGN(std::string graph, SerializeGraph(contents.graph));
  NRTD_TRY(files.AddText(std::string(kGraphFile), std::move(graph)));
  for (const auto& [name, kelf] : contents.kelfs) NRTD_TRY(AddKelf(name, kelf, files));
  for (const auto& [path, blob] : contents.files) NRTD_TRY(files.Add(path, blob.bytes()));
  return CheckReadable(contents, files.files());
}

}  // namespace

Result<ByteVector> SerializeNeff(const NeffContents& contents, const WriteOptions& options) {
  NRTD_ASSIGN(Header header, CompleteHeader(contents));
  FileSet files;
  NRTD_TRY(Collect(contents, header, files));
  NRTD_ASSIGN(ByteVector neff, TarToMemory(files.files(), kHeaderSize, options.gzip));
  const ByteSpan data = ByteSpan(neff).subspan(kHeaderSize);
  header.data_size = data.size();
  header.hash = DataHash(header.pkg_version, data);
  NRTD_ASSIGN(const auto bytes, SerializeHeader(header));
  std::ranges::copy(bytes, neff.begin());
  return neff;
}

Result<void> WriteNeff(const NeffContents& contents, const std::string& path,
                       const WriteOptions& options) {
  NRTD_ASSIGN(Header header, CompleteHeader(contents));
  FileSet files;
  NRTD_TRY(Collect(contents, header, files));
  NRTD_ASSIGN(TarFile file, TarFile::Write(files.files(), path, kHeaderSize, options.gzip));
  {
    NRTD_ASSIGN(const MappedRegion written, file.Map());
    const ByteSpan data = written.bytes().subspan(kHeaderSize);
    header.data_size = data.size();
    header.hash = DataHash(header.pkg_version, data);
  }
  NRTD_ASSIGN(const auto bytes, SerializeHeader(header));
  return std::move(file).Commit(bytes);
}

}  // namespace nrtd::neff
