// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace nrtd {

Sha256Digest Sha256(ByteSpan bytes) {
  Sha256Digest digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return digest;
}

Result<Sha256Digest> Sha256(ByteSpan bytes, const std::stop_token& stop) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1)
    return Fail(Nerr::kResource, "no memory to compute a SHA-256");
  while (!bytes.empty()) {
    NRTD_TRY(CheckWanted(stop));
    const ByteSpan part = bytes.first(std::min<size_t>(bytes.size(), kWantedGrain));
    EVP_DigestUpdate(context.get(), part.data(), part.size());
    bytes = bytes.subspan(part.size());
  }
  Sha256Digest digest{};
  EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
  return digest;
}

Md5Digest Md5(ByteSpan bytes) {
  Md5Digest digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_md5(), nullptr);
  return digest;
}

std::string Hex(std::span<const uint8_t> bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace nrtd
