// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/neff_upload.h"

#include <algorithm>
#include <filesystem>

#include <sys/mman.h>

#include "base/sealed_memory.h"
#include "base/sizes.h"
#include "neff/limits.h"

namespace nrtd::service {
namespace {

// Reserved at once for an upload that says its size; a larger one grows as it arrives.
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
      return Reserve(std::min(declared_size_, kMaxReserve));
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
  const uint64_t total = size_ + chunk.size();
  if (has_size_ && total > declared_size_) {
    return Fail(Nerr::kInvalid, "Wrong NEFF file size: {} bytes were announced, {} arrived so far",
                declared_size_, total);
  }
  const uint64_t limit = neff::Limits{}.max_neff_bytes;
  if (total > limit) return Fail(Nerr::kInvalid, "Wrong NEFF file size: more than {} bytes", limit);
  if (total > data_.size()) NRTD_TRY(Reserve(std::max(total, 2 * data_.size())));
  std::ranges::copy(AsBytes(chunk), data_.data() + size_);
  size_ = total;
  return {};
}

Result<void> NeffUpload::Reserve(uint64_t bytes) {
  if (bytes <= data_.size()) return {};
  if (data_) {
    NRTD_TRY(data_.Resize(bytes));
  } else {
    NRTD_ASSIGN(data_,
                MappedRegion::Map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
  }
  PreferHugePages(data_.data(), data_.size());
  return {};
}

Result<runtime::LoadRequest> NeffUpload::Finish() {
  if (!path_.empty()) {
    if (has_size_ || size_ != 0)
      return Fail(Nerr::kInvalid, "a load names a NEFF file or sends it, not both");
    request_.neff = std::filesystem::path(path_);
    return std::move(request_);
  }
  if (!has_size_) return Fail(Nerr::kInvalid, "Wrong NEFF file size: the load sent no neff_size");
  if (size_ != declared_size_) {
    return Fail(Nerr::kInvalid, "Wrong NEFF file size: {} bytes were announced, {} arrived",
                declared_size_, size_);
  }
  if (size_ != 0) {
    NRTD_TRY(data_.Resize(size_));
    NRTD_ASSIGN(request_.neff, SealedMemory::Seal(std::move(data_)));
  }
  return std::move(request_);
}

}  // namespace nrtd::service
