#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What goes wrong in a cluster, in a real one: the published service with what an operator adds (deploy/kubernetes/operations) on a
# Kubernetes of one node with kube-proxy, clients that go on asking at the service's address, and one failure after the other. Each
# has to end where an operator expects it, without a hand.
#   test/e2e/kubernetes_test.sh [--only NAME]...     these failures, in their order below; without it all
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

only=
while [ $# -gt 0 ]; do
  case $1 in
    --only) only+=" ${2:?--only needs the name of a failure}"; shift 2 ;;
    *) echo "test/e2e/kubernetes_test.sh: unknown option $1; use [--only NAME]..." >&2; exit 2 ;;
  esac
done

readonly model=bert-small
readonly programs=$PWD/build/kubernetes
readonly unhealthy=/run/neuron/unhealthy
work=
began=$SECONDS
load_pid=
wrote_unhealthy=
# shellcheck source=docker/podman_settings.sh
. docker/podman_settings.sh
# shellcheck source=deploy/demo/cluster.sh
. deploy/demo/cluster.sh
# shellcheck source=deploy/demo/steps.sh
. deploy/demo/steps.sh

say() { printf '\n== %s  (%d s)\n' "$*" $((SECONDS - began)); }
ok() { printf 'ok: %s  (%d s)\n' "$*" $((SECONDS - began)); }
die() { echo "FAILED: $*" >&2; exit 1; }

clean_up() {
  local status=$?
  trap - EXIT INT TERM
  set +e
  [ -z "$load_pid" ] || kill "$load_pid" 2>/dev/null
  if [ "$status" != 0 ] && [ -n "$cluster_folder" ]; then
    cluster_show_dead
    kubectl get pods --all-namespaces -o wide
    kubectl get events --sort-by=.lastTimestamp | tail -n 20
    kubectl logs -l app=eks-neuron-test --all-containers --prefix --tail 15 | sed 's/.*\r//' | cut -c1-300
  fi
  say "Cleaning up"
  cluster_stop
  [ -z "$wrote_unhealthy" ] || rm -f "$unhealthy"
  [ -z "$registry_pid" ] || kill "$registry_pid" 2>/dev/null
  rm -rf "$work"
  exit "$status"
}

# Until the command succeeds, 180 s at most: only what is broken gets there.
await() {
  local what=$1 end=$((SECONDS + 180))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "$what: not within 180 s"
    sleep 0.5
  done
  ok "$what"
}

# What the cluster says ------------------------------------------------------------------------------------------------

# Without those that the kubelet has refused: they stay in the list, and others are made for them.
pods_json() { kubectl get pods -l app=eks-neuron-test -o json | jq '.items |= map(select(.status.phase != "Failed"))'; }
# The pods that are not on their way out.
pods() { pods_json | jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .metadata.name'; }
are_ready() {  # N pods, all ready, and none besides
  [ "$(pods_json | jq '[.items[] | .metadata.deletionTimestamp == null and any(.status.conditions[]?; .type == "Ready" and .status == "True")] | "\(length) \(all)"' -r)" = "$1 true" ]
}
restarts() {  # POD CONTAINER
  kubectl get pod "$1" -o json | jq --arg name "$2" '.status.containerStatuses[] | select(.name == $name) | .restartCount'
}
has_restarted() { [ "$(restarts "$1" "$2")" -gt "${3:-0}" ]; }  # POD CONTAINER, and how often before
is_ready() { kubectl get pod "$1" -o json | jq -e 'any(.status.conditions[]; .type == "Ready" and .status == "True")'; }
container_id() {  # POD CONTAINER
  kubectl get pod "$1" -o json | jq -r --arg name "$2" '.status.containerStatuses[] | select(.name == $name) | .containerID' | sed 's|containerd://||'
}
kill_container() { ctr -a "$cluster_folder/run/containerd.sock" -n k8s.io tasks kill -s SIGKILL "$(container_id "$1" "$2")"; }
process_of() {
  local id
  id=$(container_id "$1" "$2")
  ctr -a "$cluster_folder/run/containerd.sock" -n k8s.io tasks list | awk -v id="$id" '$1 == id {print $2}'
}
has_devices() { [ "$(kubectl get node localhost -o 'jsonpath={.status.allocatable.aws\.amazon\.com/neuron}')" = "$1" ]; }
# POD PATTERN: what the scheduler says of a pod.
has_event() { kubectl get events --field-selector "reason=FailedScheduling,involvedObject.name=$1" | grep -q "$2"; }
has_cores() { [ "$(kubectl get node localhost -o 'jsonpath={.status.allocatable.aws\.amazon\.com/neuroncore}')" = "$1" ]; }
device_of() { kubectl exec "$1" -c neuron-rtd -- printenv AWS_NEURON_VISIBLE_DEVICES; }
check_devices_differ() {
  local pod devices
  devices=$(for pod in $(pods); do device_of "$pod"; done | sort)
  [ "$(uniq -d <<<"$devices")" = "" ] || die "two replicas have one device: $(tr '\n' ' ' <<<"$devices")"
  ok "every replica has a device of its own: $(tr '\n' ' ' <<<"$devices")"
}
scale() {
  kubectl scale deployment eks-neuron-test --replicas "$1" >/dev/null
  await "$1 replicas are ready" are_ready "$1"
}
logs_have() { kubectl logs "$1" -c "$2" --tail 40 | grep -qE "$3"; }
model_says() { curl -sf "http://$(kubectl get pod "$1" -o 'jsonpath={.status.podIP}'):8500/v1/models/$served_as" | jq -e "$2"; }

# Clients that go on asking --------------------------------------------------------------------------------------------

start_load() {
  : >"$work/load.log"
  /usr/bin/python3 test/e2e/load_client.py --address "$(kubectl get service eks-neuron-test -o 'jsonpath={.spec.clusterIP}'):9000" "$@" >"$work/load.log" 2>&1 &
  load_pid=$!
  until grep -q '^asking' "$work/load.log"; do
    kill -0 "$load_pid" 2>/dev/null || die "the clients do not start: $(tail -n 3 "$work/load.log")"
    sleep 0.1
  done
}
# How many requests may have failed.
stop_load() {
  local allowed=${1:-0} failed
  kill "$load_pid" && wait "$load_pid" || die "the clients ended badly: $(tail -n 3 "$work/load.log")"
  load_pid=
  failed=$(sed -n 's/.* requests, \([0-9]*\) failed.*/\1/p' "$work/load.log")
  [ "$failed" -le "$allowed" ] || die "more than $allowed requests failed: $(tail -n 12 "$work/load.log")"
  ok "clients: $(tail -n 1 "$work/load.log")"
}

# The failures ---------------------------------------------------------------------------------------------------------

rollout_under_load() {
  start_load
  kubectl rollout restart deployment eks-neuron-test >/dev/null
  kubectl rollout status deployment eks-neuron-test --timeout 180s >/dev/null || die "the rollout does not end"
  await "both replicas are new and ready" are_ready 2
  stop_load 0
}

drain_under_load() {
  start_load
  # The second replica has nowhere else to go: the budget keeps it.
  ! kubectl drain localhost --pod-selector app=eks-neuron-test --ignore-daemonsets --delete-emptydir-data --timeout 40s >"$work/drain.log" 2>&1 ||
    die "both replicas went at once"
  grep -q "violate the pod's disruption budget" "$work/drain.log" || die "no word of the budget: $(tail -n 3 "$work/drain.log")"
  [ "$(pods_json | jq '[.items[] | select(.status.phase == "Running" and .metadata.deletionTimestamp == null)] | length')" = 1 ] || die "not one replica is left"
  ok "the budget keeps one replica"
  kubectl uncordon localhost >/dev/null
  await "the other one comes back with the node" are_ready 2
  stop_load 0
}

version_under_load() {
  local pod
  pod=$(pods | head -n 1)
  start_load
  kubectl exec "$pod" -c eks-neuron-test -- sh -c 'cp -r /tmp/bert/1 /tmp/bert-2 && mv /tmp/bert-2 /tmp/bert/2'
  await "version 2 is served, and version 1 is gone" model_says "$pod" '[.model_version_status[] | select(.state == "AVAILABLE") | .version] == ["2"]'
  kubectl exec "$pod" -c eks-neuron-test -- sh -c 'mkdir /tmp/bert-3 && echo broken >/tmp/bert-3/saved_model.pb && mv /tmp/bert-3 /tmp/bert/3'
  await "a broken version 3 says why" model_says "$pod" 'any(.model_version_status[]; .version == "3" and .state == "END" and .status.error_message != "")'
  model_says "$pod" 'any(.model_version_status[]; .version == "2" and .state == "AVAILABLE")' >/dev/null || die "version 2 is gone"
  ok "version 2 stays"
  stop_load 0
}

sidecar_killed() {
  local pod before server
  pod=$(pods | head -n 1)
  before=$(restarts "$pod" neuron-rtd)
  server=$(restarts "$pod" eks-neuron-test)
  start_load --timeout 20
  kill_container "$pod" neuron-rtd
  await "the daemon is started again" has_restarted "$pod" neuron-rtd "$before"
  await "the model server has loaded its model again" model_says "$pod" 'any(.model_version_status[]; .state == "AVAILABLE")'
  await "its replica is ready again" is_ready "$pod"
  [ "$(restarts "$pod" eks-neuron-test)" = "$server" ] || die "the model server was restarted too"
  ok "the model server was not restarted"
  stop_load 0
}

model_server_killed() {
  local pod before
  pod=$(pods | tail -n 1)
  before=$(restarts "$pod" eks-neuron-test)
  start_load --retry --timeout 20
  kill_container "$pod" eks-neuron-test
  await "the model server is started again" has_restarted "$pod" eks-neuron-test "$before"
  await "its replica is ready again" is_ready "$pod"
  [ "$(kubectl exec "$pod" -c neuron-rtd -- neuron-cli list-model --json | jq '.models | length')" = 1 ] || die "the daemon kept the models of the dead"
  ok "the daemon has one model: that of the dead is unloaded"
  stop_load 0
}

registrations() { kubectl logs -n kube-system -l name=neuron-device-plugin-ds --tail 100 | grep -c 'registered aws.amazon.com/neuron' || true; }
has_registered() { [ "$(registrations)" -gt "$1" ]; }

plugin_restarted() {
  start_load
  kubectl delete pod -n kube-system -l name=neuron-device-plugin-ds >/dev/null
  await "the new device plugin has registered" has_registered 0
  await "four devices" has_devices 4
  scale 3
  check_devices_differ
  scale 2
  stop_load 0
}

kubelet_restarted() {
  local before registered
  registered=$(registrations)
  before=$(pods_json | jq -c '[.items[] | [.metadata.uid, .status.containerStatuses[].restartCount]] | sort')
  start_load
  cluster_kill kubelet
  cluster_start_kubelet
  await "the device plugin has registered again" has_registered "$registered"
  await "four devices" has_devices 4
  [ "$(pods_json | jq -c '[.items[] | [.metadata.uid, .status.containerStatuses[].restartCount]] | sort')" = "$before" ] || die "containers were restarted"
  ok "no container was restarted"
  scale 3
  check_devices_differ
  scale 2
  stop_load 0
}

device_unhealthy() {
  start_load
  # Those that no replica has.
  local pod used=" "
  for pod in $(pods); do used+="$(device_of "$pod") "; done
  for device in 0 1 2 3; do case $used in *" $device "*) ;; *) echo "$device" ;; esac; done >"$work/unhealthy"
  wrote_unhealthy=yes
  cp "$work/unhealthy" "$unhealthy"
  await "two of four devices are left" has_devices 2
  kubectl scale deployment eks-neuron-test --replicas 3 >/dev/null
  third_says_why() {
    local third
    third=$(pods_json | jq -r '.items[] | select(.status.phase == "Pending") | .metadata.name')
    has_event "$third" 'Insufficient aws.amazon.com/neuron'
  }
  await "a third replica is pending, and an event says why" third_says_why
  rm "$unhealthy"
  await "the devices come back" has_devices 4
  await "the third replica runs" are_ready 3
  check_devices_differ
  scale 2
  stop_load 0
}

# A new replica whose container cannot sync its model, as the log has to say; the other one goes on.
replica_without_model() {  # the pattern in the log
  kubectl delete pod "$(pods | head -n 1)" --wait=false >/dev/null
  newest() { pods_json | jq -r '.items | sort_by(.metadata.creationTimestamp) | last | .metadata.name'; }
  fails() { has_restarted "$(newest)" eks-neuron-test && kubectl logs "$(newest)" -c eks-neuron-test --previous | grep -qE "$1"; }
  await "the new replica is started again and again, and its log says why" fails "$1"
}

s3_unreachable() {
  start_load
  local process
  process=$(process_of s3 s3)
  nsenter -t "$process" -n iptables -I INPUT -p tcp --dport 443 -j REJECT --reject-with tcp-reset
  replica_without_model 'Could not connect to the endpoint URL'
  nsenter -t "$process" -n iptables -D INPUT -p tcp --dport 443 -j REJECT --reject-with tcp-reset
  await "S3 is back, and so is the replica" are_ready 2
  stop_load 0
}

# The access key, since s3rver does not compare what the secret one has signed.
wrong_credentials() {
  start_load
  local right
  right=$(kubectl get secret aws-s3-secret -o 'jsonpath={.data.AWS_ACCESS_KEY_ID}')
  set_key() { kubectl patch secret aws-s3-secret -p "{\"data\": {\"AWS_ACCESS_KEY_ID\": \"$1\"}}" >/dev/null; }
  set_key "$(printf wrong | base64)"
  replica_without_model 'InvalidAccessKeyId|Forbidden'
  set_key "$right"
  await "the right key is there, and so is the replica" are_ready 2
  stop_load 0
}

# Pods that want neighbours: where the extender chooses, which the published manifest needs on larger nodes.
neighbours() {
  local pod
  kubectl scale deployment eks-neuron-test --replicas 0 >/dev/null
  await "no device is taken" are_ready 0
  start_extender
  for pod in a b c; do start_pod "single-$pod" 1; done
  for pod in a b c; do await "single-$pod runs" is_ready "single-$pod"; done
  [ "$(chosen single-b)" = 1 ] || die "single-b has device $(chosen single-b)"
  kubectl delete pod single-b --grace-period 1 >/dev/null
  start_pod pair 2
  pair_says_why() { kubectl get events --field-selector reason=FailedScheduling,involvedObject.name=pair | grep 'no 2 neighbours free'; }
  await "two devices are free, but no neighbours: a pod that wants two is pending, and an event says why" pair_says_why
  kubectl delete pod single-c --grace-period 1 >/dev/null
  await "with neighbours free it runs" is_ready pair
  [ "$(chosen pair)" = 1,2 ] || die "the pair has devices $(chosen pair)"
  [ "$(kubectl exec pair -- printenv AWS_NEURON_VISIBLE_DEVICES)" = 1,2 ] || die "the pair's container has other devices"
  ok "the container has the devices that were chosen"
  kubectl delete pod single-a pair --grace-period 1 >/dev/null
  scale 2
  check_devices_differ
  for pod in $(pods); do [ "$(chosen "$pod")" = "$(device_of "$pod")" ] || die "$pod has another device than was chosen"; done
  ok "and so have the replicas"
}

# The device plugin gives out cores too. The replicas have a device each.
cores() {
  sed -i "s|localhost/neuron-|$registry/neuron-|" "$work/kubernetes/device_plugin/device_plugin.yml"
  sed -i 's|args: \[|args: ["--simulate", "inf1.6xlarge", |' "$work"/kubernetes/{device_plugin/device_plugin.yml,cores/patch.yaml}
  kubectl apply --dry-run=server -k "$work/kubernetes/cores" >/dev/null
  kubectl apply -k "$work/kubernetes/cores" >/dev/null
  kubectl rollout status -n kube-system daemonset neuron-device-plugin-daemonset --timeout 120s >/dev/null
  await "the cores of the two devices that nobody has" has_cores 8
  start_pod half 2 aws.amazon.com/neuroncore
  await "a pod that asks for two cores runs" is_ready half
  ok "with device $(kubectl exec half -- printenv AWS_NEURON_VISIBLE_DEVICES)"
  await "nobody else gets that device" has_devices 3
  await "nor its other cores" has_cores 6
  start_pod both 2
  await "a pod that asks for two devices waits" has_event both 'Insufficient aws.amazon.com/neuron'
  kubectl delete pod half >/dev/null
  await "until the first one has gone" is_ready both
  await "then the cores are all held" has_cores 0
  kubectl delete pod both >/dev/null
  await "and free again" has_cores 8
  kubectl apply -k "$work/kubernetes/device_plugin" >/dev/null
  kubectl rollout status -n kube-system daemonset neuron-device-plugin-daemonset --timeout 120s >/dev/null
  await "four devices" has_devices 4
}

chosen() { kubectl get pod "$1" -o 'jsonpath={.metadata.annotations.NEURON_DEVS}'; }

start_pod() {  # NAME AMOUNT [RESOURCE]
  kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  dnsPolicy: Default
  terminationGracePeriodSeconds: 1
  containers:
  - name: only
    image: $registry/neuron-rtd:latest
    command: [sleep, infinity]
    resources: {limits: {${3:-aws.amazon.com/neuron}: $2}}
END
}

# In the node's network, since its pods do not reach an API server on loopback.
start_extender() {
  local folder=$work/kubernetes/on_this_node address=https://127.0.0.1:6443
  mkdir "$folder"
  sed -i "s|localhost/neuron-|$registry/neuron-|" "$work"/kubernetes/{device_plugin,scheduler}/*.yml
  sed -i "s|args: \[|args: [\"--simulate\", \"inf1.6xlarge\", \"--api-server\", \"$address\", |" "$work/kubernetes/scheduler/device_plugin.yaml"
  cat >"$folder/kustomization.yaml" <<END
bases: [../scheduler]
patchesStrategicMerge: [patch.yaml]
END
  cat >"$folder/patch.yaml" <<END
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: neuron-device-plugin-daemonset, namespace: kube-system}
spec: {template: {spec: {hostNetwork: true}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: k8s-neuron-scheduler, namespace: kube-system}
spec: {template: {spec: {hostNetwork: true, containers: [{name: neuron-scheduler, args: ["--api-server", "$address"]}]}}}
END
  kubectl apply --dry-run=server -k "$folder" >/dev/null
  kubectl apply -k "$folder" >/dev/null
  kubectl rollout status -n kube-system daemonset neuron-device-plugin-daemonset --timeout 120s >/dev/null
  kubectl rollout status -n kube-system deployment k8s-neuron-scheduler --timeout 120s >/dev/null || die "the extender does not start"
  await "four devices" has_devices 4
  sed "s|KUBECONFIG|$cluster_folder/kubeconfig|" deploy/kubernetes/scheduler/configuration.yaml >"$work/scheduler.yaml"
  cluster_kill kube-scheduler
  cluster_start_scheduler --config "$work/scheduler.yaml"
  await "the extender answers at its node port" curl -sf http://127.0.0.1:32700/healthz
}

readonly failures="rollout_under_load drain_under_load version_under_load sidecar_killed model_server_killed plugin_restarted kubelet_restarted
  device_unhealthy s3_unreachable wrong_credentials cores neighbours"

# --------------------------------------------------------------------------------------------------------------------

start_service() {
  cp -r deploy/kubernetes "$work/kubernetes"
  sed -i "s|REGISTRY|$registry|; s|S3_ADDRESS|$s3_address|" "$work"/kubernetes/demo/*.yaml
  # What the demonstration changes, over what an operator adds.
  sed -i 's|^- ../eks|- ../operations/v1.20|' "$work/kubernetes/demo/kustomization.yaml"
  kubectl apply -f deploy/kubernetes/operations/service_monitor_crd.yaml >/dev/null
  kubectl wait --for condition=established --timeout 60s crd/servicemonitors.monitoring.coreos.com >/dev/null
  kubectl apply --dry-run=server -k "$work/kubernetes/demo"
  ok "the API server takes every manifest of operations/v1.20"
  kubectl apply -k "$work/kubernetes/demo" >/dev/null
  await "two replicas are ready" are_ready 2
}

for failure in $only; do
  [[ " ${failures//$'\n'/ } " = *" $failure "* ]] || { echo "test/e2e/kubernetes_test.sh: no failure $failure; there are: "$failures >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || die "a cluster takes root"
check_for_cluster 32700
work=$(mktemp -d /tmp/nrtd-e2e.XXXXXX)
trap clean_up EXIT INT TERM
podman_settings "$PWD/build/podman"
images+=(neuron-scheduler)
say "Kubernetes (kept in build/kubernetes)"
deploy/demo/build_kubernetes.sh build/kubernetes kube-proxy
say "The model and the images"
make_model
make_images
say "A cluster of one node"
cluster_start "$work/cluster" "$programs"
cluster_start_proxy
push_images
start_s3
start_plugin
start_service
for failure in $failures; do
  [ -z "$only" ] || [[ " $only " = *" $failure "* ]] || continue
  say "${failure//_/ }"
  "$failure"
done
say "All as an operator would expect"
