// SPDX-License-Identifier: Apache-2.0
//
// What list-model, list-ncg and list-clients print, as text in the form of the Neuron user guide
// and as JSON.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "proto/nrt/nmgr.pb.h"
#include "proto/nrtd/v1/control.pb.h"

namespace nrtd::cli {

// READY for a running network, else the state's own name in capitals.
std::string ModelStatus(v1::NetworkState state);

// Newest first, as in the guide.
std::string ModelTable(const v1::ListNetworksResponse& networks);
nlohmann::json ModelJson(const v1::ListNetworksResponse& networks);

// A connection a line, the oldest first.
std::string ClientTable(const v1::ListClientsResponse& clients);
nlohmann::json ClientJson(const v1::ListClientsResponse& clients);

std::string GroupTable(const nrt::out_list_egs& groups);
nlohmann::json GroupJson(const nrt::out_list_egs& groups);

}  // namespace nrtd::cli
