// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 for the REST API, by Boost.Beast.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/error.h"
#include "serving/rest/rest_api.h"

namespace nrtd::serving {

// What a client may make the server hold.
inline constexpr uint64_t kMaxHttpBody = 64ULL << 20;     // bytes, also when it was compressed
inline constexpr uint64_t kMaxHttpBodies = 512ULL << 20;  // bytes of all requests under way
inline constexpr uint32_t kMaxHttpHeader = 16U << 10;     // bytes
inline constexpr size_t kMaxHttpConnections = 512;        // more wait to be accepted
inline constexpr int kHttpSeconds =
    60;  // for a header to come, for a body, and for an answer to go

class HttpServer {
 public:
  using Handler = std::function<HttpAnswer(const HttpRequest&)>;

  // Listens on all addresses; port 0: one that is free. Requests are answered by so many threads.
  // kInvalid: the port is taken.
  static Result<std::unique_ptr<HttpServer>> Start(uint16_t port, unsigned threads,
                                                   Handler handler);
  // Answers the requests under way, and takes no more.
  virtual ~HttpServer() = default;

  virtual uint16_t port() const = 0;
};

}  // namespace nrtd::serving
