// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/device_selection.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <set>
#include <string_view>

namespace nrtd {
namespace {

using Numbers = std::set<uint32_t>;

std::string Chain(const std::vector<std::string>& chain) {
  std::string text;
  for (size_t i = 0; i < chain.size(); ++i)
    fmt::format_to(std::back_inserter(text), "{}{} ({})", i == 0 ? "" : ", ", i, chain[i]);
  return text.empty() ? "none" : text;
}

Result<uint32_t> CheckNumber(uint32_t number, const std::vector<std::string>& chain) {
  if (number < chain.size()) return number;
  return Fail(Nerr::kInvalid, "there is no device {}; this machine has {}", number, Chain(chain));
}

Result<Numbers> Visible(std::string_view list, const std::vector<std::string>& chain) {
  Numbers numbers;
  if (list.empty() || list == "all") {
    for (uint32_t i = 0; i < chain.size(); ++i) numbers.insert(i);
    return numbers;
  }
  for (std::string_view rest = list; !rest.empty();) {
    const std::string_view word = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || end != word.data() + word.size()) {
      return Fail(Nerr::kInvalid,
                  "AWS_NEURON_VISIBLE_DEVICES is '{}': 'all' or numbers such as 0 or 2,3 are "
                  "expected, '{}' is neither",
                  list, word);
    }
    NRTD_ASSIGN(number, CheckNumber(number, chain));
    numbers.insert(number);
  }
  return numbers;
}

// A domain may be left out, as lspci does.
Result<uint32_t> FindBdf(const std::string& bdf, const std::vector<std::string>& chain) {
  const auto same = [&](const std::string& known) {
    return known == bdf || known == "0000:" + bdf;
  };
  const auto found = std::find_if(chain.begin(), chain.end(), same);
  if (found != chain.end()) return static_cast<uint32_t>(found - chain.begin());
  return Fail(Nerr::kInvalid, "there is no Inferentia {}; this machine has {}", bdf, Chain(chain));
}

Result<Numbers> Wanted(const std::vector<std::string>& chain, const DeviceSelection& selection) {
  Numbers wanted;
  for (const std::string& bdf : selection.bdfs) {
    NRTD_ASSIGN(const uint32_t number, FindBdf(bdf, chain));
    wanted.insert(number);
  }
  if (!wanted.empty()) return wanted;  // the command line is more particular than a file
  for (const uint32_t asked : selection.numbers) {
    NRTD_ASSIGN(const uint32_t number, CheckNumber(asked, chain));
    wanted.insert(number);
  }
  return wanted;
}

}  // namespace

Result<std::vector<uint32_t>> SelectDevices(const std::vector<std::string>& chain,
                                            const DeviceSelection& selection) {
  NRTD_ASSIGN(const Numbers visible, Visible(selection.visible, chain));
  NRTD_ASSIGN(const Numbers wanted, Wanted(chain, selection));
  for (const uint32_t number : wanted) {
    if (!visible.contains(number)) {
      return Fail(Nerr::kInvalid, "device {} ({}) is not among AWS_NEURON_VISIBLE_DEVICES={}",
                  number, chain[number], selection.visible);
    }
  }
  const Numbers& taken = wanted.empty() ? visible : wanted;
  std::vector<uint32_t> devices(taken.begin(), taken.end());
  if (devices.back() - devices.front() + 1 != devices.size()) {
    return Fail(Nerr::kInvalid,
                "devices {} are not contiguous: a daemon takes neighbours in the chain {}",
                fmt::join(devices, ","), Chain(chain));
  }
  return devices;
}

}  // namespace nrtd
