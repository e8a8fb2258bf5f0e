// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace nrtd::client {

enum class Align { kLeft, kRight };

struct Column {
  std::vector<std::string> header;  // its lines, from the top
  Align align = Align::kLeft;
};

// The longest thing shown is a client's cgroup.
inline constexpr size_t kMaxCellBytes = 1024;

// Text in columns that are as wide as their widest cell. Width counts UTF-8 characters. A cell is
// escaped and cut (base/printable.h), so that a network's name cannot steer the terminal.
class Table {
 public:
  explicit Table(std::vector<Column> columns);

  // One cell a column.
  void AddRow(std::vector<std::string> cells);

  // With a frame of + - |, headers centred, as neuron-cli and neuron-ls print it.
  std::string Framed() const;
  // Three blanks between columns and no frame, as neuron-top prints it.
  std::string Plain() const;

 private:
  size_t HeaderLines() const;
  const std::string& HeaderCell(size_t column, size_t line) const;

  std::vector<Column> columns_;
  std::vector<size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace nrtd::client
