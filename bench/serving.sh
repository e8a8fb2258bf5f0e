#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Benchmarks tensorflow_model_server_neuron with a daemon that has one simulated Inferentia: the overhead of Predict over infer,
# compared with a bare gRPC echo over TCP; batching and several compiled sizes with ResNet-50; memory over many requests.
#
#   bench/serving.sh [--seconds N] [--requests N]     20 s for each comparison and 1,000,000 requests by default
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=20 requests=1000000
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
    --requests) requests=${2:?--requests needs a number}; shift 2 ;;
    *) echo "bench/serving.sh: unknown option $1; use [--seconds N] [--requests N]" >&2; exit 2 ;;
  esac
done

bin=build/release/bin
dir=$(mktemp -d)
pids=()
stop() {
  # The servers first: a daemon that goes makes them wait for it.
  for ((i = ${#pids[@]} - 1; i >= 0; --i)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  pids=()
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== %s\n' "$*"; }

# await LOG PATTERN PID: until the log of the process has it.
await() {
  until grep -q "$2" "$1"; do
    kill -0 "$3" 2>/dev/null || { tail -n 5 "$1" >&2; exit 1; }
    sleep 0.05
  done
}

start_daemon() {
  : >"$dir/neuron-rtd.log"  # not what another one wrote
  "$bin/neuron-rtd" --sim inf1.xlarge -g "unix:$dir/nrtd.sock" -x >"$dir/neuron-rtd.log" 2>&1 &
  pids+=($!)
  await "$dir/neuron-rtd.log" 'Server listening' $!
}

# start_server NAME MODEL [FLAG...]: sets NAME_address, NAME_rest and NAME_pid.
start_server() {
  local name=$1 model=$2 log=$dir/$1.log
  shift 2
  : >"$log"
  echo 'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }' >"$dir/monitoring"
  NEURON_RTD_ADDRESS=unix:$dir/nrtd.sock "$bin/tensorflow_model_server_neuron" --port=0 --rest_api_port="$next_rest" --model_name="$model" \
    --model_base_path="$dir/$model" --monitoring_config_file="$dir/monitoring" "$@" >"$log" 2>&1 &
  pids+=($!)
  await "$log" 'Exporting HTTP/REST API' $!
  await "$log" 'gRPC ModelServer at' $!
  printf -v "${name}_pid" '%s' $!
  printf -v "${name}_rest" '%s' "127.0.0.1:$next_rest"
  printf -v "${name}_address" '127.0.0.1:%s' "$(sed -n 's/.*gRPC ModelServer at [^:]*:\([0-9]*\).*/\1/p' "$log")"
  next_rest=$((next_rest + 1))
}
next_rest=18501

# compile MODEL ONNX [OPTION...]
compile() {
  local model=$1 onnx=$2
  shift 2
  "$bin/neuron-cc" compile "$onnx" "$@" --saved-model "$dir/$model" --model-name "$model" >/dev/null
}

# overhead MODEL ROWS OUTPUT_BYTES
overhead() {
  start_daemon
  start_server server "$1"
  "$bin/nrtd-echo-server" --listen "127.0.0.1:$next_rest" --output-name y --output-bytes "$3" >"$dir/echo.log" 2>&1 &
  pids+=($!)
  await "$dir/echo.log" listening $!
  # shellcheck disable=SC2154
  "$bin/serving-bench" overhead --server "$server_address" --server-pid "$server_pid" --metrics "$server_rest" --echo "127.0.0.1:$next_rest" \
    --echo-pid $! --model "$1" --rows "$2" --seconds "$seconds"
  next_rest=$((next_rest + 1))
  stop
}

compile kilobyte models/digits/digits.onnx --batch-sizes 4
compile images models/images/three_images.onnx
resnet=build/models/resnet50.onnx
if [ ! -s "$resnet" ]; then
  mkdir -p build/models
  models/resnet/make_resnet50.py -o "$resnet.part" && mv "$resnet.part" "$resnet"
fi
compile one "$resnet"
compile four "$resnet" --batch-sizes 4
compile both "$resnet" --batch-sizes 1,4

say "Predict less infer, against an echo over TCP: 1 KiB"
overhead kilobyte 4 160
say "The same with three inputs of 602,112 bytes"
overhead images 1 48

say "8 clients with requests of 1, ResNet-50 compiled for 4: without batching, with it"
start_daemon
start_server first four
echo 'max_batch_size { value: 4 } batch_timeout_micros { value: 20000 } num_batch_threads { value: 2 }' >"$dir/batching"
start_server second four --enable_batching --batching_parameters_file="$dir/batching"
# shellcheck disable=SC2154
"$bin/serving-bench" compare --server "$first_address" --server "$second_address" --model four --clients 8 --seconds "$seconds"
stop

say "A lone request of 1: ResNet-50 compiled for 1, and for 1 and 4"
start_daemon
start_server first one
start_server second both
"$bin/serving-bench" compare --server "$first_address" --server "$second_address" --model one --model both --seconds "$seconds"
stop

say "The daemon's memory with ResNet-50 compiled for 1, and for 1 and 4: weights, scratch, and what of the file is read in place"
for model in one both; do
  start_daemon
  daemon_pid=$!
  start_server server "$model"
  # It has run in each size.
  for rows in 1 4; do
    "$bin/serving-bench" memory --server "$server_address" --server-pid "$server_pid" --model "$model" --rows "$rows" --count 8 >/dev/null
  done
  bench/added_memory.sh list "$daemon_pid" >"$dir/$model.memory"
  stop
done
bench/added_memory.sh compare "$dir/one.memory" "$dir/both.memory"

say "Memory of the server over $requests requests of 1 KiB"
start_daemon
start_server server kilobyte
"$bin/serving-bench" memory --server "$server_address" --server-pid "$server_pid" --model kilobyte --clients 4 --count "$requests"
stop
