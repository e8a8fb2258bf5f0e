// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>

#include "base/unique_fd.h"
#include "tools/client/connection.h"
#include "tools/client/daemon.h"

namespace nrtd::client {
namespace {

struct NeffFile {
  UniqueFd fd;
  uint64_t size = 0;
};

Result<NeffFile> OpenNeff(const std::string& path) {
  NeffFile file{UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC))};
  if (!file.fd) return Fail(Nerr::kInvalid, "cannot open {}: {}", path, ErrnoText(errno));
  struct stat info {};
  if (::fstat(file.fd.get(), &info) != 0)
    return Fail(Nerr::kInvalid, "cannot stat {}: {}", path, ErrnoText(errno));
  if (!S_ISREG(info.st_mode)) return Fail(Nerr::kInvalid, "{} is not a regular file", path);
  if (info.st_size == 0) return Fail(Nerr::kInvalid, "{} is empty; it is no NEFF", path);
  file.size = static_cast<uint64_t>(info.st_size);
  return file;
}

// Fills `chunk` with the next `size` bytes.
Result<void> ReadExactly(const UniqueFd& fd, uint64_t size, const std::string& path,
                         std::string& chunk) {
  chunk.resize(size);
  size_t filled = 0;
  while (filled < size) {
    const ssize_t count = ::read(fd.get(), chunk.data() + filled, size - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail(Nerr::kInvalid, "cannot read {}: {}", path, ErrnoText(errno));
    if (count == 0) return Fail(Nerr::kInvalid, "{} became shorter while it was sent", path);
    filled += static_cast<size_t>(count);
  }
  return {};
}

using Writer = grpc::ClientWriter<nrt::load_request>;

// False once the daemon has ended the call: it has found an error and its answer says which.
bool SendHandles(Writer& writer, const LoadOptions& options) {
  nrt::load_request request;
  if (options.group_id) {
    request.mutable_h_eg()->set_id(*options.group_id);
    if (!writer.Write(request)) return false;
  }
  if (options.session_id) {
    request.set_session_id(*options.session_id);
    if (!writer.Write(request)) return false;
  }
  return true;
}

bool SendParameters(Writer& writer, const LoadOptions& options) {
  nrt::load_request request;
  nrt::model_params& parameters = *request.mutable_model_params();
  if (options.timeout_s) parameters.mutable_timeout()->set_data(*options.timeout_s);
  if (options.ninfer) parameters.mutable_ninfer()->set_data(*options.ninfer);
  return writer.Write(request);
}

bool SendPath(Writer& writer, const LoadOptions& options, const std::string& path) {
  nrt::load_request request;
  request.set_neff_file(path);
  return SendHandles(writer, options) && SendParameters(writer, options) && writer.Write(request);
}

// `read(at, size, chunk)` fills a chunk with bytes of the NEFF.
template <typename Read>
Result<void> SendContent(Writer& writer, const LoadOptions& options, uint64_t neff_size,
                         const Read& read) {
  nrt::load_request request;
  if (!SendHandles(writer, options)) return {};
  request.set_neff_size(neff_size);
  if (!writer.Write(request) || !SendParameters(writer, options)) return {};
  for (uint64_t sent = 0; sent < neff_size;) {
    const uint64_t size = std::min(kNeffChunk, neff_size - sent);
    NRTD_TRY(read(sent, size, *request.mutable_neff_chunk()->mutable_chunk()));
    if (!writer.Write(request)) return {};
    sent += size;
  }
  return {};
}

Result<void> SendNeff(Writer& writer, const LoadOptions& options, const NeffFile& file) {
  if (!options.neff_bytes.empty()) {
    return SendContent(writer, options, options.neff_bytes.size(),
                       [&](uint64_t at, uint64_t size, std::string& chunk) -> Result<void> {
                         chunk.assign(options.neff_bytes.substr(at, size));
                         return {};
                       });
  }
  return SendContent(writer, options, file.size, [&](uint64_t, uint64_t size, std::string& chunk) {
    return ReadExactly(file.fd, size, options.neff_path, chunk);
  });
}

}  // namespace

Result<uint32_t> Daemon::Load(const LoadOptions& options) {
  grpc::ClientContext context;
  nrt::load_response response;
  if (options.by_path) {
    std::error_code error;
    const std::filesystem::path path = std::filesystem::absolute(options.neff_path, error);
    if (error) {
      return Fail(Nerr::kInvalid, "cannot make {} absolute: {}", options.neff_path,
                  error.message());
    }
    const auto writer = connection_->nmgr->load(&context, &response);
    if (SendPath(*writer, options, path.lexically_normal().string())) writer->WritesDone();
    NRTD_TRY(connection_->CheckTransport("load", writer->Finish()));
  } else {
    NeffFile file;
    if (options.neff_bytes.empty()) {
      NRTD_ASSIGN(file, OpenNeff(options.neff_path));
    }
    const auto writer = connection_->nmgr->load(&context, &response);
    if (auto sent = SendNeff(*writer, options, file); !sent) {
      context.TryCancel();
      (void)writer->Finish();
      return tl::unexpected<Error>(std::move(sent).error());
    }
    writer->WritesDone();
    NRTD_TRY(connection_->CheckTransport("load", writer->Finish()));
  }
  NRTD_TRY(CheckStatus("load", response.status()));
  return response.h_nn().id();
}

}  // namespace nrtd::client
