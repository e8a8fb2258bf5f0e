// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 by Boost.Beast, for APIs and pages that answer a request whole.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"

namespace nrtd {

// What clients may make the server hold.
inline constexpr uint64_t kMaxHttpBody = 64ULL << 20;     // bytes, also when it was compressed
inline constexpr uint64_t kMaxHttpBodies = 512ULL << 20;  // bytes that have come for all requests
inline constexpr uint32_t kMaxHttpHeader = 16U << 10;     // bytes
inline constexpr size_t kMaxHttpConnections = 512;        // more wait to be accepted
inline constexpr int kHttpSeconds = 60;       // for a header, for more of a body, for an answer
inline constexpr int kHttpBodySeconds = 600;  // for a whole body

struct HttpRequest {
  std::string method;  // "POST"
  std::string target;  // with its query
  std::string body;
};
struct HttpAnswer {
  int code = 200;
  std::string content_type = "application/json";
  std::string body;
  bool close = false;
};

// A page like that of the original's HTTP library, for what is not part of the API.
HttpAnswer ErrorPage(int code, const std::string& reason);

// Threadsafe.
class HttpServer {
 public:
  using Handler = std::function<HttpAnswer(const HttpRequest&)>;

  // Listens on all addresses; port 0: one that is free. Requests are answered by so many threads.
  // kInvalid: the port is taken.
  static Result<std::unique_ptr<HttpServer>> Start(uint16_t port, unsigned threads,
                                                   Handler handler);
  // Takes no more connections and no more requests; those under way are answered.
  virtual void StopAccepting() = 0;
  // StopAccepting(), and waits until all answers have gone.
  virtual ~HttpServer() = default;

  virtual uint16_t port() const = 0;
};

}  // namespace nrtd
