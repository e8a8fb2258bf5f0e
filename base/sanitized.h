// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace nrtd {

// Is this built with a sanitizer? Its allocator keeps freed memory and ends the process when there
// is none, its own memory counts too, and everything takes some ten times as long.
#ifdef NRTD_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace nrtd
