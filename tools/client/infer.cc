// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <new>
#include <utility>

#include "rpc/call_queue.h"
#include "rpc/raw_service.h"
#include "tools/client/connection.h"

namespace nrtd::client {
namespace {

constexpr const char* kInfer = "/nrt.nmgr_v1/infer";

// An inference under way. Owns itself.
class StartedInfer final : public rpc::Call {
 public:
  StartedInfer(const Connection& connection, InferDone done)
      : Call(*connection.queue), connection_(connection), done_(std::move(done)) {}

  void Start(Duration timeout, const grpc::ByteBuffer& request) {
    SetTimeout(context_, timeout);
    reader_ = connection_.raw->PrepareUnaryCall(&context_, kInfer, request, queue().completions());
    reader_->StartCall();
    reader_->Finish(&bytes_, &status_, this);
  }

  void Proceed(bool) override {
    nrt::infer_response response;
    const Result<void> ended = Take(response);
    done_(ended, response);
    delete this;
  }

 private:
  Result<void> Take(nrt::infer_response& response) {
    NRTD_TRY(connection_.CheckTransport("infer", status_));
    if (bytes_.Length() > rpc::kShortMessage) rpc::CallQueue::HandOver();
    try {
      if (!rpc::Decode(bytes_, response))
        return Fail(Nerr::kFail, "infer: the answer of {} cannot be read", connection_.address);
    } catch (const std::bad_alloc&) {
      return Fail(Nerr::kResource, "infer: no memory for the answer of {}", connection_.address);
    }
    return CheckStatus("infer", response.status());
  }

  const Connection& connection_;
  const InferDone done_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader_;
  grpc::ByteBuffer bytes_;
  grpc::Status status_;
};

Result<grpc::ByteBuffer> EncodeRequest(const nrt::infer_request& request) {
  try {
    return rpc::Encode(request);
  } catch (const std::bad_alloc&) {
    return Fail(Nerr::kResource, "no memory for a request of {} bytes", request.ByteSizeLong());
  }
}

}  // namespace

void Daemon::StartInfer(Duration timeout, const nrt::infer_request& request, InferDone done) {
  auto encoded = EncodeRequest(request);
  if (!encoded) {
    nrt::infer_response none;
    done(tl::unexpected<Error>(std::move(encoded.error()).In("infer")), none);
    return;
  }
  (new StartedInfer(*connection_, std::move(done)))->Start(timeout, *encoded);
}

}  // namespace nrtd::client
