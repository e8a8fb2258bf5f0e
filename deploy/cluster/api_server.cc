// SPDX-License-Identifier: Apache-2.0
#include "deploy/cluster/api_server.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <curl/curl.h>

#include "base/mutex.h"
#include "deploy/cluster/fields.h"

namespace nrtd::deploy {
namespace {

using nlohmann::json;

constexpr long kSeconds = 10;
constexpr size_t kMostAnswer = 256U << 20;
constexpr int kPage = 500;
constexpr size_t kMostText = 512;  // of what a server says that is no API server

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

size_t Append(char* bytes, size_t size, size_t count, void* into) {
  auto& body = *static_cast<std::string*>(into);
  if (body.size() + size * count > kMostAnswer) return 0;
  body.append(bytes, size * count);
  return size * count;
}

struct Headers {
  curl_slist* items = nullptr;
  ~Headers() { curl_slist_free_all(items); }
  void Add(const std::string& text) { items = curl_slist_append(items, text.c_str()); }
};

class CurlApiServer final : public ApiServer {
 public:
  CurlApiServer(std::string url, std::string account)
      : url_(std::move(url)), account_(std::move(account)), curl_(curl_easy_init()) {}
  ~CurlApiServer() override { curl_easy_cleanup(curl_); }

  Result<json> Get(const std::string& path) override { return Ask("GET", path, "", ""); }
  Result<void> Patch(const std::string& path, const json& changes) override {
    NRTD_TRY(Ask("PATCH", path, "application/merge-patch+json", changes.dump()));
    return {};
  }
  Result<void> Create(const std::string& path, const json& object) override {
    NRTD_TRY(Ask("POST", path, "application/json", object.dump()));
    return {};
  }

 private:
  Result<json> Ask(const std::string& method, const std::string& path, const std::string& type,
                   const std::string& body);

  const std::string url_;
  const std::string account_;
  Mutex mutex_;
  CURL* const curl_ NRTD_PT_GUARDED_BY(mutex_);  // keeps the connection
};

// What went wrong, out of the answer's Status if it is one.
std::string ReasonOf(const std::string& body) {
  const auto status = ParseObject(body);
  if (status && TextAt(*status, {"kind"}) == "Status") return TextAt(*status, {"message"});
  return body.substr(0, kMostText);
}

Result<json> CurlApiServer::Ask(const std::string& method, const std::string& path,
                                const std::string& type, const std::string& body) {
  // Tokens are renewed: the file is read each time.
  std::ifstream file(account_ + "/token");
  const std::string token{std::istreambuf_iterator<char>(file), {}};
  const std::string authority = account_ + "/ca.crt";
  Headers headers;
  headers.Add("Accept: application/json");
  if (!token.empty()) headers.Add("Authorization: Bearer " + token);
  if (!type.empty()) headers.Add("Content-Type: " + type);
  std::string answer;
  char problem[CURL_ERROR_SIZE] = "";
  MutexLock lock(mutex_);
  curl_easy_reset(curl_);
  curl_easy_setopt(curl_, CURLOPT_URL, (url_ + path).c_str());
  curl_easy_setopt(curl_, CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers.items);
  curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl_, CURLOPT_TIMEOUT, kSeconds);
  curl_easy_setopt(curl_, CURLOPT_ERRORBUFFER, problem);
  curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &answer);
  // The cluster's own authority and no other; a proxy for the world has no business here.
  curl_easy_setopt(curl_, CURLOPT_CAINFO, authority.c_str());
  curl_easy_setopt(curl_, CURLOPT_NOPROXY, "*");
  if (!type.empty()) {
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, body.c_str());
  }
  if (const CURLcode code = curl_easy_perform(curl_); code != CURLE_OK) {
    return Fail(Nerr::kFail, "the API server at {} does not answer: {}", url_,
                problem[0] != '\0' ? problem : curl_easy_strerror(code));
  }
  long http = 0;
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &http);
  if (http / 100 != 2) {
    return Fail(http == 404 ? Nerr::kInvalidHandle : Nerr::kInvalid,
                "the API server refuses {} {}: {}: {}", method, path, http, ReasonOf(answer));
  }
  return ParseObject(answer).map_error([&](Error error) {
    error.code = Nerr::kFail;
    return std::move(error).In(fmt::format("{} {}: the answer of {}", method, path, url_));
  });
}

}  // namespace

Result<void> ApiServer::ForEach(const std::string& path,
                                const std::function<void(const json&)>& visit) {
  std::string more;
  do {
    NRTD_ASSIGN(
        const json page,
        Get(fmt::format("{}&limit={}{}", path, kPage, more.empty() ? "" : "&continue=") + more));
    const json& items = At(page, {"items"});
    if (!items.is_array())
      return Fail(Nerr::kFail, "the API server answered {} without items", path);
    for (const json& item : items) visit(item);
    more = TextAt(page, {"metadata", "continue"});
  } while (!more.empty());
  return {};
}

Result<std::unique_ptr<ApiServer>> ApiServer::Make(const Options& options) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK) return Fail(Nerr::kFail, "libcurl does not start");
  std::string url = options.url;
  if (url.empty()) {
    const std::string host = Environment("KUBERNETES_SERVICE_HOST");
    const std::string port = Environment("KUBERNETES_SERVICE_PORT");
    if (host.empty() || port.empty()) {
      return Fail(Nerr::kInvalid,
                  "no API server: KUBERNETES_SERVICE_HOST and _PORT are not set, as they are in "
                  "pods; use --api-server");
    }
    const bool is_ipv6 = host.find(':') != std::string::npos;
    url = fmt::format("https://{}:{}", is_ipv6 ? "[" + host + "]" : host, port);
  }
  if (url.ends_with('/')) url.pop_back();
  return std::make_unique<CurlApiServer>(std::move(url), options.account);
}

}  // namespace nrtd::deploy
