// SPDX-License-Identifier: Apache-2.0
//
// Clang's lock analysis (-Wthread-safety, an error in the tsan and fuzz presets); nothing under
// gcc.
#pragma once

#if defined(__clang__)
#define NRTD_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define NRTD_THREAD_ATTRIBUTE(x)
#endif

#define NRTD_CAPABILITY(name) NRTD_THREAD_ATTRIBUTE(capability(name))
#define NRTD_SCOPED_CAPABILITY NRTD_THREAD_ATTRIBUTE(scoped_lockable)
#define NRTD_GUARDED_BY(mutex) NRTD_THREAD_ATTRIBUTE(guarded_by(mutex))
#define NRTD_PT_GUARDED_BY(mutex) NRTD_THREAD_ATTRIBUTE(pt_guarded_by(mutex))
#define NRTD_REQUIRES(...) NRTD_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define NRTD_EXCLUDES(...) NRTD_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define NRTD_ACQUIRE(...) NRTD_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define NRTD_RELEASE(...) NRTD_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define NRTD_TRY_ACQUIRE(...) NRTD_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define NRTD_NO_THREAD_SAFETY_ANALYSIS NRTD_THREAD_ATTRIBUTE(no_thread_safety_analysis)
