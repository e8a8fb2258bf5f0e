// SPDX-License-Identifier: Apache-2.0
#include "http/http_server.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <future>
#include <list>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <zlib.h>

#include "base/log.h"

namespace nrtd {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr const char* kServer = "neuron-rtd";

// "Wed, 06 Jun 2018 23:20:12 GMT"
std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

// Nothing for what is no gzip, or more than a body may have.
std::optional<std::string> Unzipped(const std::string& body) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;
  if (inflateInit2(&stream, kGzip) != Z_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  std::string plain;
  int state = Z_OK;
  while (state == Z_OK && plain.size() <= kMaxHttpBody) {
    char block[32768];
    stream.next_out = reinterpret_cast<Bytef*>(block);
    stream.avail_out = sizeof(block);
    state = inflate(&stream, Z_NO_FLUSH);
    plain.append(block, sizeof(block) - stream.avail_out);
    // A file of several members.
    if (state == Z_STREAM_END && stream.avail_in > 0) state = inflateReset(&stream);
  }
  (void)inflateEnd(&stream);
  if (state != Z_STREAM_END || plain.size() > kMaxHttpBody) return std::nullopt;
  return plain;
}

std::string TooLarge() {
  return fmt::format("the body has more than {} bytes", kMaxHttpBody);
}

class Server;

// A connection: reads a request, has it answered by the pool, writes the answer, and so on. Its
// handlers run one at a time, by the thread of the sockets, but for the answer itself.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, tcp::socket socket) : server_(server), stream_(std::move(socket)) {}
  ~Connection();

  void ReadHeader();
  // No more requests; now, if none is under way.
  void Close();

 private:
  void StartBody(ErrorCode error);
  void ReadBody();
  void TakeBody(ErrorCode error);
  void RefuseMalformed(ErrorCode error);
  void Refuse(int code, const std::string& text);
  void Write(HttpAnswer answer, bool keep_alive);
  // Of the bytes that all requests may have together.
  bool Reserve(uint64_t bytes);
  void Release() { (void)Reserve(0); }

  Server& server_;
  beast::tcp_stream stream_;
  // Also what HTTP calls chunks' extensions and trailers, which no other limit counts.
  beast::flat_buffer buffer_{kMaxHttpHeader + 65'536};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  http::response<http::empty_body> go_on_{http::status::continue_, 11};
  std::chrono::steady_clock::time_point body_began_;
  uint64_t reserved_ = 0;
  bool closing_ = false;
  bool answering_ = false;  // a request is complete, and its answer has not gone

  friend class Server;
};

class Server final : public HttpServer {
 public:
  Server(unsigned threads, Handler handler)
      : handler_(std::move(handler)), acceptor_(sockets_), pool_(threads) {}
  ~Server() override {
    StopAccepting();
    pool_.join();
    guard_.reset();
    if (thread_.joinable()) thread_.join();
  }

  Result<void> Listen(uint16_t port);
  uint16_t port() const override { return port_; }
  void StopAccepting() override;

 private:
  friend class Connection;
  void Accept();
  void Run();

  const Handler handler_;
  uint16_t port_ = 0;
  // Of the thread of the sockets. Connections go before these do.
  std::list<Connection*> connections_;
  uint64_t reserved_ = 0;
  bool accepting_ = false;  // or waiting to do so again
  bool stopping_ = false;
  asio::io_context sockets_{1};
  // A connection that is being answered is no work to the sockets.
  asio::executor_work_guard<asio::io_context::executor_type> guard_{sockets_.get_executor()};
  tcp::acceptor acceptor_;
  asio::steady_timer again_{sockets_};  // to accept, after a failure
  asio::thread_pool pool_;
  std::thread thread_;
};

Connection::~Connection() {
  Release();
  server_.connections_.remove(this);
  if (!server_.stopping_ && !server_.accepting_) server_.Accept();
}

void Connection::Close() {
  closing_ = true;
  if (answering_) return;
  ErrorCode ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
  stream_.close();
}

void Connection::ReadHeader() {
  parser_.emplace();
  parser_->body_limit(kMaxHttpBody);
  parser_->header_limit(kMaxHttpHeader);
  stream_.expires_after(std::chrono::seconds(kHttpSeconds));
  http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, size_t) { self->StartBody(error); });
}

bool Connection::Reserve(uint64_t bytes) {
  if (bytes > reserved_ && server_.reserved_ + (bytes - reserved_) > kMaxHttpBodies) return false;
  server_.reserved_ += bytes - reserved_;
  reserved_ = bytes;
  return true;
}

void Connection::Refuse(int code, const std::string& text) {
  Write({code, "text/plain", text + "\n"}, false);
}

void Connection::RefuseMalformed(ErrorCode error) {
  if (error == http::error::body_limit) return Refuse(413, TooLarge());
  const bool has_gone =
      error == http::error::end_of_stream || error == http::error::partial_message;
  if (error.category() == http::make_error_code(http::error::bad_method).category() && !has_gone)
    Write(ErrorPage(400, "Bad Request"), false);
}

void Connection::StartBody(ErrorCode error) {
  if (closing_) return;
  if (error) return RefuseMalformed(error);
  body_began_ = std::chrono::steady_clock::now();
  // curl asks before it sends more than a mebibyte.
  if (!beast::iequals(parser_->get()[http::field::expect], "100-continue")) return ReadBody();
  stream_.expires_after(std::chrono::seconds(kHttpSeconds));
  http::async_write(stream_, go_on_, [self = shared_from_this()](ErrorCode failed, size_t) {
    if (!failed) self->ReadBody();
  });
}

void Connection::ReadBody() {
  if (parser_->is_done()) return TakeBody({});
  const auto left =
      std::chrono::seconds(kHttpBodySeconds) - (std::chrono::steady_clock::now() - body_began_);
  if (left <= left.zero()) return;
  stream_.expires_after(
      std::min<std::chrono::steady_clock::duration>(left, std::chrono::seconds(kHttpSeconds)));
  http::async_read_some(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, size_t) { self->TakeBody(error); });
}

void Connection::TakeBody(ErrorCode error) {
  if (closing_) return;
  if (error) return RefuseMalformed(error);
  const auto& message = parser_->get();
  const bool is_zipped =
      message[http::field::content_encoding].find("gzip") != beast::string_view::npos;
  const uint64_t bytes =
      parser_->is_done() && is_zipped ? kMaxHttpBody : parser_->get().body().size();
  if (!Reserve(bytes))
    return Refuse(503, "requests under way have all the memory that there is for them");
  if (!parser_->is_done()) return ReadBody();
  HttpRequest request{std::string(message.method_string()), std::string(message.target()),
                      std::move(parser_->get().body())};
  const bool keep_alive = message.keep_alive();
  answering_ = true;
  stream_.expires_never();
  asio::post(server_.pool_, [self = shared_from_this(), request = std::move(request), keep_alive,
                             is_zipped]() mutable {
    HttpAnswer answer;
    try {
      if (is_zipped) request.body = Unzipped(request.body).value_or("");
      answer = self->server_.handler_(request);
    } catch (const std::exception& problem) {
      Log(LogLevel::kError, "HTTP", "a request failed: {}", problem.what());
      answer = ErrorPage(500, "Internal Server Error");
    }
    request = {};
    // The last owner is the thread of the sockets.
    Server& server = self->server_;
    asio::post(server.sockets_,
               [self = std::move(self), answer = std::move(answer), keep_alive]() mutable {
                 self->Write(std::move(answer), keep_alive && !answer.close);
               });
  });
}

void Connection::Write(HttpAnswer answer, bool keep_alive) {
  answering_ = true;
  response_ = {};
  response_.version(parser_->get().version());
  response_.result(static_cast<unsigned>(answer.code));
  if (answer.code == 429 || answer.code == 499) response_.reason("Client Error");
  response_.set(http::field::server, kServer);
  response_.set(http::field::content_type, answer.content_type);
  response_.set(http::field::date, HttpDate());
  response_.keep_alive(keep_alive && !closing_);
  response_.content_length(answer.body.size());
  if (parser_->get().method() != http::verb::head) response_.body() = std::move(answer.body);
  stream_.expires_after(std::chrono::seconds(kHttpSeconds));
  http::async_write(stream_, response_, [self = shared_from_this()](ErrorCode error, size_t) {
    self->Release();
    self->answering_ = false;
    if (!error && self->response_.keep_alive() && !self->closing_) return self->ReadHeader();
    ErrorCode ignored;
    self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  });
}

Result<void> Server::Listen(uint16_t port) {
  ErrorCode error;
  acceptor_.open(tcp::v6(), error);
  tcp::endpoint place(tcp::v6(), port);
  if (!error) {
    acceptor_.set_option(asio::ip::v6_only(false), error);
  } else {  // no IPv6 here
    acceptor_.open(tcp::v4(), error);
    place = tcp::endpoint(tcp::v4(), port);
  }
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(place, error);
  if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
  if (error) return Fail(Nerr::kInvalid, "cannot listen on port {}: {}", port, error.message());
  port_ = acceptor_.local_endpoint().port();
  Accept();
  thread_ = std::thread([this] { Run(); });
  return {};
}

void Server::StopAccepting() {
  if (!thread_.joinable()) return;
  std::promise<void> done;
  asio::post(sockets_, [&] {
    ErrorCode ignored;
    stopping_ = true;
    acceptor_.close(ignored);
    again_.cancel();
    for (Connection* connection : connections_) connection->Close();
    done.set_value();
  });
  done.get_future().wait();
}

void Server::Run() {
  while (true) {
    try {
      sockets_.run();
      return;
    } catch (const std::exception& problem) {
      Log(LogLevel::kError, "HTTP", "a connection failed: {}", problem.what());
    }
  }
}

void Server::Accept() {
  accepting_ = connections_.size() < kMaxHttpConnections;
  if (!accepting_) return;
  acceptor_.async_accept([this](ErrorCode error, tcp::socket socket) {
    if (stopping_ || error == asio::error::operation_aborted) return;
    if (error) {  // no descriptors, say
      again_.expires_after(std::chrono::milliseconds(100));
      again_.async_wait([this](ErrorCode stopped) {
        if (!stopped) Accept();
      });
      return;
    }
    socket.set_option(tcp::no_delay(true), error);
    const auto connection = std::make_shared<Connection>(*this, std::move(socket));
    connections_.push_back(connection.get());
    connection->ReadHeader();
    Accept();
  });
}

}  // namespace

HttpAnswer ErrorPage(int code, const std::string& reason) {
  return {code, "text/html",
          fmt::format("<HTML><HEAD>\n<TITLE>{0} {1}</TITLE>\n</HEAD><BODY>\n<H1>{1}</H1>\n"
                      "</BODY></HTML>\n",
                      code, reason),
          true};
}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(uint16_t port, unsigned threads,
                                                      Handler handler) {
  auto server = std::make_unique<Server>(threads, std::move(handler));
  NRTD_TRY(server->Listen(port));
  return server;
}

}  // namespace nrtd
