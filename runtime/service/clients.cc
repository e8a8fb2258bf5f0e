// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/clients.h"

#include <charconv>
#include <optional>
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

Clients::Clients(runtime::SessionTable& sessions, runtime::AccessRules rules, bool by_tcp)
    : sessions_(sessions),
      rules_(std::move(rules)),
      unknown_([&] {
        auto client = std::make_shared<runtime::Client>();
        if (by_tcp) {
          client->account = sessions.ledger().Account(client->process, client->Text());
        } else {
          client->process = runtime::kNoProcess;
        }
        return client;
      }()),
      by_tcp_(by_tcp) {}

Result<std::shared_ptr<const runtime::Client>> Clients::Connected(int number, runtime::Peer peer) {
  auto client = std::make_shared<runtime::Client>(sessions_.Connect(std::move(peer)));
  client->descriptor = number;
  auto charge = client->account->Take(runtime::Holding::kConnections);
  if (!charge) {
    sessions_.Disconnect(client->connection);
    return tl::unexpected<Error>(std::move(charge.error()));
  }
  LogForClient(LogLevel::kDebug, "NMGR:Client", "{} connected{}{}", client->Text(),
               client->peer.cgroup.empty() ? "" : ", cgroup ", AsIs(client->peer.cgroup));
  MutexLock lock(mutex_);
  by_number_.insert_or_assign(number, Connection{client, std::move(*charge)});
  return std::shared_ptr<const runtime::Client>(std::move(client));
}

std::shared_ptr<const runtime::Client> Clients::Disconnected(int number) {
  MutexLock lock(mutex_);
  auto found = by_number_.extract(number);
  if (!found) return nullptr;
  LogForClient(LogLevel::kDebug, "NMGR:Client", "{} disconnected", found.mapped().client->Text());
  return std::move(found.mapped().client);
}

std::vector<int> Clients::DescriptorsOf(runtime::ProcessKey process) const {
  MutexLock lock(mutex_);
  std::vector<int> descriptors;
  for (const auto& [number, connection] : by_number_) {
    if (connection.client->process == process) descriptors.push_back(number);
  }
  return descriptors;
}

std::shared_ptr<const runtime::Client> Clients::Find(const grpc::ServerContext& context) const {
  if (by_tcp_) return unknown_;
  const auto number = DescriptorOf(context.peer());
  if (!number) return unknown_;
  MutexLock lock(mutex_);
  const auto found = by_number_.find(*number);
  return found != by_number_.end() ? found->second.client : unknown_;
}

Result<void> Rights::CheckThere() const {
  if (client.process != runtime::kNoProcess) return {};
  return Fail(Nerr::kInvalidHandle, "{}", kClientGone);
}

Rights Clients::RightsOf(const CallContext& context) const {
  Rights rights;
  rights.client = context.client();
  rights.asking = rules_.AskingAs(rights.client);
  return rights;
}

runtime::ProcessKey Clients::AskingAs(const CallContext& context) const {
  if (rules_.isolation == runtime::Isolation::kNone) return runtime::kAnyProcess;
  return rules_.AskingAs(context.client());
}

}  // namespace nrtd::service
