// SPDX-License-Identifier: Apache-2.0
//
// The public contract as data, taken from the descriptors of the public .proto files
// (aws/aws-neuron-runtime-proto), not from ours. Only contract_test.cc includes it.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace nrtd {

// Field `name` of a message: its number, its type (a message's or enum's name without the package),
// and the oneof it belongs to, if any.
struct ContractField {
  std::string_view name;
  int number;
  std::string_view type;
  bool repeated = false;
  std::string_view oneof = {};
};

struct ContractMessage {
  std::string_view name;
  std::vector<ContractField> fields;
};

struct ContractEnum {
  std::string_view name;
  std::vector<std::pair<std::string_view, int>> values;
};

struct ContractMethod {
  std::string_view name;
  std::string_view input;
  std::string_view output;
  bool client_streams = false;
  bool server_streams = false;
};

struct ContractService {
  std::string_view name;
  std::vector<ContractMethod> methods;
};

inline const std::vector<ContractMessage> kContractMessages = {
    {"address", {{"data", 1, "uint64"}}},
    {"return_code", {{"data", 1, "int32"}}},
    {"status",
     {
         {"code", 1, "int32"},
         {"details", 2, "bytes"},
     }},
    {"h_model", {{"id", 1, "uint32"}}},
    {"version",
     {
         {"full_version", 1, "string"},
         {"major_num", 2, "uint32"},
         {"minor_num", 3, "uint32"},
     }},
    {"u32", {{"data", 1, "uint32"}}},
    {"empty", {}},
    {"aggregate",
     {
         {"min", 1, "double"},
         {"max", 2, "double"},
         {"count", 3, "double"},
         {"sum", 4, "double"},
         {"values", 5, "double", true},
         {"counts", 6, "uint32", true},
     }},
    {"metric_data",
     {
         {"ts_nanos_since_epoch", 1, "uint64"},
         {"value_double", 2, "double", false, "value"},
         {"value_agg", 3, "aggregate", false, "value"},
     }},
    {"h_nn", {{"id", 1, "uint32"}}},
    {"h_eg", {{"id", 1, "uint32"}}},
    {"model_params",
     {
         {"timeout", 1, "u32"},
         {"ninfer", 2, "u32"},
         {"enable_tracing", 3, "u32"},
         {"io_data_host", 4, "u32"},
         {"fmap_in_huge_tlb", 5, "u32"},
         {"enable_node_profiling", 6, "u32"},
     }},
    {"file_chunk", {{"chunk", 1, "bytes"}}},
    {"shared_mem_buf", {{"path", 1, "string"}}},
    {"infer_io",
     {
         {"buf", 1, "bytes", false, "data"},
         {"buf_shm", 2, "shared_mem_buf", false, "data"},
         {"name", 3, "string"},
     }},
    {"infer_error_subtype_count",
     {
         {"error_subtype", 1, "infer_error_subtype"},
         {"count", 2, "uint32"},
     }},
    {"load_request",
     {
         {"h_eg", 1, "h_eg", false, "content"},
         {"model_params", 2, "model_params", false, "content"},
         {"neff_size", 3, "uint64", false, "content"},
         {"neff_chunk", 4, "file_chunk", false, "content"},
         {"neff_file", 5, "string", false, "content"},
         {"session_id", 6, "uint64", false, "content"},
     }},
    {"load_response",
     {
         {"status", 1, "status"},
         {"h_nn", 2, "h_nn"},
     }},
    {"unload_request", {{"h_nn", 1, "h_nn"}}},
    {"unload_response", {{"status", 1, "status"}}},
    {"start_request", {{"h_nn", 1, "h_nn"}}},
    {"start_response", {{"status", 1, "status"}}},
    {"stop_request", {{"h_nn", 1, "h_nn"}}},
    {"stop_response", {{"status", 1, "status"}}},
    {"infer_request",
     {
         {"h_nn", 1, "h_nn"},
         {"ifmap", 2, "infer_io", true},
         {"shm_ofmap", 3, "infer_io", true},
         {"loop_end_value", 4, "uint32"},
     }},
    {"infer_wait_request",
     {
         {"cookie", 1, "uint64"},
         {"shm_ofmap", 2, "infer_io", true},
     }},
    {"infer_response",
     {
         {"status", 1, "status"},
         {"ofmap", 3, "infer_io", true},
     }},
    {"infer_post_response",
     {
         {"status", 1, "status"},
         {"cookie", 2, "uint64"},
     }},
    {"infer_check_completion_request", {{"cookie", 1, "uint64", true}}},
    {"infer_check_completion_response",
     {
         {"status", 1, "status"},
         {"cookie", 2, "uint64", true},
     }},
    {"create_eg_request",
     {
         {"nc_count", 1, "uint32"},
         {"session_id", 2, "uint64"},
     }},
    {"create_eg_response",
     {
         {"status", 1, "status"},
         {"h_eg", 2, "h_eg"},
         {"nc_count", 3, "uint32"},
     }},
    {"destroy_eg_request", {{"h_eg", 1, "h_eg"}}},
    {"destroy_eg_response", {{"status", 1, "status"}}},
    {"eg_info",
     {
         {"eg", 1, "h_eg"},
         {"vnc_start_index", 2, "uint32"},
         {"nc_count", 3, "uint32"},
         {"mla_start_index", 4, "uint32"},
         {"nc_start_index", 5, "uint32"},
     }},
    {"out_list_egs",
     {
         {"eg_info", 1, "eg_info", true},
         {"mla_count", 2, "uint32"},
         {"nc_count", 3, "uint32"},
         {"status", 4, "status"},
     }},
    {"hugetlb_shm",
     {
         {"path", 1, "string"},
         {"size", 2, "uint32"},
     }},
    {"shm_map_request",
     {
         {"path", 1, "string", false, "data"},
         {"path_hugetlb", 3, "hugetlb_shm", false, "data"},
         {"mmap_prot", 2, "uint32"},
         {"session_id", 4, "uint64"},
     }},
    {"shm_map_response", {{"status", 1, "status"}}},
    {"shm_unmap_request",
     {
         {"path", 1, "string"},
         {"mmap_prot", 2, "uint32"},
     }},
    {"shm_unmap_response", {{"status", 1, "status"}}},
    {"nc_counters",
     {
         {"virtual_nc_id", 1, "uint32"},
         {"pe_num_idle_cycles", 2, "uint64"},
         {"pe_num_wait_event_cycles", 3, "uint64"},
         {"pe_matmul_num_wait_event_cycles", 4, "uint64"},
         {"pe_num_executed_instr", 5, "uint64"},
         {"pe_matmul_num_executed_instr", 6, "uint64"},
         {"pool_num_idle_cycles", 7, "uint64"},
         {"pool_num_wait_event_cycles", 8, "uint64"},
         {"pool_num_executed_instr", 9, "uint64"},
         {"act_num_idle_cycles", 10, "uint64"},
         {"act_num_wait_event_cycles", 11, "uint64"},
         {"act_num_executed_instr", 12, "uint64"},
         {"sb_rmw_count", 13, "uint64"},
         {"macs_count", 14, "uint64"},
     }},
    {"infer_status_counts",
     {
         {"infer_status", 1, "infer_status"},
         {"count", 2, "uint32"},
     }},
    {"nmgr_counters",
     {
         {"infer_error_subtype_count", 1, "infer_error_subtype_count", true},
         {"infer_status_counts", 2, "infer_status_counts", true},
         {"infer_queue_drop_count", 3, "uint64"},
         {"infer_count", 4, "uint64"},
         {"model_start_count", 5, "uint64"},
         {"model_stop_count", 6, "uint64"},
         {"model_load_count", 7, "uint64"},
         {"model_unload_count", 8, "uint64"},
         {"neff_version_max_major", 9, "uint64"},
         {"neff_version_max_minor", 10, "uint64"},
         {"neff_version_min_major", 11, "uint64"},
         {"neff_version_min_minor", 12, "uint64"},
         {"neff_size_bytes_max", 13, "uint64"},
         {"neff_num_ncs_max", 14, "uint64"},
     }},
    {"memory_counters",
     {
         {"infa_id", 1, "uint32"},
         {"mem_used_host", 2, "uint64"},
         {"mem_used_infa_0", 3, "uint64"},
         {"mem_used_infa_1", 4, "uint64"},
     }},
    {"system_counters",
     {
         {"num_logs_error", 1, "uint64"},
         {"num_logs_warning", 2, "uint64"},
         {"memory_counters", 3, "memory_counters", true},
     }},
    {"metric",
     {
         {"metric_type", 2, "metric_type"},
         {"data", 3, "metric_data", true},
         {"overflow", 4, "bool"},
     }},
    {"read_all_metrics_request", {{"summarize_period", 1, "uint32"}}},
    {"read_all_metrics_response",
     {
         {"nmgr_metrics", 1, "metric", true},
         {"status", 2, "status"},
     }},
    {"read_nc_counters_request", {{"vnc_id", 1, "uint32"}}},
    {"read_nc_counters_response",
     {
         {"nc_counters", 1, "nc_counters"},
         {"status", 2, "status"},
     }},
    {"read_inference_counters_response", {{"nmgr_counters", 1, "nmgr_counters"}}},
    {"read_all_counters_request", {}},
    {"read_all_counters_response",
     {
         {"nc_counters", 2, "nc_counters", true},
         {"nmgr_counters", 4, "nmgr_counters"},
         {"system_counters", 5, "system_counters"},
         {"status", 6, "status"},
     }},
    {"hw_counters",
     {
         {"bdf", 1, "string"},
         {"device_index", 2, "uint32"},
         {"mem_ecc_corr", 3, "uint32"},
         {"mem_ecc_uncorr", 4, "uint32"},
         {"sram_ecc_corr", 5, "uint32"},
         {"sram_ecc_uncorr", 6, "uint32"},
         {"transfer_adjustment_cnt", 7, "uint32"},
     }},
    {"get_hw_counters_request",
     {
         {"bdf", 1, "string", false, "device"},
         {"device_id", 2, "uint32", false, "device"},
     }},
    {"get_hw_counters_response",
     {
         {"status", 2, "status"},
         {"counters", 1, "hw_counters"},
     }},
    {"get_all_hw_counters_response",
     {
         {"status", 2, "status"},
         {"counters", 1, "hw_counters", true},
     }},
    {"random_seed_request",
     {
         {"h_eg", 1, "h_eg"},
         {"seed", 2, "uint32"},
     }},
    {"random_seed_response", {{"status", 1, "status"}}},
    {"get_version_request",
     {
         {"framework_name", 1, "string"},
         {"framework_version", 2, "version"},
         {"fal_version", 3, "version"},
     }},
    {"get_version_response", {{"runtime_version", 1, "version"}}},
    {"read_nc_time_in_use_request", {{"vnc_id", 1, "uint32"}}},
    {"nc_time_in_use",
     {
         {"virtual_nc_id", 1, "uint32"},
         {"time_in_use", 2, "uint64"},
     }},
    {"read_nc_time_in_use_response",
     {
         {"nc_time_in_use", 1, "nc_time_in_use"},
         {"status", 2, "status"},
     }},
    {"set_static_transfer_adjustment_request", {{"transfer_adjust_cnt", 1, "uint32"}}},
    {"set_static_transfer_adjustment_response", {{"status", 1, "status"}}},
    {"session_monitor_request",
     {
         {"framework_name", 1, "string"},
         {"framework_version", 2, "version"},
         {"fal_version", 3, "version"},
     }},
    {"session_monitor_response",
     {
         {"session_id", 1, "uint64"},
         {"runtime_version", 2, "version"},
     }},
};

inline const std::vector<ContractEnum> kContractEnums = {
    {"nc_engine_type",
     {
         {"nc_engine_type_pe", 0},
         {"nc_engine_type_act", 1},
         {"nc_engine_type_pool", 2},
     }},
    {"nerr",
     {
         {"NERR_OK", 0},
         {"NERR_FAIL", 1},
         {"NERR_INVALID", 2},
         {"NERR_INVALID_HANDLE", 3},
         {"NERR_RESOURCE", 4},
         {"NERR_TIMEOUT", 5},
         {"NERR_HW_ERROR", 6},
         {"NERR_QUEUE_FULL", 7},
         {"NERR_FAILED_STATE", 8},
         {"NERR_RESOURCE_NC", 9},
         {"NERR_UNSUPPORTED_VERSION", 10},
         {"NERR_INFER_PENDING", 1000},
         {"NERR_INFER_CANCELLED", 1001},
         {"NERR_INFER_BAD_INPUT", 1002},
         {"NERR_INFER_COMPLETED_WITH_NUM_ERR", 1003},
         {"NERR_INFER_COMPLETED_WITH_ERR", 1004},
     }},
    {"infer_error_subtype",
     {
         {"INFER_ERROR_SUBTYPE_NONE", 0},
         {"INFER_ERROR_SUBTYPE_NUMERICAL", 1},
         {"INFER_ERROR_SUBTYPE_MODEL", 2},
         {"INFER_ERROR_SUBTYPE_TRANSIENT", 3},
         {"INFER_ERROR_SUBTYPE_HW_ERROR", 4},
         {"INFER_ERROR_SUBTYPE_RT", 5},
     }},
    {"infer_status",
     {
         {"IST_OK", 0},
         {"IST_COMPLETED_WITH_NUM_ERR", 1},
         {"IST_COMPLETED_WITH_ERR", 2},
         {"IST_BAD_INPUT", 3},
         {"IST_TIMEOUT", 4},
         {"IST_UNKNOWN", 15},
     }},
    {"metric_type",
     {
         {"NMGR_METRIC_INFER_LATENCY", 0},
         {"NMGR_METRIC_INFER_ON_INFA_LATENCY", 1},
         {"NMGR_METRIC_MODEL_START_LATENCY", 2},
         {"NMGR_METRIC_MODEL_STOP_LATENCY", 3},
         {"NMGR_METRIC_MODEL_LOAD_LATENCY", 4},
         {"NMGR_METRIC_MODEL_UNLOAD_LATENCY", 5},
         {"NMGR_METRIC_MODEL_SIZE", 6},
         {"NMGR_METRIC_MODEL_NUM_NC", 7},
         {"NMGR_METRIC_MODEL_MAJOR_VERSION", 8},
         {"NMGR_METRIC_INFER_ON_INFA_CYCLESx1k", 9},
         {"NMGR_METRIC_NUM", 10},
     }},
};

inline const std::vector<ContractService> kContractServices = {
    {"nmgr_v1",
     {
         {"load", "load_request", "load_response", true},
         {"unload", "unload_request", "unload_response"},
         {"start", "start_request", "start_response"},
         {"stop", "stop_request", "stop_response"},
         {"infer", "infer_request", "infer_response"},
         {"infer_post", "infer_request", "infer_post_response"},
         {"infer_wait", "infer_wait_request", "infer_response"},
         {"infer_poll", "infer_wait_request", "infer_response"},
         {"infer_check_completion", "infer_check_completion_request",
          "infer_check_completion_response"},
         {"create_eg", "create_eg_request", "create_eg_response"},
         {"destroy_eg", "destroy_eg_request", "destroy_eg_response"},
         {"list_egs", "empty", "out_list_egs"},
         {"read_nc_counters", "read_nc_counters_request", "read_nc_counters_response"},
         {"read_nc_time_in_use", "read_nc_time_in_use_request", "read_nc_time_in_use_response"},
         {"read_inference_counters", "empty", "read_inference_counters_response"},
         {"read_all_counters", "read_all_counters_request", "read_all_counters_response"},
         {"read_all_metrics", "read_all_metrics_request", "read_all_metrics_response"},
         {"shm_map", "shm_map_request", "shm_map_response"},
         {"shm_unmap", "shm_unmap_request", "shm_unmap_response"},
         {"get_hw_counters", "get_hw_counters_request", "get_hw_counters_response"},
         {"get_all_hw_counters", "empty", "get_all_hw_counters_response"},
         {"unload_all", "empty", "status"},
         {"random_seed", "random_seed_request", "random_seed_response"},
         {"get_version", "get_version_request", "get_version_response"},
         {"set_static_transfer_adjustment", "set_static_transfer_adjustment_request",
          "set_static_transfer_adjustment_response"},
     }},
    {"nmgr_session_manager",
     {
         {"session_monitor", "session_monitor_request", "session_monitor_response", true, true},
     }},
    {"nmgr_stream",
     {
         {"infer_stream", "infer_request", "infer_response", true, true},
     }},
};

}  // namespace nrtd
