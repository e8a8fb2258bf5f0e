// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "neff/writer.h"

namespace nrtd::neff {

// A small network for the simulated target that uses most of the format: two inputs, of which the
// compiler folded one away, a parameter, a kelf of two cores, a host function, an .npy and a raw
// weight file, descriptors.
NeffContents SampleContents();

// Bytes that are all different from their neighbours.
ByteVector Counting(size_t size);

// SampleContents() as a NEFF.
ByteVector SampleNeff(const WriteOptions& options = {});

// A header in front of `data`, with its size and hash.
ByteVector NeffOf(ByteSpan data, Header header = {});

// The files of SampleNeff() and their bytes, to be changed and packed again.
std::map<std::string, std::string> SampleFiles();

}  // namespace nrtd::neff
