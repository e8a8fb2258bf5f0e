#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The published EKS demonstration on this machine: a Kubernetes of one node, a registry, an S3 server in a pod of its own, two
# replicas of TensorFlow Serving for Neuron with neuron-rtd as their sidecar, and the client that sends 100 requests.
#   deploy/demo/eks.sh [--model bert-large|bert-base] [--podman] [--keep]
#     --podman   the same pods by podman alone, without Kubernetes
#     --keep     leaves it running until Enter is pressed
# What is built is kept in build/: Kubernetes (12 minutes, once), the model, images.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
cd "$here/../.."

model=bert-large keep= by_podman=
while [ $# -gt 0 ]; do
  case $1 in
    --model) model=${2:?--model needs bert-large or bert-base}; shift 2 ;;
    --podman) by_podman=yes; shift ;;
    --keep) keep=yes; shift ;;
    *) echo "deploy/demo/eks.sh: unknown option $1; use [--model bert-large|bert-base] [--podman] [--keep]" >&2; exit 2 ;;
  esac
done
case $model in bert-large | bert-base) ;; *) echo "deploy/demo/eks.sh: --model is bert-large or bert-base, not $model" >&2; exit 2 ;; esac

readonly client_port=9000
programs=$PWD/build/kubernetes
work=$(mktemp -d /tmp/nrtd-eks.XXXXXX)
began=$SECONDS
forward_pid=
# shellcheck source=docker/podman_settings.sh
. docker/podman_settings.sh
# shellcheck source=deploy/demo/cluster.sh
. deploy/demo/cluster.sh
# shellcheck source=deploy/demo/steps.sh
. deploy/demo/steps.sh
# shellcheck source=deploy/demo/podman.sh
. deploy/demo/podman.sh

podman_settings "$PWD/build/podman"

say() { printf '\n== %s  (%d s)\n' "$*" $((SECONDS - began)); }
die() { echo "deploy/demo/eks.sh: $*" >&2; exit 1; }

clean_up() {
  local status=$?
  trap - EXIT INT TERM
  set +e
  if [ "$status" != 0 ] && [ -n "$by_podman" ]; then
    "${podman[@]}" ps --all --pod
    for container in $("${podman[@]}" ps --all --filter name=eks-neuron-test --format '{{.Names}}'); do
      echo "--- $container"
      "${podman[@]}" logs --tail 10 "$container" 2>&1 | cut -c1-300
    done
  fi
  if [ "$status" != 0 ] && [ -n "$cluster_folder" ]; then
    cluster_show_dead
    kubectl get pods --all-namespaces -o wide
    kubectl get events --sort-by=.lastTimestamp | tail -n 15
    kubectl logs -l app=eks-neuron-test --all-containers --tail 10
  fi
  say "Cleaning up"
  [ -z "$forward_pid" ] || kill "$forward_pid" 2>/dev/null
  cluster_stop
  [ -z "$by_podman" ] || podman_stop
  [ -z "$registry_pid" ] || kill "$registry_pid" 2>/dev/null
  rm -rf "$work"
  exit "$status"
}

check_machine() {
  [ "$(id -u)" = 0 ] || die "containers with huge pages take root"
  local tool tools=(runc podman debootstrap npm openssl jq)
  if [ -z "$by_podman" ]; then tools+=(etcd containerd ctr docker-registry socat gcc ip); fi
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || die "$tool is missing; ./dev demo-eks installs it"
  done
  if [ -z "$by_podman" ]; then
    check_for_cluster "$client_port"
  else
    check_ports "$client_port" 8500 9001 8501
  fi
}

deploy() {
  cp -r deploy/kubernetes "$work/kubernetes"
  sed -i "s|REGISTRY|$registry|; s|S3_ADDRESS|$s3_address|" "$work"/kubernetes/demo/*.yaml
  kubectl apply --dry-run=server -k "$work/kubernetes/demo" >/dev/null
  kubectl apply -k "$work/kubernetes/demo"
  await_replicas cluster_ready
}

cluster_ready() { kubectl logs -l app=eks-neuron-test -c eks-neuron-test --tail 3 2>/dev/null | grep -c 'Exporting HTTP/REST API' || true; }

# Until both serve the model, as the command says.
await_replicas() {
  local end=$((SECONDS + 600)) ready=0
  until [ "$ready" = 2 ]; do
    [ "$SECONDS" -lt "$end" ] || die "two replicas did not serve the model within 600 s"
    ready=$("$1")
    progress "$ready of 2 pods serve the model"
    sleep 1
  done
  [ ! -t 1 ] || printf '\n'
}

# All inferences of both daemons, and the seconds that they took together.
runtime_figures() {
  local name
  if [ -n "$by_podman" ]; then
    for name in $(podman_containers neuron-rtd); do "${podman[@]}" exec "$name" neuron-cli list-model --json; done
  else
    for name in $(kubectl get pods -l app=eks-neuron-test -o name); do kubectl exec "$name" -c neuron-rtd -- neuron-cli list-model --json; done
  fi | jq -s '[.[].models[]] | "\(map(.inferences_done) | add) \((map(.inferences_ns) | add) / 1e9)"' -r
}

# The client, and what part of what it waited for was the runtime's.
run_client() {
  local count seconds more_count more_seconds
  read -r count seconds <<<"$(runtime_figures)"
  /usr/bin/python3 deploy/demo/client.py --address "127.0.0.1:$client_port" --model "$served_as" | tee "$work/client.log"
  read -r more_count more_seconds <<<"$(runtime_figures)"
  awk -v n="$((more_count - count))" -v before="$seconds" -v after="$more_seconds" -v average="$(sed -n 's/^Ran .* = //p' "$work/client.log")" 'BEGIN {
    runtime = (after - before) / n
    printf "Of that in the runtime, as neuron-rtd counts %d inferences: Latency average = %s\n", n, runtime
    printf "Overhead (network, model server): %.2f ms; 5 %% of the runtime plus 1 ms is %.2f ms\n", (average - runtime) * 1e3, runtime * 50 + 1}'
}

run_in_kubernetes() {
  say "A cluster of one node"
  cluster_start "$work/cluster" "$programs"
  push_images
  start_s3
  say "\$ kubectl get pods -n kube-system"
  start_plugin
  kubectl get pods -n kube-system
  kubectl get node localhost -o 'jsonpath=node {.metadata.name}: aws.amazon.com/neuron {.status.allocatable.aws\.amazon\.com/neuron}, hugepages-2Mi {.status.allocatable.hugepages-2Mi}{"\n"}'
  say "\$ kubectl apply -k deploy/kubernetes/demo"
  deploy
  say "\$ kubectl get pods"
  kubectl get pods -l app=eks-neuron-test
  say "\$ kubectl port-forward svc/eks-neuron-test $client_port:$client_port &"
  kubectl port-forward svc/eks-neuron-test "$client_port:$client_port" >"$work/forward.log" 2>&1 &
  forward_pid=$!
  until grep -q '^Forwarding from 127.0.0.1' "$work/forward.log"; do sleep 0.2; done
}

run_by_podman() {
  say "\$ podman play kube (two pods of the published manifest, one S3 server)"
  podman_start "$work"
  await_replicas podman_ready
  say "\$ podman pod ps"
  "${podman[@]}" pod ps
}

trap clean_up EXIT INT TERM
check_machine
if [ -z "$by_podman" ]; then
  say "Kubernetes (kept in build/kubernetes)"
  deploy/demo/build_kubernetes.sh build/kubernetes
fi
say "The model: $model, cast to bfloat16, as a SavedModel"
make_model
say "Images"
make_images
if [ -n "$by_podman" ]; then run_by_podman; else run_in_kubernetes; fi
say "100 predictions of zeros [1,128]"
run_client
if [ -n "$keep" ]; then
  if [ -n "$by_podman" ]; then
    echo "CONTAINERS_CONF=$CONTAINERS_CONF ${podman[*]} ps shows the containers. Enter ends it."
  else
    echo "kubeconfig: $cluster_folder/kubeconfig; kubectl: $programs/kubectl. Enter ends it."
  fi
  read -r _
fi
