// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "base/bytes.h"

namespace nrtd::neff {

// Constant bytes that are either owned (shared by all copies) or borrowed from someone who outlives
// every copy, such as the Neff they were read from. Cheap to copy. Compares by content.
class Blob {
 public:
  Blob() = default;
  static Blob Own(ByteVector bytes) {
    Blob blob;
    blob.owned_ = std::make_shared<const ByteVector>(std::move(bytes));
    blob.bytes_ = *blob.owned_;
    return blob;
  }
  static Blob View(ByteSpan bytes) {
    Blob blob;
    blob.bytes_ = bytes;
    return blob;
  }

  ByteSpan bytes() const { return bytes_; }
  uint64_t size() const { return bytes_.size(); }

  bool operator==(const Blob& other) const { return std::ranges::equal(bytes_, other.bytes_); }

 private:
  std::shared_ptr<const ByteVector> owned_;
  ByteSpan bytes_;
};

}  // namespace nrtd::neff
