// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/neff_upload.h"

#include <algorithm>
#include <filesystem>

#include "base/sealed_memory.h"
#include "base/sizes.h"
#include "neff/limits.h"

namespace nrtd::service {
namespace {

// Reserved at once for an upload that says its size; a larger one grows as it arrives.
constexpr uint64_t kMaxReserve = 8 * kMiB;
const uint64_t kMostBytes = neff::Limits{}.max_neff_bytes;

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
      return SetSize(message.neff_size());
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

Result<void> NeffUpload::SetSize(uint64_t size) {
  if (size > kMostBytes) {
    return Fail(Nerr::kInvalid,
                "Wrong NEFF file size: {} bytes were announced, at most {} are taken", size,
                kMostBytes);
  }
  declared_size_ = size;
  has_size_ = true;
  return Reserve(std::min(size, kMaxReserve));
}

Result<void> NeffUpload::AddChunk(const std::string& chunk) {
  const uint64_t total = size_ + chunk.size();
  if (has_size_ && total > declared_size_) {
    return Fail(Nerr::kInvalid, "Wrong NEFF file size: {} bytes were announced, {} arrived so far",
                declared_size_, total);
  }
  if (total > kMostBytes)
    return Fail(Nerr::kInvalid, "Wrong NEFF file size: more than {} bytes", kMostBytes);
  if (total > data_.size()) {
    const uint64_t most = has_size_ ? declared_size_ : kMostBytes;
    NRTD_TRY(Reserve(std::max(total, std::min(2 * data_.size(), most))));
  }
  std::ranges::copy(AsBytes(chunk), data_.data() + size_);
  const bool was_small = size_ < kTransparentHugePage;
  size_ = total;
  // Before there is so much, a huge page would be more than what has arrived.
  if (was_small && size_ >= kTransparentHugePage) PreferHugePages(data_.data(), data_.size());
  return {};
}

Result<void> NeffUpload::Reserve(uint64_t bytes) {
  // A mapping of whole huge pages keeps them when it moves.
  const uint64_t room = AlignUp(bytes, bytes < kTransparentHugePage ? kPage : kTransparentHugePage);
  if (room <= data_.size()) return {};
  if (account_ != nullptr && charge_.amount() == 0) {
    NRTD_ASSIGN(charge_, account_->Take(runtime::Holding::kNetworkBytes, room));
  } else {
    NRTD_TRY(charge_.Resize(room));
  }
  if (auto grown = data_.Resize(room); !grown)
    return tl::unexpected<Error>(std::move(grown.error()).In("cannot take the NEFF"));
  if (size_ >= kTransparentHugePage) PreferHugePages(data_.data(), data_.size());
  return {};
}

Result<runtime::LoadRequest> NeffUpload::Finish() {
  if (!path_.empty()) {
    if (has_size_ || size_ != 0)
      return Fail(Nerr::kInvalid, "a load names a NEFF file or sends it, not both");
    request_.neff = std::filesystem::path(path_);
    return std::move(request_);
  }
  if (!has_size_)
    return Fail(Nerr::kInvalid,
                "Wrong NEFF file size: the load sent no neff_size; send it before the chunks");
  if (size_ != declared_size_) {
    return Fail(Nerr::kInvalid,
                "Wrong NEFF file size: {} bytes were announced, {} arrived; send the whole file",
                declared_size_, size_);
  }
  if (size_ != 0) NRTD_TRY(data_.Resize(size_));
  NRTD_TRY(charge_.Resize(data_.size()));
  request_.arrived = std::move(charge_);
  NRTD_ASSIGN(request_.neff, SealedMemory::Seal(std::move(data_)));
  return std::move(request_);
}

}  // namespace nrtd::service
