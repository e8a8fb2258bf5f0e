// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "tools/client/connection.h"
#include "tools/client/daemon.h"

namespace nrtd::client {

struct Session::Stream {
  grpc::ClientContext context;
  std::unique_ptr<
      grpc::ClientReaderWriter<nrt::session_monitor_request, nrt::session_monitor_response>>
      calls;
  uint64_t id = 0;
};

Session::Session(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}
Session::~Session() {
  if (stream_ == nullptr) return;
  stream_->context.TryCancel();
  (void)stream_->calls->Finish();
}

uint64_t Session::id() const {
  return stream_->id;
}

void Session::AwaitEnd() {
  nrt::session_monitor_response response;
  while (stream_->calls->Read(&response)) {
  }
}

void Session::End() {
  stream_->context.TryCancel();
}

Result<Session> Daemon::OpenSession(const std::string& framework) {
  auto stream = std::make_unique<Session::Stream>();
  stream->calls = connection_->sessions->session_monitor(&stream->context);
  nrt::session_monitor_response response;
  if (!stream->calls->Read(&response)) {
    const grpc::Status status = stream->calls->Finish();
    NRTD_TRY(connection_->CheckTransport("session_monitor", status));
    return Fail(Nerr::kFail, "session_monitor: the daemon at {} opens no session", address());
  }
  stream->id = response.session_id();
  nrt::session_monitor_request request;
  request.set_framework_name(framework);
  (void)stream->calls->Write(request);
  return Session(std::move(stream));
}

}  // namespace nrtd::client
