// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/clients.h"

#include <charconv>
#include <string_view>

#include "base/log.h"

namespace nrtd::service {
namespace {

// 17 of "fd:17", or nothing.
std::optional<int> DescriptorOf(std::string_view peer) {
  constexpr std::string_view kPrefix = "fd:";
  if (!peer.starts_with(kPrefix)) return std::nullopt;
  int number = 0;
  const char* const end = peer.data() + peer.size();
  const auto [parsed, error] = std::from_chars(peer.data() + kPrefix.size(), end, number);
  if (error != std::errc() || parsed != end) return std::nullopt;
  return number;
}

constexpr const char* kClientGone = "the client has gone";

}  // namespace

runtime::Client Clients::Connected(int number, runtime::Peer peer) {
  runtime::Client client = runtime_.sessions().Connect(std::move(peer));
  LogForClient(LogLevel::kDebug, "NMGR:Client", "{} connected{}{}", client.Text(),
               client.peer.cgroup.empty() ? "" : ", cgroup ", AsIs(client.peer.cgroup));
  MutexLock lock(mutex_);
  by_number_.insert_or_assign(number, client);
  return client;
}

std::optional<runtime::Client> Clients::Disconnected(int number) {
  MutexLock lock(mutex_);
  auto found = by_number_.extract(number);
  if (!found) return std::nullopt;
  LogForClient(LogLevel::kDebug, "NMGR:Client", "{} disconnected", found.mapped().Text());
  return std::move(found.mapped());
}

runtime::Client Clients::Find(const grpc::ServerContext& context) const {
  if (by_tcp_) return {};
  runtime::Client gone;
  gone.process = runtime::kNoProcess;
  const auto number = DescriptorOf(context.peer());
  if (!number) return gone;
  MutexLock lock(mutex_);
  const auto found = by_number_.find(*number);
  return found != by_number_.end() ? found->second : gone;
}

Result<void> Rights::CheckThere() const {
  if (client.process != runtime::kNoProcess) return {};
  return Fail(Nerr::kInvalidHandle, "{}", kClientGone);
}

Rights Clients::RightsOf(const grpc::ServerContext& context) const {
  Rights rights;
  rights.client = Find(context);
  rights.asking = rules_.AskingAs(rights.client);
  return rights;
}

runtime::ProcessKey Clients::AskingAs(const grpc::ServerContext& context) const {
  if (rules_.isolation == runtime::Isolation::kNone) return runtime::kAnyProcess;
  return RightsOf(context).asking;
}

}  // namespace nrtd::service
