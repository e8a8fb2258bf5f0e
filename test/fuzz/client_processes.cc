// SPDX-License-Identifier: Apache-2.0
#include "test/fuzz/client_processes.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace nrtd::fuzz {
namespace {

[[noreturn]] void Give(const char* what) {
  std::perror(what);
  std::abort();
}

// Repeats a system call that a signal interrupted: libFuzzer's timer, for one.
template <typename Call>
ssize_t Uninterrupted(const Call& call) {
  while (true) {
    const ssize_t result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

std::pair<UniqueFd, UniqueFd> Pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) Give("socketpair");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// A message of one number with room for a descriptor. Points into itself.
struct Letter {
  explicit Letter(pid_t value = 0) : number(value) {
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = sizeof(control);
  }
  Letter(const Letter&) = delete;
  Letter& operator=(const Letter&) = delete;

  pid_t number;
  iovec data{&number, sizeof(number)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
};

bool SendWith(int socket, pid_t number, int descriptor) {
  Letter letter(number);
  cmsghdr* const header = CMSG_FIRSTHDR(&letter.message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof(descriptor));
  return Uninterrupted([&] { return ::sendmsg(socket, &letter.message, MSG_NOSIGNAL); }) ==
         sizeof(letter.number);
}

std::pair<pid_t, UniqueFd> ReceiveWith(int socket) {
  Letter letter;
  if (Uninterrupted([&] { return ::recvmsg(socket, &letter.message, MSG_CMSG_CLOEXEC); }) !=
      sizeof(letter.number))
    Give("recvmsg");
  const cmsghdr* const header = CMSG_FIRSTHDR(&letter.message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) Give("no descriptor came");
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(header), sizeof(descriptor));
  return {letter.number, UniqueFd(descriptor)};
}

// Connects once for every byte that comes.
[[noreturn]] void RunClient(int control, const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  char asked = 0;
  while (Uninterrupted([&] { return ::read(control, &asked, 1); }) == 1) {
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0)
      Give("connect");
    if (!SendWith(control, ::getpid(), socket.get())) break;
  }
  ::_exit(0);
}

// Forks once for every byte that comes.
[[noreturn]] void RunParent(int control, const std::string& path) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)std::signal(SIGCHLD, SIG_IGN);
  char asked = 0;
  while (Uninterrupted([&] { return ::read(control, &asked, 1); }) == 1) {
    auto [mine, theirs] = Pair();
    const pid_t pid = ::fork();
    if (pid < 0) Give("fork");
    if (pid == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
      RunClient(theirs.get(), path);
    }
    if (!SendWith(control, pid, mine.get())) break;
  }
  ::_exit(0);
}

void Ask(int socket) {
  if (Uninterrupted([&] { return ::write(socket, "", 1); }) != 1) Give("write");
}

}  // namespace

UniqueFd ClientProcess::Connect() {
  Ask(control_.get());
  UniqueFd socket = ReceiveWith(control_.get()).second;
  if (::fcntl(socket.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) Give("fcntl");
  return socket;
}

void ClientProcess::Kill() {
  if (pid_ > 0) (void)::kill(pid_, SIGKILL);
  pid_ = -1;
}

ClientProcesses::ClientProcesses(const std::string& socket_path) {
  auto [mine, theirs] = Pair();
  const pid_t pid = ::fork();
  if (pid < 0) Give("fork");
  if (pid == 0) RunParent(theirs.get(), socket_path);
  parent_ = std::move(mine);
}

std::unique_ptr<ClientProcess> ClientProcesses::Start() {
  Ask(parent_.get());
  auto [pid, control] = ReceiveWith(parent_.get());
  return std::make_unique<ClientProcess>(pid, std::move(control));
}

}  // namespace nrtd::fuzz
