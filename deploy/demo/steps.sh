# SPDX-License-Identifier: Apache-2.0
# Sourced: the steps that the demonstration and its test in a cluster (test/e2e/kubernetes_test.sh) share. In the order of their
# use; each one says what is wrong by `die`.
#   check_ports PORT...         fails if one of the ports is in use
#   check_for_cluster PORT...   fails if this machine is already a node, or if the cluster's ports or these are in use
#   make_model      $model (bert-large, bert-base, bert-small) as a SavedModel, in the bucket that the published manifest names
#   make_images     of what `./dev build` made, and of the S3 server
#   push_images     to a registry on loopback, which they start
#   start_s3        in a pod
#   start_plugin    the device plugin, for a simulated inf1.6xlarge
# They need a folder of this run ($work), when it began ($began), podman, and for the last two a cluster (cluster.sh).

readonly registry=127.0.0.1:5000
readonly served_as=bert_mrpc_hc_gelus_b4_l24_0926_02
readonly bucket=jsimon-inf1-demo
readonly bin=build/release/bin
images=(neuron-rtd tensorflow-model-server-neuron neuron-device-plugin)  # and others that are added before make_images
registry_pid=

check_ports() {
  local port
  for port; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die "port $port is taken, and is needed here"
  done
}

check_for_cluster() {
  check_ports 5000 6443 "$@"
  [ ! -e /var/lib/kubelet/pods ] || die "/var/lib/kubelet/pods is there: does this machine belong to a cluster?"
}

make_model() {
  local onnx=build/models/$model.onnx folder=build/models/$model-saved
  if [ ! -s "$onnx" ]; then
    local shape=()
    case $model in
      bert-base) shape=(--layers 12 --hidden 768 --heads 12) ;;
      bert-small) shape=(--layers 4 --hidden 256 --heads 4) ;;
    esac
    mkdir -p build/models
    models/bert/make_bert.py "${shape[@]}" -o "$onnx.part" && mv "$onnx.part" "$onnx"
    if [ -e "$onnx.part.data" ]; then mv "$onnx.part.data" "$onnx.data"; fi
  fi
  if [ ! -s "$folder/1/saved_model.pb" ] || [ "$bin/neuron-cc" -nt "$folder/1/saved_model.pb" ]; then
    rm -rf "$folder"
    "$bin/neuron-cc" compile "$onnx" --framework ONNX --fp32-cast all --saved-model "$folder" --model-name "$served_as" \
      --signature-input input_ids=input_ids --signature-input input_mask=input_mask --signature-input segment_ids=segment_ids \
      --signature-output logits=logits
  fi
  # As s3rver keeps its objects.
  local object=$work/models/$bucket/bert/1/saved_model.pb._S3rver_object
  mkdir -p "$(dirname "$object")"
  ln "$folder/1/saved_model.pb" "$object" 2>/dev/null || cp "$folder/1/saved_model.pb" "$object"
  md5sum "$object" | cut -c1-32 | tr -d '\n' >"$object.md5"
}

make_images() {
  "${podman[@]}" image exists localhost/debian:bookworm-slim || make_base_image build/release/base-image.tar
  docker/build.sh --base localhost/debian:bookworm-slim "${images[@]/#/--image=}" -- "${podman[@]}" >"$work/images.log" 2>&1 || { tail -n 20 "$work/images.log" >&2; die "the images cannot be built"; }
  mkdir -p build/s3
  [ -d build/s3/node_modules/s3rver ] || (cd build/s3 && npm install --ignore-scripts --no-audit --no-fund --no-package-lock s3rver@3.7.1 >"$work/npm.log" 2>&1) ||
    { tail -n 5 "$work/npm.log" >&2; die "s3rver cannot be installed"; }
  "${podman[@]}" build --network=host -t localhost/s3:latest -f deploy/demo/s3.Dockerfile build/s3 >"$work/s3.log" 2>&1 ||
    { tail -n 20 "$work/s3.log" >&2; die "the image of the S3 server cannot be built"; }
}

push_images() {
  cat >"$work/registry.yml" <<END
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: "$work/registry"}}
http: {addr: "$registry"}
END
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry_pid=$!
  until (exec 3<>"/dev/tcp/${registry/:/\/}") 2>/dev/null; do sleep 0.2; done
  local image
  for image in "${images[@]}" s3; do
    "${podman[@]}" push -q --tls-verify=false "localhost/$image:latest" "$registry/$image:latest" >"$work/push.log" 2>&1 ||
      { cat "$work/push.log" >&2; die "$image cannot be pushed to $registry"; }
  done
}

make_certificate() {
  mkdir -p "$work/certificate"
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$bucket.s3.amazonaws.com" \
    -addext "subjectAltName=DNS:$bucket.s3.amazonaws.com,DNS:s3.amazonaws.com" \
    -keyout "$work/certificate/key.pem" -out "$work/certificate/certificate.pem" 2>/dev/null
}

start_s3() {
  make_certificate
  sed "s|REGISTRY|$registry|; s|MODELS|$work/models|; s|CERTIFICATE|$work/certificate|" deploy/demo/s3.yaml | kubectl apply -f - >/dev/null
  kubectl create configmap s3-certificate --from-file="$work/certificate/certificate.pem" >/dev/null
  kubectl wait --for=condition=Ready pod/s3 --timeout=180s >/dev/null
  s3_address=$(kubectl get pod s3 -o 'jsonpath={.status.podIP}')
}

start_plugin() {
  sed "s|localhost/neuron-device-plugin|$registry/neuron-device-plugin|; s|args: \[|args: [\"--simulate\", \"inf1.6xlarge\", |" \
    deploy/kubernetes/device_plugin/device_plugin.yml | kubectl apply -f - >/dev/null
  cluster_await device-plugin sh -c '[ "$("$1" --kubeconfig "$2" get node localhost -o "jsonpath={.status.allocatable.aws\.amazon\.com/neuron}")" = 4 ]' \
    - "$cluster_programs/kubectl" "$cluster_folder/kubeconfig"
}

# In one line that is written again, or in a line whenever something has changed.
last_progress=
progress() {
  if [ -t 1 ]; then
    printf '\r   %s, %d s ' "$1" $((SECONDS - began))
  elif [ "$1" != "$last_progress" ]; then
    printf '   %s  (%d s)\n' "$1" $((SECONDS - began))
    last_progress=$1
  fi
}
