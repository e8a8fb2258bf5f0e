// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/neff_upload.h"

#include <algorithm>
#include <filesystem>

#include "neff/limits.h"

namespace nrtd::service {
namespace {

// Taken at once for an upload that says its size; a larger one grows as it arrives.
constexpr uint64_t kMaxReserve = 64 * kMiB;

}  // namespace

Result<void> NeffUpload::Add(const nrt::load_request& message) {
  switch (message.content_case()) {
    case nrt::load_request::kHEg:
      request_.group = message.h_eg().id();
      return {};
    case nrt::load_request::kModelParams:
      request_.timeout_seconds = message.model_params().timeout().data();
      request_.ninfer = message.model_params().ninfer().data();
      return {};
    case nrt::load_request::kNeffSize:
      declared_size_ = message.neff_size();
      has_size_ = true;
      data_.reserve(std::min(declared_size_, kMaxReserve));
      return {};
    case nrt::load_request::kNeffChunk:
      return AddChunk(message.neff_chunk().chunk());
    case nrt::load_request::kNeffFile:
      path_ = message.neff_file();
      return {};
    case nrt::load_request::kSessionId:
      request_.owner.session = message.session_id();
      return {};
    case nrt::load_request::CONTENT_NOT_SET:
      break;
  }
  return Fail(Nerr::kInvalid, "a message of the load stream has no field that this daemon knows");
}

Result<void> NeffUpload::AddChunk(const std::string& chunk) {
  const uint64_t total = data_.size() + chunk.size();
  if (has_size_ && total > declared_size_) {
    return Fail(Nerr::kInvalid, "Wrong NEFF file size: {} bytes were announced, {} arrived so far",
                declared_size_, total);
  }
  const uint64_t limit = neff::Limits{}.max_neff_bytes;
  if (total > limit) return Fail(Nerr::kInvalid, "Wrong NEFF file size: more than {} bytes", limit);
  const ByteSpan bytes = AsBytes(chunk);
  data_.insert(data_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<runtime::LoadRequest> NeffUpload::Finish() {
  if (!path_.empty()) {
    if (has_size_ || !data_.empty())
      return Fail(Nerr::kInvalid, "a load names a NEFF file or sends it, not both");
    request_.neff = std::filesystem::path(path_);
    return std::move(request_);
  }
  if (!has_size_) return Fail(Nerr::kInvalid, "Wrong NEFF file size: the load sent no neff_size");
  if (data_.size() != declared_size_) {
    return Fail(Nerr::kInvalid, "Wrong NEFF file size: {} bytes were announced, {} arrived",
                declared_size_, data_.size());
  }
  request_.neff = std::move(data_);
  return std::move(request_);
}

}  // namespace nrtd::service
