// SPDX-License-Identifier: Apache-2.0
//
// Writes small NEFFs for the corpus of neff_reader_fuzz into a folder.
#include <cstdio>
#include <string>

#include "base/file.h"
#include "base/sizes.h"
#include "test/neff/sample_neff.h"
#include "test/neff/tar_builder.h"

namespace nrtd::neff {
namespace {

ByteVector HostOnly() {
  NeffContents contents;
  contents.header.name = "host.neff";
  Node input;
  input.name = "x";
  input.outputs = {0};
  Node host;
  host.kind = NodeKind::kHostFunction;
  host.name = "relu0";
  host.func_name = "relu";
  host.inputs = {0};
  host.outputs = {1};
  contents.graph.nodes = {input, host};
  contents.graph.tensors = {{"x", DType::kInt8, {2}, 2, 0, 0}, {"y", DType::kInt8, {2}, 2, 1, 1}};
  contents.graph.inputs = {{"x", 0}};
  contents.graph.outputs = {{"y", 1}};
  return SerializeNeff(contents).value();
}

// A variable and a descriptor beyond 2^31 bytes.
ByteVector Far() {
  NeffContents contents = SampleContents();
  Subgraph& subgraph = contents.kelfs.at("kelf-0.json").subgraphs[0];
  constexpr size_t kState = 2;
  subgraph.variables[kState].size = 3 * kGiB;
  constexpr size_t kPool = 2;
  subgraph.engines[kPool].dma[1].desc.to =
      AccessPattern::Contiguous(kState, 2 * kGiB + kKiB, subgraph.variables[1].size.value());
  return SerializeNeff(contents).value();
}

int Write(const std::string& folder) {
  const std::string long_name = std::string(60, 'a') + "/" + std::string(120, 'b');
  const std::pair<const char*, ByteVector> seeds[] = {
      {"sample.neff", SampleNeff()},
      {"sample_gzip.neff", SampleNeff({.gzip = true})},
      {"host_only.neff", HostOnly()},
      {"far.neff", Far()},
      {"link.neff",
       NeffOf(MakeTar({{.path = "neff.json", .type = AE_IFLNK, .link = "/etc/passwd"}}))},
      {"pax_name.neff", NeffOf(MakeTar({{long_name, "content"}}))},
      {"gnu_name.neff", NeffOf(MakeTar({{long_name, "content"}}, {.gnu = true}))},
      {"empty.neff", NeffOf({})},
  };
  for (const auto& [name, bytes] : seeds) {
    const auto written = WriteFileAtomically(folder + "/" + name, bytes);
    if (!written) {
      std::fprintf(stderr, "%s\n", written.error().text.c_str());
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace nrtd::neff

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: neff_fuzz_seeds <folder>\n");
    return 2;
  }
  return nrtd::neff::Write(argv[1]);
}
