// SPDX-License-Identifier: Apache-2.0
//
// What clients get wrong, or wrong on purpose, one row each: the code, the words that users search
// for, and a daemon that is none the worse for it.
#include <random>

#include <sys/stat.h>

#include "base/file.h"
#include "test/integration/daemon_test.h"
#include "test/neff/sample_neff.h"
#include "test/neff/tar_builder.h"

namespace nrtd::integration {
namespace {

// What the rows work with.
struct Scene {
  RtdClient& client;
  std::string digits_neff;
  std::string image;
  uint32_t digits;  // loaded and running: input:0, 256 bytes
  uint32_t pair;    // loaded and running: a and b
  uint64_t pair_bytes;
  std::string folder;

  nrt::status Load(const std::string& neff) const { return Load(LoadParts{.neff = neff}); }
  nrt::status Load(const LoadParts& parts) const { return Send(LoadMessages(parts)); }
  nrt::status LoadPath(const std::string& path) const { return Send(LoadFileMessages(path)); }
  nrt::status Send(const std::vector<nrt::load_request>& messages) const {
    return client.Load(messages).status();
  }
  nrt::status Infer(uint32_t network, const Tensors& inputs) const {
    return client.Infer(InferRequest(network, inputs)).status();
  }
};

struct Row {
  std::string name;
  int code;
  std::string words;
  std::function<nrt::status(const Scene&)> act;
};

// `neff` with a number of its header replaced.
std::string WithField(std::string neff, size_t offset, uint64_t value) {
  neff.replace(offset, sizeof(value), reinterpret_cast<const char*>(&value), sizeof(value));
  return neff;
}

// A load whose neff_size is not what it sends.
std::vector<nrt::load_request> WithSize(const Scene& scene, uint64_t size) {
  auto messages = LoadMessages({.neff = scene.digits_neff});
  for (nrt::load_request& message : messages) {
    if (message.content_case() == nrt::load_request::kNeffSize) message.set_neff_size(size);
  }
  return messages;
}

std::string Garbage() {
  std::mt19937 random(1);
  std::string bytes(8192, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string GzipBomb() {
  const std::string zeros(128 * kMiB, '\0');
  return TextOf(neff::NeffOf(neff::MakeTarOf({{"w.bin", zeros}}, {.gzip = true})));
}

std::string TarOf(const neff::TarEntry& entry) {
  return TextOf(neff::NeffOf(neff::MakeTar({entry})));
}

std::string DeepJson() {
  auto files = neff::SampleFiles();
  files["neff.json"] = std::string(100'000, '[');
  return TextOf(neff::NeffOf(neff::MakeTarOf(files)));
}

std::string HugeVariable() {
  neff::NeffContents contents = SlowContents();
  neff::Subgraph& subgraph = contents.kelfs.begin()->second.subgraphs[0];
  neff::Variable variable;
  variable.name = "too_large";
  variable.type = neff::VariableType::kTmpBuf;
  variable.var_id = subgraph.variables.back().var_id + 1;
  variable.size = 5 * kGiB;
  subgraph.variables.push_back(variable);
  return TextOf(Must(neff::SerializeNeff(contents)));
}

std::string WrongInstructions() {
  neff::NeffContents contents = SlowContents();
  neff::EngineProgram& engine = contents.kelfs.begin()->second.subgraphs[0].engines[0];
  engine.instructions = neff::Blob::Own(ByteVector(256, std::byte{0xee}));
  return TextOf(Must(neff::SerializeNeff(contents)));
}

std::string LaterChip() {
  return TextOf(Must(ReadFile(std::string(NRTD_SOURCE_DIR) + "/test/neff/data/matmul_small.neff")));
}

std::vector<Row> NeffRows() {
  using S = const Scene&;
  return {
      {"empty", 2, "Wrong NEFF file size", [](S s) { return s.Load(""); }},
      {"nothing but a group", 2, "Wrong NEFF file size",
       [](S s) {
         auto messages = LoadMessages({});
         messages.resize(1);
         return s.Send(messages);
       }},
      {"no message at all", 2, "Wrong NEFF file size", [](S s) { return s.Send({}); }},
      {"a message without a field", 2, "no field", [](S s) { return s.Send({{}}); }},
      {"cut in the header", 2, "Wrong NEFF file size",
       [](S s) { return s.Load(s.digits_neff.substr(0, 500)); }},
      {"header alone", 2, "Wrong NEFF file size",
       [](S s) { return s.Load(s.digits_neff.substr(0, neff::kHeaderSize)); }},
      {"cut in the data", 2, "Wrong NEFF file size",
       [](S s) { return s.Load(s.digits_neff.substr(0, s.digits_neff.size() - 1)); }},
      {"a byte too many", 2, "Wrong NEFF file size",
       [](S s) { return s.Load(s.digits_neff + "x"); }},
      {"more arrives than neff_size says", 2, "Wrong NEFF file size",
       [](S s) { return s.Send(WithSize(s, s.digits_neff.size() - 1)); }},
      {"less arrives than neff_size says", 2, "Wrong NEFF file size",
       [](S s) { return s.Send(WithSize(s, s.digits_neff.size() + 1)); }},
      {"neff_size of 2^64 - 1", 2, "Wrong NEFF file size",
       [](S s) { return s.Send(WithSize(s, UINT64_MAX)); }},
      {"chunks without neff_size", 2, "Wrong NEFF file size",
       [](S s) {
         auto messages = LoadMessages({.neff = s.digits_neff});
         messages.erase(messages.begin() + 1);
         return s.Send(messages);
       }},
      {"data_size in the header is 2^64 - 1", 2, "Wrong NEFF file size",
       [](S s) { return s.Load(WithField(s.digits_neff, neff::offset::kDataSize, UINT64_MAX)); }},
      {"version 2.0", 10, "NEFF version mismatch supported: 1.1 received: 2.0",
       [](S s) {
         return s.Load(WithField(WithField(s.digits_neff, neff::offset::kVersionMajor, 2),
                                 neff::offset::kVersionMinor, 0));
       }},
      {"a real one of a later chip", 10, "NEFF version mismatch supported: 1.1 received: 2.0",
       [](S s) { return s.Load(LaterChip()); }},
      {"the same that claims version 1.1", 10, "cayman",
       [](S s) {
         return s.Load(WithField(WithField(LaterChip(), neff::offset::kVersionMajor, 1),
                                 neff::offset::kVersionMinor, 1));
       }},
      {"garbage", 2, "", [](S s) { return s.Load(Garbage()); }},
      {"garbage behind a good header", 2, "",
       [](S s) { return s.Load(TextOf(neff::NeffOf(AsBytes(Garbage())))); }},
      {"gzip bomb", 2, "", [](S s) { return s.Load(GzipBomb()); }},
      {"path that escapes", 2, "../escaped",
       [](S s) { return s.Load(TarOf({.path = "../escaped", .content = "x"})); }},
      {"absolute path", 2, "/tmp/escaped",
       [](S s) { return s.Load(TarOf({.path = "/tmp/escaped", .content = "x"})); }},
      {"symbolic link", 2, "neff.json",
       [](S s) {
         return s.Load(TarOf({.path = "neff.json", .type = AE_IFLNK, .link = "/etc/passwd"}));
       }},
      {"deep JSON", 2, "neff.json", [](S s) { return s.Load(DeepJson()); }},
      {"instructions that are none", 2, "", [](S s) { return s.Load(WrongInstructions()); }},
      {"a parameter that nobody feeds", 1, "is a parameter of the graph",
       [](S s) { return s.Load(TextOf(neff::SampleNeff())); }},
      {"more DRAM than a device has", 4, "Failed to allocate buffer in MLA DRAM for",
       [](S s) { return s.Load(HugeVariable()); }},
      {"more host memory than the pool has", 4, "Failed to alloc hugetlb",
       [](S s) { return s.Load(LoadParts{.neff = SlowNeff(), .ninfer = 1024}); }},
  };
}

std::vector<Row> FileRows() {
  using S = const Scene&;
  return {
      {"missing file", 2, "it does not exist", [](S s) { return s.LoadPath(s.folder + "/none"); }},
      {"a directory", 2, "it is a folder", [](S s) { return s.LoadPath(s.folder); }},
      {"a FIFO", 2, "it is no regular file",
       [](S s) {
         const std::string fifo = s.folder + "/fifo";
         EXPECT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
         return s.LoadPath(fifo);
       }},
      {"a device", 2, "it is no regular file", [](S s) { return s.LoadPath("/dev/zero"); }},
      {"an empty file", 2, "has 0 bytes, less than",
       [](S s) {
         WriteText(s.folder + "/empty.neff", "");
         return s.LoadPath(s.folder + "/empty.neff");
       }},
      {"a cut file", 2, "Wrong NEFF file size",
       [](S s) {
         WriteText(s.folder + "/cut.neff", s.digits_neff.substr(0, 2000));
         return s.LoadPath(s.folder + "/cut.neff");
       }},
      {"a path with a 0 byte", 2, "", [](S s) { return s.LoadPath(std::string("/a\0b", 4)); }},
      {"both a file and chunks", 2, "not both",
       [](S s) {
         auto messages = LoadMessages({.neff = s.digits_neff});
         messages.emplace_back().set_neff_file(s.folder + "/digits.neff");
         return s.Send(messages);
       }},
  };
}

std::vector<Row> HandleRows() {
  using S = const Scene&;
  const std::string missing = "Failed to find model: 77";
  return {
      {"load into an unknown group", 3, "99",
       [](S s) { return s.Load(LoadParts{.neff = s.digits_neff, .group = 99}); }},
      {"load into another network's implicit group", 2, "takes no other",
       [](S s) {
         return s.Load(
             LoadParts{.neff = s.digits_neff, .group = s.client.ListGroups().eg_info(0).eg().id()});
       }},
      {"load under an unknown session", 3, "Failed to find session: 999",
       [](S s) { return s.Load(LoadParts{.neff = s.digits_neff, .session = 999}); }},
      {"group under an unknown session", 3, "Failed to find session: 999",
       [](S s) { return s.client.CreateGroup(1, 999).status(); }},
      {"shared memory under an unknown session", 3, "Failed to find session: 999",
       [](S s) {
         nrt::shm_map_request request;
         request.set_path("/x");
         request.set_session_id(999);
         return s.client.Map(request).status();
       }},
      {"more cores than there are", 9,
       "Requested number of NCs: 5 exceeds the total available number: 2",
       [](S s) { return s.client.CreateGroup(5).status(); }},
      {"2^32 - 1 cores", 9, "Requested number of NCs: 4294967295 exceeds",
       [](S s) { return s.client.CreateGroup(UINT32_MAX).status(); }},
      {"ninfer out of range", 2, "ninfer 1025",
       [](S s) { return s.Load(LoadParts{.neff = s.digits_neff, .ninfer = 1025}); }},
      {"ninfer of 2^32 - 1", 2, "ninfer 4294967295",
       [](S s) { return s.Load(LoadParts{.neff = s.digits_neff, .ninfer = UINT32_MAX}); }},
      {"timeout out of range", 2, "timeout 86401",
       [](S s) { return s.Load(LoadParts{.neff = s.digits_neff, .timeout_s = 86'401}); }},
      {"infer on an unknown model", 3, missing, [](S s) { return s.Infer(77, {}); }},
      {"infer on handle 0", 3, "Failed to find model: 0", [](S s) { return s.Infer(0, {}); }},
      {"post on an unknown model", 3, missing,
       [](S s) { return s.client.Post(InferRequest(77, {})).status(); }},
      {"start of an unknown model", 3, missing, [](S s) { return s.client.Start(77).status(); }},
      {"stop of an unknown model", 3, missing, [](S s) { return s.client.Stop(77).status(); }},
      {"unload of an unknown model", 3, missing, [](S s) { return s.client.Unload(77).status(); }},
      {"double unload", 3, "Failed to find model: 1",
       [](S s) {
         const uint32_t id = s.client.Load(LoadMessages({.neff = s.digits_neff})).h_nn().id();
         EXPECT_THAT(s.client.Unload(id), IsOk());
         return s.client.Unload(id).status();
       }},
      {"destroying an unknown group", 3, "99",
       [](S s) { return s.client.DestroyGroup(99).status(); }},
      {"destroying group 0", 3, "0", [](S s) { return s.client.DestroyGroup(0).status(); }},
      {"waiting on an unknown cookie", 3, "12345",
       [](S s) { return s.client.Wait(12345).status(); }},
      {"polling cookie 0", 3, "0", [](S s) { return s.client.Poll(0).status(); }},
      {"unmapping what was not mapped", 2, "/nothing is not mapped",
       [](S s) { return s.client.Unmap("/nothing").status(); }},
      {"busy time of a core that is not there", 2, "NC 4",
       [](S s) { return s.client.CoreTime(4).status(); }},
  };
}

std::vector<Row> TensorRows() {
  using S = const Scene&;
  return {
      {"no inputs", 2, "Wrong number of ifmaps, expected: 1, received: 0",
       [](S s) { return s.Infer(s.digits, {}); }},
      {"too few inputs", 2, "Wrong number of ifmaps, expected: 2, received: 1",
       [](S s) {
         return s.Infer(s.pair, {{"a", std::string(s.pair_bytes, '\0')}});
       }},
      {"too many inputs", 2, "Wrong number of ifmaps, expected: 1, received: 2",
       [](S s) {
         return s.Infer(s.digits, {{"input:0", s.image}, {"input:1", s.image}});
       }},
      {"wrong name", 2, "[inputs:0]",
       [](S s) {
         return s.Infer(s.digits, {{"inputs:0", s.image}});
       }},
      {"name cut short", 2, "[input]",
       [](S s) {
         return s.Infer(s.digits, {{"input", s.image}});
       }},
      {"doubled input", 2, "[a] was given twice",
       [](S s) {
         const std::string zeros(s.pair_bytes, '\0');
         return s.Infer(s.pair, {{"a", zeros}, {"a", zeros}});
       }},
      {"input too short", 2, "Invalid data length for [input:0], received 255, expected 256",
       [](S s) {
         return s.Infer(s.digits, {{"input:0", s.image.substr(1)}});
       }},
      {"input too long", 2, "Invalid data length for [input:0], received 257, expected 256",
       [](S s) {
         return s.Infer(s.digits, {{"input:0", s.image + "x"}});
       }},
      {"empty input", 2, "Invalid data length for [input:0], received 0, expected 256",
       [](S s) {
         return s.Infer(s.digits, {{"input:0", ""}});
       }},
      {"posted input too short", 2, "Invalid data length for [input:0], received 1, expected 256",
       [](S s) {
         return s.client.Post(InferRequest(s.digits, {{"input:0", "x"}})).status();
       }},
      {"input in shared memory that is not mapped", 1002, "/nothing",
       [](S s) {
         nrt::infer_request request = InferRequest(s.digits, {});
         *request.add_ifmap() = SharedTensor("input:0", "/nothing");
         return s.client.Infer(request).status();
       }},
      {"output into shared memory that is not mapped", 1002, "/nothing",
       [](S s) {
         nrt::infer_request request = InferRequest(s.digits, {{"input:0", s.image}});
         *request.add_shm_ofmap() = SharedTensor("output:0", "/nothing");
         return s.client.Infer(request).status();
       }},
      {"output of a wrong name", 2, "[output:1]",
       [](S s) {
         nrt::infer_request request = InferRequest(s.digits, {{"input:0", s.image}});
         *request.add_shm_ofmap() = SharedTensor("output:1", "/nothing");
         return s.client.Infer(request).status();
       }},
      {"output that names no place", 2, "names no shared memory",
       [](S s) {
         nrt::infer_request request = InferRequest(s.digits, {{"input:0", s.image}});
         request.add_shm_ofmap()->set_name("output:0");
         return s.client.Infer(request).status();
       }},
  };
}

class BadInputTest : public DaemonTest {
 protected:
  void RunRows(const std::vector<Row>& rows) {
    const compiler::Case pair = compiler::LoadCase("add_same_shape");
    const Scene scene{.client = client(),
                      .digits_neff = digits_neff(),
                      .image = digits().images[0],
                      .digits = Load({.neff = digits_neff()}),
                      .pair = Load({.neff = CompileCase("add_same_shape")}),
                      .pair_bytes = pair.inputs.at("a").data.size(),
                      .folder = folder_.path()};
    ExpectReads(scene.digits);
    const Usage before = ReadUsage(client());
    for (const Row& row : rows) {
      SCOPED_TRACE(row.name);
      EXPECT_THAT(row.act(scene), HasStatus(row.code, row.words));
      ExpectReads(scene.digits, 1);
      EXPECT_EQ(ReadUsage(client()), before);
    }
    EXPECT_EQ(client().Health().state(), "ok");
  }
};

TEST_F(BadInputTest, EveryBadNeffIsRefusedAndLeavesNothing) {
  RunRows(NeffRows());
}
TEST_F(BadInputTest, EveryBadFileIsRefusedAndLeavesNothing) {
  RunRows(FileRows());
}
TEST_F(BadInputTest, EveryBadHandleOrParameterIsRefusedAndLeavesNothing) {
  RunRows(HandleRows());
}
TEST_F(BadInputTest, EveryBadTensorIsRefusedAndLeavesNothing) {
  RunRows(TensorRows());
}

}  // namespace
}  // namespace nrtd::integration
