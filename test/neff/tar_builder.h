// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include <archive_entry.h>

#include "base/bytes.h"

namespace nrtd::neff {

// Any tar, also those that no NEFF should hold.
struct TarEntry {
  std::string path = {};
  std::string content = {};
  unsigned type = AE_IFREG;
  std::string link = {};  // target, with AE_IFLNK or, for a hard link, with AE_IFREG
  bool hard_link = false;
  unsigned mode = 0644;
  std::string owner = {};
};

struct TarOptions {
  bool gzip = false;
  bool gnu = false;  // GNU's format instead of ustar and pax
  bool xz = false;
};

ByteVector MakeTar(const std::vector<TarEntry>& entries, const TarOptions& options = {});
ByteVector MakeTarOf(const std::map<std::string, std::string>& files,
                     const TarOptions& options = {});

// Makes the checksum of the tar header at `at` right again after a change.
void FixChecksum(ByteVector& tar, size_t at);

}  // namespace nrtd::neff
