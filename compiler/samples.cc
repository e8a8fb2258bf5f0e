// SPDX-License-Identifier: Apache-2.0
#include "compiler/samples.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace nrtd::compiler {
namespace {

namespace fs = std::filesystem;

// Sorted, so that the same folder means the same samples in the same order.
Result<std::vector<fs::path>> EntriesOf(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    entries.push_back(entry->path());
  if (error) return Fail(Nerr::kInvalid, "{}: {}", folder.string(), error.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

// The arrays among a folder's entries.
Result<Sample> ReadSample(const fs::path& folder, const std::vector<fs::path>& entries) {
  Sample sample{folder.string(), {}};
  for (const fs::path& file : entries) {
    if (file.extension() != ".npy") continue;
    NRTD_ASSIGN(sample.arrays[file.stem().string()], ReadNpyFile(file.string()));
  }
  return sample;
}

}  // namespace

Result<std::vector<Sample>> ReadSamples(const std::string& folder) {
  NRTD_ASSIGN(const auto entries, EntriesOf(folder));
  NRTD_ASSIGN(Sample alone, ReadSample(folder, entries));
  std::vector<Sample> samples;
  for (const fs::path& path : entries) {
    std::error_code none;
    if (!fs::is_directory(path, none)) continue;
    NRTD_ASSIGN(const auto files, EntriesOf(path));
    NRTD_ASSIGN(Sample sample, ReadSample(path, files));
    if (!sample.arrays.empty()) samples.push_back(std::move(sample));
  }
  if (!alone.arrays.empty() && !samples.empty())
    return Fail(Nerr::kInvalid,
                "{}: there is {}.npy in it and also folders with inputs, as {}: keep one or the "
                "other",
                folder, alone.arrays.begin()->first, samples[0].origin);
  if (!alone.arrays.empty()) samples.push_back(std::move(alone));
  if (samples.empty())
    return Fail(Nerr::kInvalid,
                "{}: no sample inputs: give a folder with an <input>.npy for each input, or a "
                "folder of such folders",
                folder);
  return samples;
}

Result<ByteVector> ElementsOf(const Sample& sample, const Value& input) {
  const std::string file = NpyStem(input.name);
  const auto array = sample.arrays.find(file);
  if (array == sample.arrays.end())
    return Fail(Nerr::kInvalid, "{}: no {}.npy for input '{}'", sample.origin, file, input.name);
  const NpyArray& given = array->second;
  if (given.dtype != input.dtype || given.shape != input.shape)
    return Fail(Nerr::kInvalid, "{}/{}.npy is {} {}, input '{}' is {} {}", sample.origin, file,
                DTypeName(given.dtype), ShapeText(given.shape), input.name, DTypeName(input.dtype),
                ShapeText(input.shape));
  return given.data;
}

}  // namespace nrtd::compiler
