// SPDX-License-Identifier: Apache-2.0
#include "http/http_server.h"

#include <chrono>
#include <list>
#include <thread>
#include <utility>

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
  void Close();

 private:
  void ReadBody(ErrorCode error);
  void TakeRequest(ErrorCode error);
  void Refuse(int code, const std::string& text);
  void Write(HttpAnswer answer, bool keep_alive);
  // Of the bytes that all requests may have together.
  bool Reserve(uint64_t bytes);
  void Release();

  Server& server_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  http::response<http::empty_body> go_on_{http::status::continue_, 11};
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
    asio::post(sockets_, [this] {
      ErrorCode ignored;
      acceptor_.close(ignored);
      stopping_ = true;
      again_.cancel();
      for (Connection* connection : connections_) connection->Close();
    });
    pool_.join();
    if (thread_.joinable()) thread_.join();
  }

  Result<void> Listen(uint16_t port);
  uint16_t port() const override { return acceptor_.local_endpoint().port(); }

 private:
  friend class Connection;
  void Accept();
  void Run();

  const Handler handler_;
  asio::io_context sockets_;
  tcp::acceptor acceptor_;
  asio::steady_timer again_{sockets_};  // to accept, after a failure
  asio::thread_pool pool_;
  // Of the thread of the sockets.
  std::list<Connection*> connections_;
  uint64_t reserved_ = 0;
  bool accepting_ = false;
  bool stopping_ = false;
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
      [self = shared_from_this()](ErrorCode error, size_t) { self->ReadBody(error); });
}

bool Connection::Reserve(uint64_t bytes) {
  if (server_.reserved_ + bytes > kMaxHttpBodies) return false;
  reserved_ = bytes;
  server_.reserved_ += bytes;
  return true;
}

void Connection::Release() {
  server_.reserved_ -= std::exchange(reserved_, 0);
}

void Connection::Refuse(int code, const std::string& text) {
  Write({code, "text/plain", text + "\n"}, false);
}

void Connection::ReadBody(ErrorCode error) {
  if (error == http::error::header_limit) return Write(ErrorPage(400, "Bad Request"), false);
  if (error == http::error::body_limit) return Refuse(413, TooLarge());
  if (error) return;
  if (!Reserve(parser_->content_length().value_or(parser_->chunked() ? kMaxHttpBody : 0)))
    return Refuse(503, "requests under way have all the memory that there is for them");
  const auto read = [self = shared_from_this()](ErrorCode, size_t) {
    http::async_read(self->stream_, self->buffer_, *self->parser_,
                     [self](ErrorCode failed, size_t) { self->TakeRequest(failed); });
  };
  // curl asks before it sends more than a mebibyte.
  if (!beast::iequals(parser_->get()[http::field::expect], "100-continue")) return read({}, 0);
  http::async_write(stream_, go_on_, read);
}

void Connection::TakeRequest(ErrorCode error) {
  if (error == http::error::body_limit) return Refuse(413, TooLarge());
  if (error) return;
  const auto& message = parser_->get();
  const bool keep_alive = message.keep_alive();
  HttpRequest request{std::string(message.method_string()), std::string(message.target()),
                      std::move(parser_->get().body())};
  const std::string encoding(message[http::field::content_encoding]);
  answering_ = true;
  stream_.expires_never();
  asio::post(server_.pool_, [self = shared_from_this(), request = std::move(request), keep_alive,
                             zipped = encoding.find("gzip") != std::string::npos]() mutable {
    if (zipped) request.body = Unzipped(request.body).value_or("");
    HttpAnswer answer;
    try {
      answer = self->server_.handler_(request);
    } catch (const std::exception& problem) {
      Log(LogLevel::kError, "HTTP", "a request failed: {}", problem.what());
      answer = ErrorPage(500, "Internal Server Error");
    }
    Connection& connection = *self;
    asio::post(connection.server_.sockets_,
               [self = std::move(self), answer = std::move(answer), keep_alive]() mutable {
                 self->Write(std::move(answer), keep_alive && !answer.close);
               });
  });
}

void Connection::Write(HttpAnswer answer, bool keep_alive) {
  answering_ = true;
  response_ = {};
  response_.result(static_cast<unsigned>(answer.code));
  if (answer.code == 429 || answer.code == 499) response_.reason("Client Error");
  response_.set(http::field::server, kServer);
  response_.set(http::field::content_type, answer.content_type);
  response_.keep_alive(keep_alive && !closing_);
  response_.body() = std::move(answer.body);
  response_.prepare_payload();
  stream_.expires_after(std::chrono::seconds(kHttpSeconds));
  http::async_write(stream_, response_, [self = shared_from_this()](ErrorCode error, size_t) {
    self->answering_ = false;
    self->Release();
    if (!error && self->response_.keep_alive()) return self->ReadHeader();
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
  Accept();
  thread_ = std::thread([this] { Run(); });
  return {};
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
    accepting_ = false;
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
