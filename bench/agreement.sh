#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Real networks with --fp32-cast all against ONNX Runtime's float32 on random inputs, as they are and with biases
# corrected from 16 other random inputs (neuron-cc --calibrate): the same class, a cosine of 0.999?
# Prints two lines for each, "NETWORK calibrated: no|yes JSON", and fails below 99 of 100: as they are, of the class;
# once biases are corrected, of both ("close").
#
#   bench/agreement.sh [--count N] [NETWORK...]     bert-base bert-large resnet50 mobilenetv2 by default; build/models/NETWORK.onnx,
#                                                   which ./dev networks makes
set -euo pipefail
cd "$(dirname "$0")/.."
count=100
networks=()
while [ $# -gt 0 ]; do
  case $1 in
    --count) count=${2:?--count needs a number}; shift 2 ;;
    *) networks+=("$1"); shift ;;
  esac
done
[ ${#networks[@]} -gt 0 ] || networks=(bert-base bert-large resnet50 mobilenetv2)
bin=build/release/bin
dir=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null; wait; rm -rf "$dir"' EXIT
export NEURON_RTD_ADDRESS=unix:$dir/nrtd.sock
"$bin/neuron-rtd" --sim inf1.xlarge --sim-threads 2 -g "$NEURON_RTD_ADDRESS" -x >"$dir/neuron-rtd.log" 2>&1 &
daemon=$!
"$bin/neuron-cli" wait-ready --timeout 30 >/dev/null
missed=0
for network in "${networks[@]}"; do
  model=build/models/$network.onnx
  [ -s "$model" ] || { echo "bench/agreement.sh: there is no $model: run ./dev networks $network" >&2; exit 2; }
  /usr/bin/python3 models/make_inputs.py "$model" "$dir/$network" --count "$count"
  /usr/bin/python3 models/make_inputs.py "$model" "$dir/$network-samples" --seed 2 --count 16
  for corrected in no yes; do
    options=()
    [ $corrected = no ] || options=(--calibrate "$dir/$network-samples")
    "$bin/neuron-cc" compile "$model" --framework ONNX "${options[@]}" --output "$dir/network.neff" >/dev/null
    id=$("$bin/neuron-cli" load --json --timeout 60 --enable-direct-file-load "$dir/network.neff" | sed -n 's/.*"model_id": *\([0-9][0-9]*\).*/\1/p')
    result=$(node bench/ort/agreement.mjs --model "$model" --inputs "$dir/$network" --threads 2 -- "$bin/infer-loop" --model-id "$id")
    "$bin/neuron-cli" unload "$id" >/dev/null
    same=$(sed -n 's/.*"same_class":\([0-9]*\).*/\1/p' <<<"$result")
    close=$(sed -n 's/.*"close":\([0-9]*\).*/\1/p' <<<"$result")
    wanted=$same
    [ $corrected = no ] || wanted=$close
    verdict=
    [ $((wanted * 100)) -ge $((count * 99)) ] || { verdict=" MISSED"; missed=1; }
    echo "$network calibrated: $corrected $result$verdict"
  done
done
exit $missed
