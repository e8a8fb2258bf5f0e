# SPDX-License-Identifier: Apache-2.0
# Sourced: a Kubernetes of one node on loopback, every part of it real, in a folder of its own.
#   cluster_start FOLDER PROGRAMS      PROGRAMS has what build_kubernetes.sh built
#   cluster_start_proxy                kube-proxy, which makes a service's address lead somewhere (for that alone PROGRAMS has it)
#   cluster_start_kubelet              again, after cluster_kill kubelet
#   cluster_start_scheduler OPTION...  with other options, after cluster_kill kube-scheduler
#   cluster_show_dead                  what programs said last that have ended by themselves
#   cluster_stop                       stops it and takes away what it made outside of its folder
# Afterwards `kubectl` is a function that talks to it.

cluster_folder=
readonly cluster_bridge=nrtd-demo0
readonly cluster_subnet=10.88.77.0/24
readonly plugin_folder=/var/lib/kubelet/device-plugins

kubectl() { "$cluster_programs/kubectl" --kubeconfig "$cluster_folder/kubeconfig" "$@"; }

# Starts a program of the cluster, with a log and a file for its process.
cluster_run() {
  local name=$1
  shift
  "$@" >"$cluster_folder/log/$name.log" 2>&1 &
  echo $! >"$cluster_folder/run/$name.pid"
}

# What those said last that have ended by themselves.
cluster_show_dead() {
  local file name
  for file in "$cluster_folder"/run/*.pid; do
    name=$(basename "$file" .pid)
    kill -0 "$(cat "$file")" 2>/dev/null || { echo "--- $name has ended:"; grep -m1 -A5 -E '^(fatal error|panic):' "$cluster_folder/log/$name.log" || tail -n 5 "$cluster_folder/log/$name.log"; } | cut -c1-300
  done
}

cluster_await() {
  local what=$1 end=$((SECONDS + 120))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "$what: not within 120 s; the logs are in $cluster_folder/log" >&2
      tail -n 5 "$cluster_folder/log/$what.log" >&2 2>/dev/null || true
      return 1
    fi
    sleep 0.5
  done
}

cluster_write_files() {
  local f=$cluster_folder
  mkdir -p "$f"/{log,run,etcd,api,cni,kubelet,containerd-root,containerd-state}
  openssl genrsa -out "$f/sa.key" 2048 2>/dev/null
  openssl rsa -in "$f/sa.key" -pubout -out "$f/sa.pub" 2>/dev/null
  local token
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" >"$f/tokens"
  chmod 600 "$f/tokens" "$f/sa.key"
  cat >"$f/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: demo, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: demo, context: {cluster: demo, user: admin}}]
current-context: demo
END
  cat >"$f/cni/10-demo.conflist" <<END
{"cniVersion": "0.4.0", "name": "nrtd-demo", "plugins": [
  {"type": "bridge", "bridge": "$cluster_bridge", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$f/ipam", "ranges": [[{"subnet": "$cluster_subnet"}]]}}]}
END
  # Without CAP_SYS_RESOURCE, which some containers lack, lowering an oom_score_adj fails.
  cat >"$f/containerd.toml" <<END
version = 2
root = "$f/containerd-root"
state = "$f/containerd-state"
[grpc]
  address = "$f/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:latest"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$f/cni"
END
  cat >"$f/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
END
}

# A pod's first process, which containerd does not bring.
cluster_import_pause() {
  local f=$cluster_folder
  gcc -static -Os -o "$f/pause" "$(dirname "${BASH_SOURCE[0]}")/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$f/pause.Dockerfile"
  "${podman[@]}" build -q -t localhost/pause:latest -f "$f/pause.Dockerfile" "$f" >/dev/null
  rm -f "$f/pause.tar"
  "${podman[@]}" save -q -o "$f/pause.tar" localhost/pause:latest
  ctr -a "$f/run/containerd.sock" -n k8s.io images import "$f/pause.tar" >/dev/null
}

cluster_start() {
  cluster_folder=$1 cluster_programs=$2
  local f=$cluster_folder p=$cluster_programs
  cluster_write_files
  cluster_run etcd etcd --data-dir "$f/etcd" --listen-client-urls http://127.0.0.1:23790 --advertise-client-urls http://127.0.0.1:23790 \
    --listen-peer-urls http://127.0.0.1:23800 --initial-advertise-peer-urls http://127.0.0.1:23800 --initial-cluster default=http://127.0.0.1:23800
  cluster_run containerd containerd --config "$f/containerd.toml"
  cluster_await containerd ctr -a "$f/run/containerd.sock" version
  cluster_import_pause
  cluster_run kube-apiserver "$p/kube-apiserver" --etcd-servers http://127.0.0.1:23790 --insecure-port 0 --secure-port 6443 --bind-address 127.0.0.1 \
    --cert-dir "$f/api" --token-auth-file "$f/tokens" --authorization-mode RBAC --service-cluster-ip-range 10.88.78.0/24 \
    --service-account-issuer https://kubernetes.default --service-account-signing-key-file "$f/sa.key" --service-account-key-file "$f/sa.pub" \
    --allow-privileged --kubelet-preferred-address-types Hostname
  cluster_await kube-apiserver kubectl get --raw /readyz
  cluster_start_scheduler --kubeconfig "$f/kubeconfig" --leader-elect=false
  cluster_run kube-controller-manager "$p/kube-controller-manager" --kubeconfig "$f/kubeconfig" --leader-elect=false \
    --service-account-private-key-file "$f/sa.key" --root-ca-file "$f/api/apiserver.crt" --use-service-account-credentials
  cluster_start_kubelet
}

cluster_start_scheduler() { cluster_run kube-scheduler "$cluster_programs/kube-scheduler" "$@"; }

cluster_start_kubelet() {
  local f=$cluster_folder p=$cluster_programs
  cluster_run kubelet "$p/kubelet" --kubeconfig "$f/kubeconfig" --config "$f/kubelet.yaml" --root-dir /var/lib/kubelet --container-runtime remote \
    --container-runtime-endpoint "unix://$f/run/containerd.sock" --hostname-override localhost --cert-dir "$f/kubelet"
  # shellcheck disable=SC2016
  cluster_await kubelet sh -c '"$1" --kubeconfig "$2" get nodes | grep -q " Ready "' - "$p/kubectl" "$f/kubeconfig"
}

# The connection tracker's limits stay the machine's; what kube-proxy sets besides is set back by cluster_stop.
cluster_start_proxy() {
  local name
  for name in net.ipv4.conf.all.route_localnet net.bridge.bridge-nf-call-iptables; do
    sysctl -e "$name" 2>/dev/null | tr -d ' ' >>"$cluster_folder/sysctls" || true
  done
  cluster_run kube-proxy "$cluster_programs/kube-proxy" --kubeconfig "$cluster_folder/kubeconfig" --hostname-override localhost \
    --proxy-mode iptables --cluster-cidr "$cluster_subnet" --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 \
    --conntrack-tcp-timeout-close-wait 0 --healthz-bind-address 127.0.0.1:10256 --metrics-bind-address 127.0.0.1:10249
  cluster_await kube-proxy sh -c 'iptables-save -t nat | grep -q KUBE-SERVICES'
}

cluster_kill() {
  local name=$1 pid
  pid=$(cat "$cluster_folder/run/$name.pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
}

cluster_stop() {
  [ -n "$cluster_folder" ] || return 0
  local f=$cluster_folder id
  # Pods first: nothing else stops their containers.
  kubectl delete daemonsets,deployments,pods --all --all-namespaces --grace-period=5 --timeout=60s >/dev/null 2>&1 || true
  cluster_kill kubelet
  for id in $(ctr -a "$f/run/containerd.sock" -n k8s.io tasks list -q 2>/dev/null); do
    ctr -a "$f/run/containerd.sock" -n k8s.io tasks kill -s SIGKILL "$id" >/dev/null 2>&1 || true
  done
  if [ -e "$f/run/kube-proxy.pid" ]; then
    cluster_kill kube-proxy
    "$cluster_programs/kube-proxy" --cleanup >"$f/log/kube-proxy-cleanup.log" 2>&1 || true
    xargs -r -n 1 sysctl -q -w <"$f/sysctls" 2>/dev/null || true
  fi
  for id in kube-controller-manager kube-scheduler kube-apiserver etcd containerd; do cluster_kill "$id"; done
  pkill -KILL -f "containerd-shim.*$f/run/containerd.sock" 2>/dev/null || true
  awk -v f="$f" 'index($2, f) == 1 || $2 ~ "^/var/lib/kubelet/pods/" {print $2}' /proc/mounts | sort -r | while read -r place; do
    umount -l "$place" 2>/dev/null || true
  done
  ip link delete "$cluster_bridge" 2>/dev/null || true
  rm -rf /var/lib/kubelet/pods "$plugin_folder"
}
