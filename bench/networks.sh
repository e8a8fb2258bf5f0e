#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Real networks through the daemon's socket, in turn with ONNX Runtime on the same model, inputs and number of threads.
# Prints a table as it goes and writes build/networks.json, a line of JSON each.
#
#   bench/networks.sh [--rounds N] [NETWORK...]     bert-large bert-base resnet50 mobilenetv2, all by default
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=15
networks=()
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?--rounds needs a number}; shift 2 ;;
    -*) echo "bench/networks.sh: unknown option $1; use [--rounds N] [NETWORK...]" >&2; exit 2 ;;
    *) networks+=("$1"); shift ;;
  esac
done
[ ${#networks[@]} -gt 0 ] || networks=(bert-large bert-base resnet50 mobilenetv2)

bin=build/release/bin
models=build/models
mkdir -p "$models"
dir=$(mktemp -d)
daemon=
stop() {
  [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; daemon=; }
}
trap 'stop; rm -rf "$dir"' EXIT

# The goals: our median / ONNX Runtime's float32 median, with bfloat16 casts and without casts.
threads_of() { case $1 in mobilenetv2) echo 1 ;; *) echo 2 ;; esac; }
goal_of() {
  case $1/$2 in
    bert-*/all) echo 0.45 ;; bert-*/none) echo 1.00 ;;
    resnet50/all) echo 0.60 ;; resnet50/none) echo 1.05 ;;
    mobilenetv2/all) echo 0.90 ;; mobilenetv2/none) echo 1.10 ;;
  esac
}
script_of() {
  case $1 in
    bert-large | bert-base) echo models/bert/make_bert.py ;;
    resnet50) echo models/resnet/make_resnet50.py ;;
    mobilenetv2) echo models/mobilenet/make_mobilenetv2.py ;;
    *) echo "bench/networks.sh: no network '$1': bert-large, bert-base, resnet50 or mobilenetv2" >&2; return 2 ;;
  esac
}
# Is the model $2 of network $1 missing, or older than what writes it?
is_old() {
  local script
  script=$(script_of "$1") || exit 2
  [ ! -s "$2" ] || [ "$script" -nt "$2" ] || [ models/onnx_writer.py -nt "$2" ]
}
make_model() {
  local script
  script=$(script_of "$1")
  case $1 in
    bert-base) "$script" --layers 12 --hidden 768 --heads 12 -o "$2" ;;
    *) "$script" -o "$2" ;;
  esac
}

printf '%-12s %-5s %7s %10s %10s %7s %6s  %-10s %s\n' network cast threads ours_ms ort_ms ratio goal relative cosine
: >build/networks.json
for network in "${networks[@]}"; do
  model=$models/$network.onnx
  if is_old "$network" "$model"; then
    make_model "$network" "$model.part"
    mv "$model.part" "$model"
  fi
  models/make_inputs.py "$model" "$dir/$network"
  inputs=()
  for file in "$dir/$network"/*.npy; do inputs+=(--input "$(basename "$file" .npy)=$file"); done
  threads=$(threads_of "$network")
  export NEURON_RTD_ADDRESS=unix:$dir/nrtd.sock
  "$bin/neuron-rtd" --sim inf1.xlarge --sim-threads "$threads" -g "$NEURON_RTD_ADDRESS" -x >"$dir/neuron-rtd.log" 2>&1 &
  daemon=$!
  for cast in none all; do
    "$bin/neuron-cc" compile "$model" --framework ONNX --fp32-cast "$cast" --output "$dir/network.neff" >/dev/null
    "$bin/neuron-cli" wait-ready --timeout 30 >/dev/null
    id=$("$bin/neuron-cli" load --json --enable-direct-file-load "$dir/network.neff" | sed -n 's/.*"model_id": *\([0-9][0-9]*\).*/\1/p')
    result=$(node bench/ort/compare.mjs --model "$model" --threads "$threads" --rounds "$rounds" "${inputs[@]}" \
      --answer "$dir/answer.npy" -- "$bin/infer-loop" --shared-memory --model-id "$id" "${inputs[@]}" --output "$dir/answer.npy")
    "$bin/neuron-cli" unload "$id" >/dev/null
    goal=$(goal_of "$network" "$cast")
    /usr/bin/python3 - "$network" "$cast" "$threads" "$goal" "$result" <<'END'
import json, sys
network, cast, threads, goal, text = sys.argv[1:]
r = json.loads(text)
print(f"{network:12} {cast:5} {threads:>7} {r['ours_ms']:10.2f} {r['ort_ms']:10.2f} {r['ratio']:7.3f} {goal:>6}  "
      f"{r['relative']:<10.2e} {r['cosine']:.6f}{'' if r['ratio'] <= float(goal) else '  MISSED'}")
with open("build/networks.json", "a") as file:
    file.write(json.dumps({"network": network, "cast": cast, "threads": int(threads), "goal": float(goal)} | r) + "\n")
END
  done
  stop
done
grep -h 'SIMULATED' "$dir/neuron-rtd.log" | sed 's/.*SIMULATED/SIMULATED/'
