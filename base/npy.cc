// SPDX-License-Identifier: Apache-2.0
#include "base/npy.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/file.h"
#include "base/sizes.h"

namespace nrtd {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = 64 * kKiB;

struct Code {
  DType dtype;
  std::string_view code;
};
constexpr Code kCodes[] = {
    {DType::kFloat32, "<f4"}, {DType::kBFloat16, "<V2"}, {DType::kFloat16, "<f2"},
    {DType::kInt8, "|i1"},    {DType::kUInt8, "|u1"},    {DType::kInt16, "<i2"},
    {DType::kUInt16, "<u2"},  {DType::kInt32, "<i4"},    {DType::kUInt32, "<u4"},
    {DType::kInt64, "<i8"},   {DType::kUInt64, "<u8"},   {DType::kBool, "|b1"},
    {DType::kFloat64, "<f8"}, {DType::kBFloat16, "|V2"},
};

// The text behind "'key':" in the header, which is a Python dictionary literal.
Result<std::string_view> ValueOf(std::string_view header, std::string_view key) {
  const size_t at = header.find(fmt::format("'{}':", key));
  if (at == std::string_view::npos) return Fail(Nerr::kInvalid, "npy header has no '{}'", key);
  std::string_view rest = header.substr(at + key.size() + 3);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return rest;
}

Result<DType> ParseDescr(std::string_view header) {
  NRTD_ASSIGN(std::string_view value, ValueOf(header, "descr"));
  if (value.empty() || value.front() != '\'') {
    return Fail(Nerr::kInvalid,
                "npy descr is not a plain type: structured arrays are not supported");
  }
  const size_t end = value.find('\'', 1);
  if (end == std::string_view::npos) return Fail(Nerr::kInvalid, "npy descr is not closed");
  value = value.substr(1, end - 1);
  for (const Code& row : kCodes) {
    if (row.code == value) return row.dtype;
  }
  return Fail(Nerr::kInvalid,
              "npy type '{}' is not supported; save it little-endian as a plain number type",
              value);
}

Result<Shape> ParseShape(std::string_view header) {
  NRTD_ASSIGN(std::string_view value, ValueOf(header, "shape"));
  const size_t end = value.find(')');
  if (value.empty() || value.front() != '(' || end == std::string_view::npos) {
    return Fail(Nerr::kInvalid, "npy shape is not a tuple");
  }
  value = value.substr(1, end - 1);
  Shape shape;
  while (true) {
    value.remove_prefix(std::min(value.find_first_not_of(" ,"), value.size()));
    if (value.empty()) return shape;
    int64_t dimension = 0;
    const auto [next, error] =
        std::from_chars(value.data(), value.data() + value.size(), dimension);
    if (error != std::errc() || dimension < 0)
      return Fail(Nerr::kInvalid, "npy shape has no number at '{}'", value);
    if (shape.size() == 32) return Fail(Nerr::kInvalid, "npy shape has more than 32 dimensions");
    shape.push_back(dimension);
    value.remove_prefix(static_cast<size_t>(next - value.data()));
  }
}

}  // namespace

Result<NpyView> ParseNpy(ByteSpan file) {
  const std::string_view text = AsText(file);
  if (text.size() < 10 || !text.starts_with(kMagic))
    return Fail(Nerr::kInvalid, "not an npy file: wrong magic");
  const auto major = static_cast<unsigned char>(text[6]);
  size_t header_at = 10;
  uint64_t header_size = LoadAt<uint16_t>(file, 8);
  if (major >= 2) {
    if (text.size() < 12) return Fail(Nerr::kInvalid, "npy header is cut off");
    header_at = 12;
    header_size = LoadAt<uint32_t>(file, 8);
  }
  if (major < 1 || major > 3)
    return Fail(Nerr::kInvalid, "npy version {} is not supported, 1 to 3 are", major);
  if (header_size > kMaxHeader || !RangeFits(header_at, header_size, text.size())) {
    return Fail(Nerr::kInvalid, "npy header of {} bytes does not fit a file of {}", header_size,
                text.size());
  }
  const std::string_view header = text.substr(header_at, header_size);
  NpyView view;
  NRTD_ASSIGN(view.dtype, ParseDescr(header));
  NRTD_ASSIGN(view.shape, ParseShape(header));
  NRTD_ASSIGN(std::string_view order, ValueOf(header, "fortran_order"));
  if (order.starts_with("True") && view.shape.size() > 1) {
    return Fail(Nerr::kInvalid, "npy array is in Fortran order; save numpy.ascontiguousarray(a)");
  }
  view.data = file.subspan(header_at + header_size);
  const auto count = ElementCount(view.shape);
  const auto bytes = count ? CheckedMultiply(*count, DTypeSize(view.dtype)) : std::nullopt;
  if (!bytes || view.data.size() != *bytes) {
    return Fail(Nerr::kInvalid, "npy data is {} bytes, but shape {} of {} needs {}",
                view.data.size(), ShapeText(view.shape), DTypeName(view.dtype), bytes.value_or(0));
  }
  return view;
}

Result<NpyArray> ReadNpyFile(const std::string& path) {
  NRTD_ASSIGN(ByteVector file, ReadFile(path));
  auto view = ParseNpy(file);
  if (!view) return tl::unexpected<Error>(std::move(view.error()).In(path));
  return NpyArray{view->dtype, view->shape, ByteVector(view->data.begin(), view->data.end())};
}

std::string NpyStem(std::string tensor) {
  std::replace(tensor.begin(), tensor.end(), '/', '_');
  return tensor;
}

ByteVector SerializeNpy(DType dtype, std::span<const int64_t> shape, ByteSpan data,
                        size_t alignment) {
  const auto row = std::find_if(std::begin(kCodes), std::end(kCodes),
                                [&](const Code& c) { return c.dtype == dtype; });
  std::string dimensions;
  for (int64_t dimension : shape) dimensions += fmt::format("{}, ", dimension);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                   row->code, dimensions);
  // The header ends with a newline.
  header.resize(AlignUp(10 + header.size() + 1, alignment) - 10 - 1, ' ');
  header += '\n';
  ByteVector file(10 + header.size() + data.size());
  std::memcpy(file.data(), kMagic.data(), kMagic.size());
  StoreAt<uint8_t>(file, 6, 1);
  StoreAt<uint8_t>(file, 7, 0);
  StoreAt<uint16_t>(file, 8, static_cast<uint16_t>(header.size()));
  std::memcpy(file.data() + 10, header.data(), header.size());
  if (!data.empty()) std::memcpy(file.data() + 10 + header.size(), data.data(), data.size());
  return file;
}

}  // namespace nrtd
