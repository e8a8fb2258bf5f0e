#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The sidecar in real containers: docker/pod.yaml by `podman play kube`, the client waiting for the daemon, inferences
# answered, the daemon killed and restarted, the client recovering. Everything lives in a folder of its own and is gone
# afterwards. Exit code 77 (skipped) with the reason where that cannot run.
#   pod_test.sh SOURCE_DIR [BASE_TAR]     BASE_TAR keeps the base image for the next run
set -euo pipefail
source_dir=$(readlink -f "$1")
base_tar=${2:-}
readonly patience=120  # seconds: only a hang gets there

skip() { echo "skipped: $*"; exit 77; }
fail() { echo "FAILED: $*" >&2; exit 1; }

for tool in podman runc debootstrap catatonit; do
  command -v "$tool" >/dev/null || skip "$tool is not installed"
done
[ "$(id -u)" = 0 ] || skip "containers with huge pages take root"
[ "$(awk '/HugePages_Free/ {print $2}' /proc/meminfo)" -ge 128 ] || skip "128 free huge pages are needed: sysctl -w vm.nr_hugepages=128"

work=$(mktemp -d)
# shellcheck source=docker/podman_settings.sh
. "$source_dir/docker/podman_settings.sh"
podman_settings "$work"

show_logs() {
  "${podman[@]}" ps -a || true
  for container in "$client" "$daemon"; do
    echo "--- $container"
    "${podman[@]}" logs "$container" 2>&1 | tail -n 20 || true
  done
}
clean_up() {
  local status=$?
  [ "$status" = 0 ] || [ "$status" = 77 ] || show_logs
  "${podman[@]}" play kube --down "$work/pod.yaml" >/dev/null 2>&1 || true
  "${podman[@]}" system reset --force >/dev/null 2>&1 || true
  rm -rf "$work"
  exit "$status"
}
client=neuron-demo-pod-0-client
daemon=neuron-demo-pod-0-neuron-rtd
trap clean_up EXIT

# Until the command succeeds.
await() {
  local what=$1 end=$((SECONDS + patience))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "$what did not happen within $patience s"
    sleep 0.2
  done
  echo "ok: $what"
}
rounds() { "${podman[@]}" logs "$client" 2>&1 | grep -c 'digits: .* correct' || true; }
loads() { "${podman[@]}" logs "$client" 2>&1 | grep -c '^loaded model' || true; }
has_rounds() { [ "$(rounds)" -gt "$1" ]; }
has_loads() { [ "$(loads)" -gt "$1" ]; }

reason=$(make_base_image "${base_tar:-$work/base.tar}") || skip "$reason"
"$source_dir/docker/build.sh" --base localhost/debian:bookworm-slim --image neuron-rtd --image neuron-client -- "${podman[@]}" >"$work/build.log" 2>&1 ||
  { tail -n 20 "$work/build.log" >&2; fail "the images cannot be built"; }
echo "ok: images built"

# The pod needs no network.
cp "$source_dir/docker/pod.yaml" "$work/pod.yaml"
"${podman[@]}" play kube --network none --start=false "$work/pod.yaml" >"$work/play.log" 2>&1 ||
  { cat "$work/play.log" >&2; fail "podman play kube refused docker/pod.yaml"; }

# The client first: it waits.
"${podman[@]}" start "$client" >/dev/null 2>"$work/start.log" || {
  grep -qE 'cgroup|permission|Operation not permitted|netavark|runtime' "$work/start.log" && skip "containers do not start here: $(tail -n 1 "$work/start.log")"
  cat "$work/start.log" >&2
  fail "the client does not start"
}
client_waits() { "${podman[@]}" logs "$client" 2>&1 | grep -q '^waiting for unix:/sock/neuron.sock'; }
await "the client waits for a daemon that is not there" client_waits
[ "$(loads)" = 0 ] || fail "the client loaded without a daemon"
"${podman[@]}" start "$daemon" >/dev/null
await "inferences are answered" has_rounds 0
"${podman[@]}" logs "$client" 2>&1 | grep -q 'digits: 3[4-6][0-9]/360 correct' || fail "the answers are wrong"
"${podman[@]}" exec "$daemon" neuron-cli wait-ready --timeout 5 >/dev/null || fail "the readiness probe fails"
echo "ok: the readiness probe succeeds"

# The pool is faulted in behind the start.
has_pool() {
  status=$("${podman[@]}" exec "$daemon" cat /proc/1/status)
  grep -qE '^HugetlbPages:\s+262144 kB$' <<<"$status"
}
await "the pool has 256 MiB of huge pages" has_pool
grep -qE '^CapEff:\s+0+$' <<<"$status" || fail "the daemon kept capabilities: $(grep CapEff <<<"$status")"
grep -qE '^NoNewPrivs:\s+1$' <<<"$status" || fail "no_new_privs is not set"
echo "ok: no capability is left"

before_rounds=$(rounds)
before_loads=$(loads)
kill -KILL "$("${podman[@]}" inspect -f '{{.State.Pid}}' "$daemon")"
await "the client loads again after the daemon was killed and restarted" has_loads "$before_loads"
await "inferences are answered again" has_rounds "$before_rounds"

"${podman[@]}" stop --time 10 "$daemon" >/dev/null
[ "$("${podman[@]}" inspect -f '{{.State.ExitCode}}' "$daemon")" = 0 ] || fail "the daemon did not end with code 0 on SIGTERM"
echo "ok: SIGTERM ends the daemon with code 0"
