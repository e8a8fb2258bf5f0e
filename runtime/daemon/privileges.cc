// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/privileges.h"

#include <cerrno>
#include <memory>

#include <cap-ng.h>
#include <seccomp.h>
#include <sys/prctl.h>

namespace nrtd::daemon {
namespace {

// What the daemon, gRPC, OpenMP, the allocator and the C library call once everything is set up.
// Names that a kernel does not know are skipped.
constexpr const char* kAllowed[] = {
    // files and descriptors
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "close",
    "close_range", "open", "openat", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs",
    "fstatfs", "getxattr", "lseek", "dup", "dup2", "dup3", "fcntl", "flock", "fchmod", "ioctl",
    "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "unlink",
    "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "ftruncate",
    "fallocate", "fsync", "fdatasync", "fadvise64", "copy_file_range", "sendfile", "pipe", "pipe2",
    "memfd_create", "umask",
    // memory
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "mlock", "mlock2",
    "munlock", "mbind", "get_mempolicy", "set_mempolicy", "membarrier",
    // threads and signals
    "clone", "clone3", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "futex",
    "futex_waitv", "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam",
    "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu", "gettid",
    "tgkill", "kill", "exit", "exit_group", "restart_syscall", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack", "wait4",
    "waitid", "arch_prctl", "prctl",
    // waiting
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "poll",
    "ppoll", "select", "pselect6", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    "signalfd4", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    // sockets
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "shutdown",
    "getsockname", "getpeername", "getsockopt", "setsockopt", "sendto", "recvfrom", "sendmsg",
    "recvmsg", "sendmmsg", "recvmmsg",
    // time and the machine
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "times", "getrusage", "getrandom", "uname", "sysinfo", "getrlimit", "prlimit64", "getpid",
    "getppid", "getuid", "geteuid", "getgid", "getegid", "getgroups", "capget"};

}  // namespace

Result<void> DropPrivileges() {
  capng_clear(CAPNG_SELECT_BOTH);
  // The bounding set takes SETPCAP to change; without it no_new_privs does what it would.
  (void)capng_apply(CAPNG_SELECT_BOUNDS);
  if (const int result = capng_apply(CAPNG_SELECT_CAPS); result != 0) {
    return Fail(Nerr::kFail, "cannot drop capabilities (libcap-ng says {}): {}", result,
                ErrnoText(errno));
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return Fail(Nerr::kFail, "cannot set no_new_privs: {}", ErrnoText(errno));
  return {};
}

Result<void> RestrictSystemCalls() {
  const std::unique_ptr<void, void (*)(void*)> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                      ::seccomp_release);
  if (!filter) return Fail(Nerr::kFail, "cannot make a seccomp filter");
  for (const char* name : kAllowed) {
    const int call = ::seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR) continue;
    if (const int error = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0); error != 0)
      return Fail(Nerr::kFail, "cannot allow {} in the seccomp filter: {}", name,
                  ErrnoText(-error));
  }
  // Threads that libraries have started by now are included.
  (void)::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  if (const int error = ::seccomp_load(filter.get()); error != 0)
    return Fail(Nerr::kFail, "cannot load the seccomp filter: {}", ErrnoText(-error));
  return {};
}

}  // namespace nrtd::daemon
