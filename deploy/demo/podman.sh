# SPDX-License-Identifier: Apache-2.0
# Sourced: the demonstration's pods by podman, without a control plane.
#   podman_start WORK     the S3 server and both replicas; needs what make_model and make_images made
#   podman_ready                 how many replicas serve the model
#   podman_stop                  takes everything away but images
readonly podman_network=nrtd-demo

podman_containers() { "${podman[@]}" ps --filter name=eks-neuron-test --format '{{.Names}}' 2>/dev/null | grep "$1\$"; }

podman_start() {
  local work=$1 address end=$((SECONDS + 60))
  podman_stop || true  # what a run that was killed has left
  "${podman[@]}" network exists "$podman_network" || "${podman[@]}" network create --subnet 10.89.79.0/24 "$podman_network" >/dev/null
  make_certificate
  "${podman[@]}" run -d --name s3 --network "$podman_network" -v "$work/models:/models:ro" -v "$work/certificate:/certificate:ro" \
    localhost/s3:latest >/dev/null
  address=$("${podman[@]}" inspect -f "{{(index .NetworkSettings.Networks \"$podman_network\").IPAddress}}" s3)
  until (exec 3<>"/dev/tcp/$address/443") 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || { "${podman[@]}" logs s3 >&2; echo "the S3 server does not answer within 60 s" >&2; return 1; }
    sleep 0.2
  done
  # podman's form of a Secret: its data alone.
  /usr/bin/python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin)["data"], sys.stdout)' <deploy/kubernetes/eks/secret.yaml |
    "${podman[@]}" secret create aws-s3-secret - >/dev/null
  deploy/demo/podman_pods.py --s3 "$address" --certificate "$work/certificate/certificate.pem" deploy/kubernetes/eks/bert_service.yml >"$work/pods.yaml"
  "${podman[@]}" play kube --network "$podman_network" "$work/pods.yaml" >"$work/play.log" 2>&1 || { cat "$work/play.log" >&2; return 1; }
}

podman_ready() {
  local container ready=0
  for container in $(podman_containers eks-neuron-test); do
    ! "${podman[@]}" logs --tail 3 "$container" 2>&1 | grep -q 'Exporting HTTP/REST API' || ready=$((ready + 1))
  done
  echo "$ready"
}

podman_stop() {
  "${podman[@]}" pod rm --force --all --time 5 >/dev/null 2>&1
  "${podman[@]}" rm --force --time 0 s3 >/dev/null 2>&1
  "${podman[@]}" volume rm --force eks-sock-0 eks-sock-1 >/dev/null 2>&1
  "${podman[@]}" secret rm aws-s3-secret >/dev/null 2>&1
  "${podman[@]}" network rm "$podman_network" >/dev/null 2>&1
}
