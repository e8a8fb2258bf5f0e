// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/cookie_table.h"

#include <utility>

namespace nrtd::runtime {
namespace {

tl::unexpected<Error> NoSuchCookie(uint64_t cookie) {
  return Fail(Nerr::kInvalidHandle, "Failed to find inference: {}; a cookie can be used once",
              cookie);
}

}  // namespace

uint64_t CookieTable::Add(Inference inference) {
  MutexLock lock(mutex_);
  const uint64_t cookie = next_++;
  // Unloading begins before the last DropNetwork(): nobody would ever drop this one.
  if (inference.network().state() != NetworkState::kUnloading)
    inferences_.emplace(cookie, std::move(inference));
  return cookie;
}

Result<Inference> CookieTable::Take(uint64_t cookie) {
  MutexLock lock(mutex_);
  auto node = inferences_.extract(cookie);
  if (!node) return NoSuchCookie(cookie);
  return std::move(node.mapped());
}

Result<Inference> CookieTable::TakeIfDone(uint64_t cookie) {
  MutexLock lock(mutex_);
  const auto found = inferences_.find(cookie);
  if (found == inferences_.end()) return NoSuchCookie(cookie);
  if (!found->second.Done())
    return Fail(Nerr::kInferPending, "inference {} is still running", cookie);
  Inference inference = std::move(found->second);
  inferences_.erase(found);
  return inference;
}

Result<bool> CookieTable::Done(uint64_t cookie) {
  MutexLock lock(mutex_);
  const auto found = inferences_.find(cookie);
  if (found == inferences_.end()) return NoSuchCookie(cookie);
  return found->second.Done();
}

void CookieTable::DropNetwork(NetworkId network) {
  std::vector<Inference> dropped;  // their slots go back without the lock
  MutexLock lock(mutex_);
  for (auto it = inferences_.begin(); it != inferences_.end();) {
    if (it->second.network().info().id == network) {
      dropped.push_back(std::move(it->second));
      it = inferences_.erase(it);
    } else {
      ++it;
    }
  }
  lock.Unlock();
}

}  // namespace nrtd::runtime
