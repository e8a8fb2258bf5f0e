// SPDX-License-Identifier: Apache-2.0
#include "tools/client/table.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/printable.h"

namespace nrtd::client {
namespace {

size_t DisplayWidth(std::string_view text) {
  // Every byte but UTF-8's continuation bytes (10xxxxxx) begins a character.
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

std::string Aligned(const std::string& text, size_t width, Align align) {
  const std::string padding(width - std::min(width, DisplayWidth(text)), ' ');
  return align == Align::kLeft ? text + padding : padding + text;
}

std::string Centred(const std::string& text, size_t width) {
  const size_t padding = width - std::min(width, DisplayWidth(text));
  return std::string(padding / 2, ' ') + text + std::string(padding - padding / 2, ' ');
}

void TrimRight(std::string& line) {
  line.erase(line.find_last_not_of(' ') + 1);
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (const Column& column : columns_) {
    size_t width = 0;
    for (const std::string& line : column.header) width = std::max(width, DisplayWidth(line));
    widths_.push_back(width);
  }
}

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (size_t i = 0; i < cells.size(); ++i) {
    cells[i] = PrintableText(cells[i], kMaxCellBytes);
    widths_[i] = std::max(widths_[i], DisplayWidth(cells[i]));
  }
  rows_.push_back(std::move(cells));
}

size_t Table::HeaderLines() const {
  size_t lines = 0;
  for (const Column& column : columns_) lines = std::max(lines, column.header.size());
  return lines;
}

const std::string& Table::HeaderCell(size_t column, size_t line) const {
  static const std::string kNothing;
  const auto& header = columns_[column].header;
  return line < header.size() ? header[line] : kNothing;
}

std::string Table::Framed() const {
  std::string rule = "+";
  for (size_t width : widths_) rule += std::string(width + 2, '-') + "+";
  rule += '\n';
  std::string text = rule;
  for (size_t line = 0; line < HeaderLines(); ++line) {
    text += '|';
    for (size_t i = 0; i < columns_.size(); ++i)
      text += " " + Centred(HeaderCell(i, line), widths_[i]) + " |";
    text += '\n';
  }
  text += rule;
  for (const auto& row : rows_) {
    text += '|';
    for (size_t i = 0; i < columns_.size(); ++i)
      text += " " + Aligned(row[i], widths_[i], columns_[i].align) + " |";
    text += '\n';
  }
  return text + rule;
}

std::string Table::Plain() const {
  constexpr std::string_view kGap = "   ";
  std::string text;
  const auto add_line = [&](const auto& cell_at) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) line += kGap;
      line += Aligned(cell_at(i), widths_[i], columns_[i].align);
    }
    TrimRight(line);
    text += line + '\n';
  };
  for (size_t line = 0; line < HeaderLines(); ++line)
    add_line([&](size_t i) -> const std::string& { return HeaderCell(i, line); });
  for (const auto& row : rows_) add_line([&](size_t i) -> const std::string& { return row[i]; });
  return text;
}

}  // namespace nrtd::client
