#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The throughput of a network on one core with one CPU, and cut in two, a CPU for each piece, in turn: four clients keep
# all slots full. Prints inferences a second, and how many times as many the pipeline makes (goal: 1.8).
#
#   bench/pipeline.sh [NETWORK] [SECONDS] [ROUNDS]     bert-base, 10 s and 3 by default; build/models/NETWORK.onnx
set -euo pipefail
cd "$(dirname "$0")/.."
network=${1:-bert-base} seconds=${2:-10} rounds=${3:-3}
bin=build/release/bin
model=build/models/$network.onnx
[ -s "$model" ] || { echo "bench/pipeline.sh: there is no $model: run ./dev networks $network" >&2; exit 2; }
[ "$(nproc)" -ge 2 ] || { echo "bench/pipeline.sh: it takes two CPUs" >&2; exit 2; }
dir=$(mktemp -d)
daemon=
stop() { [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; daemon=; }; }
trap 'stop; rm -rf "$dir"' EXIT
export NEURON_RTD_ADDRESS=unix:$dir/nrtd.sock
/usr/bin/python3 models/make_inputs.py "$model" "$dir/inputs"
inputs=()
for file in "$dir"/inputs/*.npy; do inputs+=(--input "$(basename "$file" .npy)=$file"); done
for cores in 1 2; do
  "$bin/neuron-cc" compile "$model" --framework ONNX --fp32-cast none --neuroncore-pipeline-cores $cores --output "$dir/$cores.neff" >/dev/null
done

# Inferences a second of $1 pieces on the CPUs $2.
measure() {
  taskset -c "$2" "$bin/neuron-rtd" --sim inf1.xlarge -g "$NEURON_RTD_ADDRESS" -x >"$dir/neuron-rtd.log" 2>&1 &
  daemon=$!
  "$bin/neuron-cli" wait-ready --timeout 30 >/dev/null
  local id client clients=() before after
  id=$("$bin/neuron-cli" load --json --enable-direct-file-load --timeout 60 "$dir/$1.neff" | sed -n 's/.*"model_id": *\([0-9][0-9]*\).*/\1/p')
  done_so_far() { "$bin/neuron-cli" list-model --json | sed -n 's/.*"inferences_done": *\([0-9][0-9]*\).*/\1/p'; }
  for client in 1 2 3 4; do
    yes '' 2>/dev/null | head -100000 | "$bin/infer-loop" --model-id "$id" "${inputs[@]}" >/dev/null 2>"$dir/client-$client.log" &
    clients+=($!)
  done
  sleep 2
  before=$(done_so_far)
  sleep "$seconds"
  after=$(done_so_far)
  kill "${clients[@]}" 2>/dev/null || true
  wait "${clients[@]}" 2>/dev/null || true
  stop
  if [ "${after:-0}" -le "${before:-0}" ]; then
    echo "bench/pipeline.sh: $1 pieces made no inference in $seconds s; the clients and the daemon say:" >&2
    tail -n 3 "$dir"/client-*.log "$dir/neuron-rtd.log" >&2
    return 1
  fi
  awk -v n=$((after - before)) -v s="$seconds" 'BEGIN {printf "%.2f\n", n / s}'
}

for round in $(seq "$rounds"); do
  one=$(measure 1 0)
  two=$(measure 2 0,1)
  awk -v a="$one" -v b="$two" -v n="$network" 'BEGIN {printf "%s one core %.2f/s, two pieces %.2f/s, ratio %.3f\n", n, a, b, b / a}'
done
