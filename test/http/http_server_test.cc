// SPDX-License-Identifier: Apache-2.0
//
// The HTTP server on real sockets, with clients that behave and clients that do not.
#include "http/http_server.h"

#include <atomic>
#include <future>
#include <list>
#include <thread>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/must.h"

namespace nrtd {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Client {
 public:
  explicit Client(uint16_t port) : socket_(context_) {
    socket_.connect({asio::ip::address_v4::loopback(), port});
  }
  // Errors are the server's right: it may have closed.
  void Send(const std::string& bytes) {
    boost::system::error_code ignored;
    asio::write(socket_, asio::buffer(bytes), ignored);
  }
  // All that comes until the server closes.
  std::string ReadToEnd() {
    std::string all;
    boost::system::error_code end;
    asio::read(socket_, asio::dynamic_buffer(all), end);
    return all;
  }
  // "HTTP/1.1 200 OK"
  std::string ReadFirstLine() {
    std::string text;
    boost::system::error_code end;
    asio::read_until(socket_, asio::dynamic_buffer(text), "\r\n", end);
    return text.substr(0, text.find('\r'));
  }

 private:
  asio::io_context context_;
  tcp::socket socket_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpServer::Handler handler) {
    server_ = Must(HttpServer::Start(0, 2, std::move(handler)));
  }
  void StartEcho() {
    Start([](const HttpRequest& request) {
      return HttpAnswer{200, "text/plain",
                        request.method + " " + request.target + " " + request.body};
    });
  }
  std::string Ask(const std::string& request) {
    Client client(server_->port());
    client.Send(request);
    return client.ReadToEnd();
  }
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersARequestOfAnyForm) {
  StartEcho();
  EXPECT_THAT(Ask("POST /x HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"),
              EndsWith("\r\n\r\nPOST /x abc"));
  EXPECT_THAT(Ask("POST /x HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
              EndsWith("\r\n\r\nPOST /x abc"));
  EXPECT_THAT(Ask("GET /x HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_THAT(
      Ask("GET /x HTTP/1.0\r\n\r\n"),
      ContainsRegex("\r\nDate: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r\n"));
  EXPECT_THAT(Ask("HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n"), EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, AnswersWhatIsNoRequest) {
  StartEcho();
  EXPECT_THAT(Ask("garbage\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nX: " + std::string(2 * kMaxHttpHeader, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "));
}

// A connection that is being answered has no operation of its sockets under way: once there were as
// many as there may be, the server's thread found nothing to do and ended.
TEST_F(HttpServerTest, EveryConnectionIsAnsweredAlsoWhenAllThatThereMayBeWait) {
  std::promise<void> open;
  const std::shared_future<void> opened = open.get_future().share();
  std::atomic<size_t> begun{0};
  Start([&](const HttpRequest&) {
    ++begun;
    opened.wait();
    return HttpAnswer{200, "text/plain", "done"};
  });
  std::list<Client> clients;
  for (size_t i = 0; i < kMaxHttpConnections; ++i) {
    clients.emplace_back(server_->port());
    clients.back().Send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  }
  while (begun == 0) std::this_thread::yield();
  open.set_value();
  for (Client& client : clients) EXPECT_THAT(client.ReadToEnd(), EndsWith("done"));
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), EndsWith("done"));
}

// The answer once was posted to sockets that had gone.
TEST_F(HttpServerTest, ARequestUnderWayIsAnsweredWhenTheServerEnds) {
  std::promise<void> begin;
  std::promise<void> open;
  Start([&](const HttpRequest&) {
    begin.set_value();
    open.get_future().wait();
    return HttpAnswer{200, "text/plain", "done"};
  });
  Client client(server_->port());
  Client idle(server_->port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  begin.get_future().wait();
  server_->StopAccepting();
  std::thread ending([&] { server_.reset(); });
  open.set_value();
  EXPECT_THAT(client.ReadToEnd(), EndsWith("done"));
  EXPECT_EQ(idle.ReadToEnd(), "");
  ending.join();
}

// Where no limit of a body or a header counts.
TEST_F(HttpServerTest, ExtensionsOfChunksHoldNoMemory) {
  StartEcho();
  const std::string header = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_THAT(Ask(header + "1;a=" + std::string(1 << 20, 'a')), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(Ask(header + std::string(1 << 20, '1')), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(Ask(header + "0\r\nA: " + std::string(1 << 20, 'a')), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(Ask("GET /x HTTP/1.1\r\nConnection: close\r\n\r\n"), EndsWith("GET /x "));
}

// They only say that they will send much.
TEST_F(HttpServerTest, BodiesThatHaveNotComeTakeNothingFromOthers) {
  StartEcho();
  std::list<Client> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(server_->port());
    clients.back().Send("POST / HTTP/1.1\r\nContent-Length: " + std::to_string(kMaxHttpBody) +
                        "\r\n\r\n");
  }
  EXPECT_THAT(Ask("POST /x HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"),
              EndsWith("POST /x a"));
}

TEST_F(HttpServerTest, AHandlerThatThrowsIsAnError) {
  Start([](const HttpRequest&) -> HttpAnswer { throw std::bad_alloc(); });
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 500 "));
}

TEST_F(HttpServerTest, APortThatIsTakenIsRefused) {
  StartEcho();
  const auto second =
      HttpServer::Start(server_->port(), 1, [](const HttpRequest&) { return HttpAnswer{}; });
  EXPECT_THAT(second.error().text, HasSubstr("cannot listen on port"));
}

}  // namespace
}  // namespace nrtd
