#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Loading a large network by its file: the time beside that of hashing the file, what is resident, what a second replica
# adds, and how soon everything is free when the client is killed in the middle of a load.
#
#   bench/loading.sh [NETWORK] [CAST]     bert-large and all by default; build/models/NETWORK.onnx, which ./dev networks makes
set -euo pipefail
cd "$(dirname "$0")/.."
network=${1:-bert-large} cast=${2:-all}
bin=build/release/bin
model=build/models/$network.onnx
[ -s "$model" ] || { echo "bench/loading.sh: there is no $model: run ./dev networks $network" >&2; exit 2; }
dir=$(mktemp -d)
daemon=
stop() { [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; daemon=; }; }
trap 'stop; rm -rf "$dir"' EXIT
export NEURON_RTD_ADDRESS=unix:$dir/nrtd.sock
start() {
  "$bin/neuron-rtd" "$@" --sim inf1.xlarge --sim-threads 2 --reclaim-on-disconnect -g "$NEURON_RTD_ADDRESS" -x >"$dir/neuron-rtd.log" 2>&1 &
  daemon=$!
  "$bin/neuron-cli" wait-ready --timeout 30 >/dev/null
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }
time_ms() { local begin; begin=$(now_ms); "$@" >/dev/null 2>&1; echo $(($(now_ms) - begin)); }
load() { "$bin/neuron-cli" load --timeout 120 --enable-direct-file-load "$dir/network.neff"; }
resident_kib() { awk '/^VmRSS/ {print $2}' "/proc/$daemon/status"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.3f", a / b}'; }

"$bin/neuron-cc" compile "$model" --framework ONNX --fp32-cast "$cast" --output "$dir/network.neff" >"$dir/report"
weights_kib=$(($(stat -c %s "$dir/network.neff") / 1024))
sleep 4  # a file that has just been written may change again without its times showing it: it would be hashed
loads=() sha=() openssl=()
for _ in 1 2 3; do
  sha+=("$(time_ms sha256sum "$dir/network.neff")")
  if command -v openssl >/dev/null; then openssl+=("$(time_ms openssl dgst -sha256 "$dir/network.neff")"); fi
  start
  before=$(resident_kib)
  loads+=("$(time_ms load)")
  after=$(resident_kib)
  replica=$(time_ms load)
  more=$(resident_kib)
  stop
done
load_ms=$(printf '%s\n' "${loads[@]}" | sort -n | sed -n 2p)
sha_ms=$(printf '%s\n' "${sha[@]}" | sort -n | sed -n 2p)
echo "$network --fp32-cast $cast: NEFF of $weights_kib KiB, loads ${loads[*]} ms, sha256sum ${sha[*]} ms, openssl ${openssl[*]:-is not there} ms"
echo "load / sha256sum $(ratio "$load_ms" "$sha_ms") (goal 2)"
if [ ${#openssl[@]} -gt 0 ]; then
  echo "load / openssl, which has the CPU's SHA instructions $(ratio "$load_ms" "$(printf '%s\n' "${openssl[@]}" | sort -n | sed -n 2p)") (goal 2)"
fi
echo "resident besides the idle daemon $((after - before)) KiB: / NEFF $(ratio $((after - before)) "$weights_kib") (goal 1.15)"
echo "second replica: $replica ms, $((more - after)) KiB, of the first $(ratio $((more - after)) $((after - before))) (goal 0.05)"

# Without the cache every load is one from the beginning.
echo '{"model_cache_count": 0}' >"$dir/neuron-rtd.config"
start -c "$dir/neuron-rtd.config"
"$bin/killed-load" --pid "$daemon" --cli "$bin/neuron-cli" --middle "$((load_ms * 2 / 3))" "$dir/network.neff"
echo "  (goal 100 since the connection broke)"
