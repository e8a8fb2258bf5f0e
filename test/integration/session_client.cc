// SPDX-License-Identifier: Apache-2.0
//
// session-client ADDRESS NEFF SHM: a client as a framework's process is one. Opens a session, and
// under it loads the NEFF into a group of its own, makes another group, maps the shared memory SHM
// and posts inferences. Then it prints the session's id and does nothing until it is killed or its
// stdin ends.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>

#include <sys/mman.h>

#include "test/integration/rtd_client.h"

namespace nrtd::integration {
namespace {

void Must(const nrt::status& status) {
  if (status.code() != 0)
    throw std::runtime_error(std::to_string(status.code()) + ": " + status.details());
}

std::vector<nrt::load_request> LoadMessages(const std::string& neff, uint64_t session) {
  std::ifstream file(neff, std::ios::binary);
  const std::string content(std::istreambuf_iterator<char>(file), {});
  std::vector<nrt::load_request> messages(3);
  messages[0].set_session_id(session);
  messages[1].set_neff_size(content.size());
  messages[2].mutable_neff_chunk()->set_chunk(content);
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

void Run(const std::string& address, const std::string& neff, const std::string& shm) {
  RtdClient client(address);
  const auto session = client.OpenSession();
  session->Write({});
  const uint64_t id = session->Read().session_id();
  const auto loaded = client.Load(LoadMessages(neff, id));
  Must(loaded.status());
  Must(client.CreateGroup(1, id).status());
  nrt::shm_map_request map;
  map.set_path(shm);
  map.set_mmap_prot(PROT_READ | PROT_WRITE);
  map.set_session_id(id);
  Must(client.Map(map).status());
  const nrt::infer_request request = Zeros(client, loaded.h_nn().id());
  for (int i = 0; i < 2; ++i) Must(client.Post(request).status());
  std::cout << id << std::endl;
  std::cin.get();
  // Without goodbye, as a process that crashed.
  std::_Exit(EXIT_SUCCESS);
}

}  // namespace
}  // namespace nrtd::integration

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    nrtd::integration::Run(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::cerr << "session-client: " << error.what() << '\n';
  }
  return 1;
}
