// SPDX-License-Identifier: Apache-2.0
#include "neff/subgraph.h"

#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "test/neff/matchers.h"
#include "test/neff/sample_neff.h"

namespace nrtd::neff {
namespace {

using nlohmann::json;
using Files = std::map<std::string, std::string>;

Result<Subgraph> Read(const Files& files, const Limits& limits = {}) {
  FileMap map;
  for (const auto& [path, text] : files) map.emplace(path, AsBytes(text));
  NRTD_ASSIGN(const Archive archive, Archive::FromFiles(std::move(map), limits));
  return ReadSubgraph(archive, "sg00", "sg00/def.json", limits);
}

// The sample with the value at a JSON pointer of one file replaced; "!" as the replacement removes.
Files Changed(const std::string& file, const std::string& at, const std::string& replacement) {
  Files files = SampleFiles();
  json document = json::parse(files.at(file));
  if (replacement == "!") {
    document = document.patch(json::array({{{"op", "remove"}, {"path", at}}}));
  } else {
    document[json::json_pointer(at)] = json::parse(replacement);
  }
  files[file] = document.dump();
  return files;
}

TEST(NeffSubgraph, ReadsAllItsParts) {
  const Files files = SampleFiles();
  const auto subgraph = Read(files);
  ASSERT_THAT(subgraph, Succeeds());
  EXPECT_EQ(*subgraph, SampleContents().kelfs.at("kelf-0.json").subgraphs[0]);
  EXPECT_EQ(subgraph->FindVariable("y")->var_id, 7u);
  EXPECT_EQ(subgraph->FindVariable("z"), nullptr);
  EXPECT_EQ(subgraph->FindQueue("qIn")->owner, "pool");
  EXPECT_EQ(subgraph->FindQueue("qPool"), nullptr);
  EXPECT_EQ(subgraph->FindEngine("pool")->dma.size(), 2u);
  EXPECT_EQ(subgraph->FindEngine("dve"), nullptr);
  EXPECT_EQ(subgraph->FindEngine("act")->instructions.size(), 32u);
}

TEST(NeffSubgraph, HandsOutTheElementsOfAnNpyFile) {
  const Files files = SampleFiles();
  const Subgraph subgraph = Read(files).value();
  const ByteSpan data = subgraph.FindVariable("w")->data;
  ASSERT_EQ(data.size(), 64u);
  EXPECT_EQ(data[0], std::byte{0});
  EXPECT_EQ(data[63], std::byte{63});
  EXPECT_TRUE(subgraph.FindVariable("x")->data.empty());
}

TEST(NeffSubgraph, HandsOutTheWholeOfARawFile) {
  Files files = Changed("sg00/def.json", "/var/w/file_name", "\"w.raw\"");
  files["sg00/w.raw"] = "raw";
  const auto subgraph = Read(files);
  ASSERT_THAT(subgraph, Succeeds());
  EXPECT_EQ(AsText(subgraph->FindVariable("w")->data), "raw");
}

TEST(NeffSubgraph, KeepsTypesThatItDoesNotKnow) {
  const Files files = Changed("sg00/def.json", "/var/new", R"({"type":"future","var_id":99})");
  const auto subgraph = Read(files);
  ASSERT_THAT(subgraph, Succeeds());
  EXPECT_EQ(subgraph->FindVariable("new")->type, VariableType::kOther);
  EXPECT_EQ(subgraph->FindVariable("new")->type_name, "future");
}

TEST(NeffSubgraph, ReadsTheFieldsOfOtherVariables) {
  const Files files =
      Changed("sg00/def.json", "/var/v",
              R"({"type":"virtual","var_id":50,"size":8,"backing_variable_off":256})");
  const Subgraph subgraph = Read(files).value();
  EXPECT_EQ(subgraph.FindVariable("v")->type, VariableType::kVirtual);
  EXPECT_EQ(subgraph.FindVariable("v")->backing_variable_off, 256u);
  const Files pointer = Changed("sg00/def.json", "/var/p",
                                R"({"type":"pointer","var_id":50,"size":8,"referenced_var_id":7})");
  EXPECT_EQ(Read(pointer)->FindVariable("p")->referenced_var_id, 7u);
}

TEST(NeffSubgraph, AStateBufferNeedsNoSize) {
  const Files files = Changed("sg00/def.json", "/var/SB/size", "!");
  const auto subgraph = Read(files);
  ASSERT_THAT(subgraph, Succeeds());
  EXPECT_FALSE(subgraph->FindVariable("SB")->size);
}

TEST(NeffSubgraph, ReadsArithmeticDescriptorsOfLaterChips) {
  Files files = Changed("sg00/Pool.json", "/dma/0/desc", R"({"op":"add",
      "to":"SB","to_off":0,"to_steps":[1],"to_sizes":[16],
      "from_arr":[{"from":"x","from_off":0,"from_steps":[1],"from_sizes":[16]},
                  {"from":"w","from_off":0,"from_steps":[1],"from_sizes":[16]}]})");
  const auto subgraph = Read(files);
  ASSERT_THAT(subgraph, Succeeds());
  const Descriptor& desc = subgraph->FindEngine("pool")->dma[0].desc;
  EXPECT_EQ(desc.op, "add");
  EXPECT_EQ(desc.from_array.size(), 2u);
  json document = json::parse(files.at("sg00/Pool.json"));
  document["dma"][0]["desc"]["from_arr"][1]["from_off"] = 60;
  files["sg00/Pool.json"] = document.dump();
  EXPECT_THAT(Read(files), FailsWith(Nerr::kInvalid, "desc.from_arr[1].from: reaches byte 75"));
}

TEST(NeffSubgraph, ReadsQueueInstances) {
  Files files = Changed("sg00/def.json", "/dma_queue/qIn/queue_instances", R"(["qIn_0","qIn_1"])");
  json document = json::parse(files.at("sg00/Pool.json"));
  document["dma"][0]["instance_name"] = "qIn_1";
  files["sg00/Pool.json"] = document.dump();
  const auto subgraph = Read(files);
  ASSERT_THAT(subgraph, Succeeds());
  EXPECT_EQ(subgraph->FindEngine("pool")->dma[0].queue, "qIn_1");
  EXPECT_TRUE(subgraph->FindEngine("pool")->dma[0].by_instance);
}

struct BadSubgraph {
  const char* file;
  const char* at;
  const char* replacement;
  const char* expected;
};

TEST(NeffSubgraph, SaysWhatIsWrongAndWhere) {
  const char* def = "sg00/def.json";
  const char* pool = "sg00/Pool.json";
  const BadSubgraph cases[] = {
      {def, "/var", "!", "sg00/def.json: has no \"var\""},
      {def, "/var", "[]", "sg00/def.json: var: expected an object, found array"},
      {def, "/var/x/type", "!", "var.x: has no \"type\""},
      {def, "/var/x/type", "\"\"", "var.x.type: is empty"},
      {def, "/var/x/var_id", "!", "var.x: has no \"var_id\""},
      {def, "/var/x/var_id", "-1", "var.x.var_id: expected a whole number, found -1"},
      {def, "/var/x/var_id", "7", "var_id 7 is used twice"},
      {def, "/var/x/size", "!", "var.x: has no \"size\""},
      {def, "/var/x/size", "1.5", "var.x.size: expected a whole number"},
      {def, "/var/x/size", "1e30", "var.x.size: expected a whole number"},
      {def, "/var/x/size", "99999999999999999999999", "var.x.size: expected a whole number"},
      {def, "/var/w/alignment", "48", "alignment 48 is not a power of two"},
      {def, "/var/w/file_name", "!", "var.w: has no \"file_name\""},
      {def, "/var/w/file_name", "\"v.npy\"", "names 'sg00/v.npy', which is not in the NEFF"},
      {def, "/var/w/file_name", "\"../sg00/w.npy\"", "names 'sg00/../sg00/w.npy', which is not"},
      {def, "/var/w/size", "63", "holds 64 bytes of data, but its variable has 63"},
      {def, "/var/table/list", "[1,77]", "'table' names var_id 77, which no variable has"},
      {def, "/var/p", R"({"type":"pointer","var_id":50,"size":8,"referenced_var_id":51})",
       "'p' names var_id 51"},
      {def, "/dma_queue/qIn/type", "!", "dma_queue.qIn: has no \"type\""},
      {def, "/dma_queue/qIn/num_queues", "0", "num_queues is 0, expected 1 to 16"},
      {def, "/dma_queue/qIn/num_queues", "17", "num_queues is 17"},
      {def, "/dma_queue/qIn/pinned", "\"maybe\"", "qIn.pinned: expected 0 or 1"},
      {def, "/dma_queue/qIn", "!", "the queue \"qIn\" is not declared in sg00/def.json"},
      {def, "/pe_instr", "!", "has only one of \"pe\" and \"pe_instr\""},
      {def, "/pe", "!", "has only one of \"pe\" and \"pe_instr\""},
      {def, "/pe", "\"PE2.json\"", "engine \"pe\" names 'sg00/PE2.json', which is not in the NEFF"},
      {def, "/pe_instr", "\"no.bin\"", "names 'sg00/no.bin'"},
      {pool, "/dma", "{}", "sg00/Pool.json: dma: expected an array"},
      {pool, "/dma/0/id", "!", "dma[0]: has no \"id\""},
      {pool, "/dma/0/queue", "!", "dma[0]: has no \"queue\""},
      {pool, "/dma/0/queue", "\"qX\"", "the queue \"qX\" is not declared"},
      {pool, "/dma/0/instance_name", "\"qIn\"", "the queue \"qIn\" is not declared"},
      {pool, "/dma/0/semaphore", "-3", "dma[0].semaphore: expected a whole number"},
      {pool, "/dma/0/desc", "!", "dma[0]: has no \"desc\""},
      {pool, "/dma/0/desc/from", "!", "dma[0].desc: has no \"from\""},
      {pool, "/dma/0/desc/from", "\"q\"", "the variable \"q\" is not declared"},
      {pool, "/dma/0/desc/from", "\"table\"", "the variable \"table\" has no size"},
      {pool, "/dma/0/desc/from_off", "1",
       "desc.from: reaches byte 16 of the variable \"x\", which"},
      {pool, "/dma/0/desc/from_off", "18446744073709551615", "overflow"},
      {pool, "/dma/0/desc/from_off", "9223372036854775807", "overflow"},
      {pool, "/dma/0/desc/from_sizes", "[17]", "desc.from: reaches byte 16"},
      {pool, "/dma/0/desc/from_sizes", "[8]", "copies 8 bytes to a place of 16"},
      {pool, "/dma/0/desc/from_sizes", "[0]", "size of 0"},
      {pool, "/dma/0/desc/from_sizes", "[]", "0 dimensions"},
      {pool, "/dma/0/desc/from_sizes", "[4,4]", "1 steps for 2 sizes"},
      {pool, "/dma/0/desc/from_sizes", "[1,1,1,1,1]", "5 items, at most 4"},
      {pool, "/dma/0/desc/from_steps", "[-1]", "reaches byte -15"},
      {pool, "/dma/0/desc/to_steps", "[1,9223372036854775807]", "overflow"},
      {pool, "/dma/0/desc/to_steps", "[1,2000]", "desc.to: reaches byte 6131 of the variable"},
      {pool, "/dma/0/desc/to_sizes", "[4,18446744073709551615]", "overflow"},
  };
  for (const BadSubgraph& bad : cases) {
    const Files files = Changed(bad.file, bad.at, bad.replacement);
    EXPECT_THAT(Read(files), FailsWith(Nerr::kInvalid, bad.expected))
        << bad.at << " = " << bad.replacement;
  }
}

TEST(NeffSubgraph, RefusesADamagedNpyFile) {
  Files files = SampleFiles();
  files["sg00/w.npy"].resize(100);
  EXPECT_THAT(Read(files), FailsWith(Nerr::kInvalid, "'sg00/w.npy': npy"));
}

TEST(NeffSubgraph, RefusesAMissingDefinition) {
  EXPECT_THAT(Read({}), FailsWith(Nerr::kInvalid, "names 'sg00/def.json', which is not"));
}

TEST(NeffSubgraph, RefusesMoreThanItsLimits) {
  const Files files = SampleFiles();
  Limits limits;
  limits.max_variables = 4;
  EXPECT_THAT(Read(files, limits), FailsWith(Nerr::kInvalid, "5 members, at most 4"));
  limits = {};
  limits.max_queues = 1;
  EXPECT_THAT(Read(files, limits), FailsWith(Nerr::kInvalid, "2 members, at most 1"));
  limits = {};
  limits.max_descriptors = 3;
  EXPECT_THAT(Read(files, limits), Succeeds());
  limits.max_descriptors = 2;  // one of act, then two of pool
  EXPECT_THAT(Read(files, limits), FailsWith(Nerr::kInvalid, "2 items, at most 1"));
}

TEST(NeffSubgraph, ThatNamesAVariableItDoesNotHaveIsNotWritten) {
  Subgraph subgraph = SampleContents().kelfs.at("kelf-0.json").subgraphs[0];
  subgraph.engines[1].dma[0].desc.from.variable = 99;
  EXPECT_THAT(SerializeEngine(subgraph, subgraph.engines[1]),
              FailsWith(Nerr::kInvalid, "sg00/Activation.json: a descriptor names a variable"));
}

}  // namespace
}  // namespace nrtd::neff
