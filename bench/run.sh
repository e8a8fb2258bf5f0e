#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Measures the built daemon on one simulated Inferentia with the digits network against a bare gRPC echo. Prints the
# table and writes it to build/bench.json. A missed bound is shown; it fails the run only with --strict.
#
#   bench/run.sh [--seconds N] [--strict]     30 s by default
set -eu
cd "$(dirname "$0")/.."

# In ten seconds a machine with other tenants moves 64 clients by a third.
seconds=30
strict=
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
    --strict) strict=--strict; shift ;;
    *) echo "bench/run.sh: unknown option $1; use [--seconds N] [--strict]" >&2; exit 2 ;;
  esac
done

bin=build/release/bin
for name in neuron-rtd neuron-cli neuron-cc nrtd-echo-server infer-bench layers-model; do
  if [ ! -x "$bin/$name" ]; then
    echo "bench/run.sh: $bin/$name is missing; run ./dev build first" >&2
    exit 1
  fi
done

dir=$(mktemp -d)
daemon=
echo_server=
stop() {
  for pid in $echo_server $daemon; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

started=$(date +%s%N)
"$bin/neuron-rtd" --sim inf1.xlarge -g "unix:$dir/nrtd.sock" -x >"$dir/neuron-rtd.log" 2>&1 &
daemon=$!
until grep -q 'Server listening' "$dir/neuron-rtd.log"; do
  kill -0 "$daemon" 2>/dev/null || break
  sleep 0.002
done
listening=$(date +%s%N)
start_ms=$(((listening - started) / 1000000))
# The pool's pages are faulted in behind; idle is what comes then.
until grep -q 'are faulted in' "$dir/neuron-rtd.log"; do
  kill -0 "$daemon" 2>/dev/null || break
  sleep 0.01
done
pool_ms=$((($(date +%s%N) - started) / 1000000))
# The output of the digits network: ten float32. infer-bench refuses to compare if that is not so.
"$bin/nrtd-echo-server" --listen "unix:$dir/echo.sock" --output-name output:0 --output-bytes 40 \
  >"$dir/echo.log" 2>&1 &
echo_server=$!

# Says which of the two is gone, and what it said last.
check_alive() {
  if ! kill -0 "$daemon" 2>/dev/null; then
    echo "bench/run.sh: neuron-rtd died; its last lines:" >&2
    tail -n 20 "$dir/neuron-rtd.log" >&2
    exit 1
  fi
  if ! kill -0 "$echo_server" 2>/dev/null; then
    echo "bench/run.sh: nrtd-echo-server died; its last lines:" >&2
    tail -n 20 "$dir/echo.log" >&2
    exit 1
  fi
}

"$bin/neuron-cc" compile models/digits/digits.onnx --framework ONNX --output "$dir/digits.neff"
for socket in nrtd echo; do
  if ! "$bin/neuron-cli" -a "unix:$dir/$socket.sock" wait-ready --timeout 30; then
    check_alive
    exit 1
  fi
done
"$bin/neuron-cc" compile models/images/three_images.onnx --framework ONNX --output "$dir/images.neff" >/dev/null
# A slot for each of the 64 clients.
load() {
  "$bin/neuron-cli" -a "unix:$dir/nrtd.sock" load --json --ninfer "$1" "$2" | sed -n 's/.*"model_id": *\([0-9][0-9]*\).*/\1/p'
}
# 64 MiB of weights each, of which the daemon knows none.
for seed in 1 2 3 4 5 6; do
  "$bin/layers-model" "$dir/layers.onnx" --layers 16 --width 1024 --seed "$seed"
  "$bin/neuron-cc" compile "$dir/layers.onnx" --framework ONNX --fp32-cast none --output "$dir/layers-$seed.neff" >/dev/null
done
rm "$dir/layers.onnx"
model=$(load 64 "$dir/digits.neff")
images=$(load 4 "$dir/images.neff")

# A missed bound with --strict is also a failure of infer-bench, hence the check of both servers in any case.
status=0
"$bin/infer-bench" -a "unix:$dir/nrtd.sock" --echo "unix:$dir/echo.sock" --model-id "$model" \
  --daemon-pid "$daemon" --start-ms "$start_ms" --pool-ms "$pool_ms" --shm-model-id "$images" --input models/digits/images.npy --output-size 40 --seconds "$seconds" --json build/bench.json \
  --reload "$dir/layers-1.neff" "$dir/layers-2.neff" "$dir/layers-3.neff" \
  --reload-upload "$dir/layers-4.neff" "$dir/layers-5.neff" "$dir/layers-6.neff" \
  $strict || status=$?
check_alive
exit "$status"
