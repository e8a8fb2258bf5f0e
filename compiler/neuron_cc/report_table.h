// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "compiler/compile.h"

namespace nrtd::compiler {

// What a user wants to see after a compilation, in lines of less than 100 columns.
std::string ReportTable(const CompileReport& report, const std::string& neff_path);

}  // namespace nrtd::compiler
