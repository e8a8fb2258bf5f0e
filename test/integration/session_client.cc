// SPDX-License-Identifier: Apache-2.0
//
// session-client ADDRESS NEFF SHM [--no-session] [--uid N] [--quiet] [--infer N]: a client as a
// framework's process is one. Opens a session, and under it loads the NEFF into a group of its own,
// makes another group, maps the shared memory SHM and posts inferences. Then it prints the
// session's id, the network's, the other group's and a cookie in one line, and does nothing until
// it is killed or its stdin ends, or waits for N inferences at once. With --uid it is another
// user's process; with --quiet it does not say why it failed.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <thread>

#include <sys/mman.h>
#include <unistd.h>

#include "test/integration/rtd_client.h"

namespace nrtd::integration {
namespace {

void Must(const nrt::status& status) {
  if (status.code() != 0)
    throw std::runtime_error(std::to_string(status.code()) + ": " + status.details());
}

std::vector<nrt::load_request> LoadMessages(const std::string& neff, uint64_t session, int ninfer) {
  std::ifstream file(neff, std::ios::binary);
  const std::string content(std::istreambuf_iterator<char>(file), {});
  std::vector<nrt::load_request> messages(4);
  messages[0].set_session_id(session);
  messages[1].set_neff_size(content.size());
  messages[2].mutable_neff_chunk()->set_chunk(content);
  messages[3].mutable_model_params()->mutable_ninfer()->set_data(static_cast<uint32_t>(ninfer));
  return messages;
}

nrt::infer_request Zeros(RtdClient& client, uint32_t network) {
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(network);
  const auto listed = client.ListNetworks();
  for (const v1::Network& known : listed.networks()) {
    if (known.id() != network) continue;
    for (const v1::Tensor& tensor : known.inputs()) {
      nrt::infer_io& input = *request.add_ifmap();
      input.set_name(tensor.name());
      input.set_buf(std::string(tensor.bytes(), '\0'));
    }
  }
  return request;
}

struct Arguments {
  std::string address;
  std::string neff;
  std::string shm;
  bool session = true;
  bool quiet = false;
  int infer = 0;
  uid_t uid = 0;  // 0: the one it was started as
};

void Run(const Arguments& arguments) {
  if (arguments.uid != 0 && ::setuid(arguments.uid) != 0) throw std::runtime_error("setuid");
  RtdClient client(arguments.address);
  std::unique_ptr<SessionStream> session;
  uint64_t id = 0;
  if (arguments.session) {
    session = client.OpenSession();
    session->Write({});
    id = session->Read().session_id();
  }
  const auto loaded = client.Load(LoadMessages(arguments.neff, id, arguments.infer));
  Must(loaded.status());
  const auto group = client.CreateGroup(1, id);
  Must(group.status());
  nrt::shm_map_request map;
  map.set_path(arguments.shm);
  map.set_mmap_prot(PROT_READ | PROT_WRITE);
  map.set_session_id(id);
  Must(client.Map(map).status());
  const nrt::infer_request request = Zeros(client, loaded.h_nn().id());
  uint64_t cookie = 0;
  for (int i = 0; i < 2 && arguments.infer == 0; ++i) {
    const auto posted = client.Post(request);
    Must(posted.status());
    cookie = posted.cookie();
  }
  std::cout << id << ' ' << loaded.h_nn().id() << ' ' << group.h_eg().id() << ' ' << cookie
            << std::endl;
  for (int i = 0; i < arguments.infer; ++i)
    std::thread([&] { (void)client.Infer(request); }).detach();
  std::cin.get();
  // Without goodbye, as a process that crashed.
  std::_Exit(EXIT_SUCCESS);
}

}  // namespace
}  // namespace nrtd::integration

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  nrtd::integration::Arguments arguments{.address = argv[1], .neff = argv[2], .shm = argv[3]};
  for (int i = 4; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--no-session") arguments.session = false;
    if (word == "--quiet") arguments.quiet = true;
    if (word == "--infer" && i + 1 < argc) arguments.infer = std::stoi(argv[++i]);
    if (word == "--uid" && i + 1 < argc) arguments.uid = static_cast<uid_t>(std::stoul(argv[++i]));
  }
  try {
    nrtd::integration::Run(arguments);
  } catch (const std::exception& error) {
    if (!arguments.quiet) std::cerr << "session-client: " << error.what() << '\n';
  }
  return 1;
}
