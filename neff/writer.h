// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "neff/blob.h"
#include "neff/neff.h"

namespace nrtd::neff {

// All of a NEFF, for compilers. Values as in Neff, with these rules: Subgraph::variables by rising
// var_id, queues by rising name, engines in the order of kEngineNames; instructions are taken from
// EngineProgram::instructions; the file of a file variable stands in `files` under its path
// ("sg00/w.npy" for file_name "w.npy" of sg00). Blobs may borrow: nothing of them is copied before
// it goes into the tar.
struct NeffContents {
  // Used: version, build_version, uuid, name, requested_tpb_count (0: num_tpb), feature_bits,
  // lnc_size. The rest is computed: pkg_version is 1 (SHA-256), the cores are counted from `kelfs`.
  Header header;
  Info info;  // name: the header's if empty; tool_version: the header's build_version if empty
  Graph graph;
  KelfMap kelfs;
  std::map<std::string, Blob, std::less<>> files;  // weights and anything else
};

struct WriteOptions {
  bool gzip = false;  // readers map plain NEFFs without a copy; compressed ones they must unpack
};

// The same contents give the same bytes: files in the order of their paths, no times or owners.
// kInvalid for contents that ReadNeff() would refuse or read differently, with its reason.
Result<ByteVector> SerializeNeff(const NeffContents& contents, const WriteOptions& options = {});

// The same into a file, without a copy in memory; written beside it and renamed. kResource or
// kInvalid with errno's text if the file cannot be written.
Result<void> WriteNeff(const NeffContents& contents, const std::string& path,
                       const WriteOptions& options = {});

}  // namespace nrtd::neff
