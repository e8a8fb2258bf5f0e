// SPDX-License-Identifier: Apache-2.0
//
// numpy's .npy format, versions 1 to 3 (numpy/lib/format.py describes it): C order, little-endian,
// the types of DType. numpy has no bfloat16; it is written as "<V2", as ml_dtypes does.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"

namespace nrtd {

struct NpyView {
  DType dtype = DType::kFloat32;
  Shape shape;
  ByteSpan data;  // inside the bytes that were parsed
};

struct NpyArray {
  DType dtype = DType::kFloat32;
  Shape shape;
  ByteVector data;
};

// kInvalid with what is wrong: magic, header, order, type, or a size that does not match the shape.
Result<NpyView> ParseNpy(ByteSpan file);
Result<NpyArray> ReadNpyFile(const std::string& path);

// What a tensor's file is called, without ".npy": its name with '/' as '_'.
std::string NpyStem(std::string tensor);

// `data` holds ElementCount(shape) elements of `dtype`. They begin at a multiple of `alignment`, a
// power of two, in the file; numpy's own is 64.
ByteVector SerializeNpy(DType dtype, std::span<const int64_t> shape, ByteSpan data,
                        size_t alignment = 64);

}  // namespace nrtd
