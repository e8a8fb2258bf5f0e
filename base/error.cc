// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <system_error>

namespace nrtd {

std::string NerrName(Nerr code) {
  switch (code) {
    case Nerr::kOk:
      return "NERR_OK";
    case Nerr::kFail:
      return "NERR_FAIL";
    case Nerr::kInvalid:
      return "NERR_INVALID";
    case Nerr::kInvalidHandle:
      return "NERR_INVALID_HANDLE";
    case Nerr::kResource:
      return "NERR_RESOURCE";
    case Nerr::kTimeout:
      return "NERR_TIMEOUT";
    case Nerr::kHwError:
      return "NERR_HW_ERROR";
    case Nerr::kQueueFull:
      return "NERR_QUEUE_FULL";
    case Nerr::kFailedState:
      return "NERR_FAILED_STATE";
    case Nerr::kResourceNc:
      return "NERR_RESOURCE_NC";
    case Nerr::kUnsupportedVersion:
      return "NERR_UNSUPPORTED_VERSION";
    case Nerr::kInferPending:
      return "NERR_INFER_PENDING";
    case Nerr::kInferCancelled:
      return "NERR_INFER_CANCELLED";
    case Nerr::kInferBadInput:
      return "NERR_INFER_BAD_INPUT";
    case Nerr::kInferCompletedWithNumErr:
      return "NERR_INFER_COMPLETED_WITH_NUM_ERR";
    case Nerr::kInferCompletedWithErr:
      return "NERR_INFER_COMPLETED_WITH_ERR";
  }
  return fmt::format("NERR_{}", static_cast<int32_t>(code));
}

Error Error::In(std::string_view where) && {
  text.insert(0, PrintableText(where, kMaxPrintedBytes) + ": ");
  return std::move(*this);
}

std::string ErrnoText(int error_number) {
  return std::generic_category().message(error_number);
}

}  // namespace nrtd
