#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job from end to end: compile, serve, load, infer, look, stop, and leave nothing behind.
#   demo.sh BIN_DIR
set -euo pipefail
bin=$(readlink -f "$1")
models=$(readlink -f "$(dirname "$0")/../../models/digits")
work=$(mktemp -d)
# In a folder of its own, which is empty: models are numbered from 10001.
mkdir "$work/run"
export NEURON_RTD_ADDRESS=unix:$work/run/neuron.sock
daemon=

stop_daemon() {
  [ -n "$daemon" ] || return 0
  kill -TERM "$daemon" 2>/dev/null || true
  wait "$daemon" || { echo "demo: neuron-rtd ended with an error:" >&2; cat "$work/neuron-rtd.log" >&2; return 1; }
  daemon=
}
trap 'stop_daemon || true; rm -rf "$work"' EXIT

step() { printf '\n$ %s\n' "$*"; }
run() { step "$(basename "$1") ${*:2}"; "$@"; }

pages_before=$(awk '/HugePages_Free/ {print $2}' /proc/meminfo)

cd "$work"
run "$bin/neuron-cc" compile "$models/digits.onnx" --framework ONNX --output digits.neff

step "neuron-rtd --sim inf1.xlarge -g $NEURON_RTD_ADDRESS -x &"
pages=()
[ "$pages_before" -ge 128 ] || pages=(--allow-small-pages)
"$bin/neuron-rtd" --sim inf1.xlarge -g "$NEURON_RTD_ADDRESS" -x "${pages[@]}" 2>"$work/neuron-rtd.log" &
daemon=$!
"$bin/neuron-cli" wait-ready --timeout 10
cat "$work/neuron-rtd.log"

run "$bin/neuron-cli" load digits.neff
run "$bin/neuron-cli" list-model
step "digits-demo"
"$bin/digits-demo" --model-id 10001 --images "$models/images.npy" --labels "$models/labels.npy"
run "$bin/neuron-top" --once

step "kill -TERM neuron-rtd"
pid=$daemon
stop_daemon
left=
[ -e "$work/run/neuron.sock" ] && left="$left socket"
kill -0 "$pid" 2>/dev/null && left="$left process"
[ "$(awk '/HugePages_Free/ {print $2}' /proc/meminfo)" = "$pages_before" ] || left="$left hugepages"
[ -z "$left" ] || { echo "demo: left behind:$left" >&2; exit 1; }
echo "stopped; no process, socket, shared memory or huge page left behind"
