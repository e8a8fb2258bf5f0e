#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the images neuron-rtd, neuron-client, tensorflow-model-server-neuron, neuron-device-plugin and neuron-scheduler, or those
# that are named, of what `./dev build` made.
#   docker/build.sh [--base IMAGE] [--tag-prefix PREFIX] [--image NAME]... [-- ENGINE...]
# The engine is podman, else docker, or the words behind --.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

base=debian:bookworm-slim
prefix=localhost/
engine=()
images=()
while [ $# -gt 0 ]; do
  case $1 in
    --base) base=${2:?--base needs an image}; shift 2 ;;
    --tag-prefix) prefix=${2?--tag-prefix needs a text}; shift 2 ;;
    --image) images+=("${2:?--image needs a name}"); shift 2 ;;
    --image=*) images+=("${1#--image=}"); shift ;;
    --) shift; engine=("$@"); break ;;
    *) echo "docker/build.sh: unknown option $1; use [--base IMAGE] [--tag-prefix PREFIX] [--image NAME]... [-- ENGINE...]" >&2; exit 2 ;;
  esac
done
if [ ${#engine[@]} = 0 ]; then
  engine=("$(command -v podman || command -v docker)") || { echo "docker/build.sh: neither podman nor docker is installed" >&2; exit 1; }
fi

[ ${#images[@]} -gt 0 ] || images=(neuron-rtd neuron-client tensorflow-model-server-neuron neuron-device-plugin neuron-scheduler)

bin=build/release/bin
programs=(neuron-rtd neuron-cli neuron-top neuron-cc digits-demo tensorflow_model_server_neuron k8s-neuron-device-plugin k8s-neuron-scheduler)
for name in "${programs[@]}"; do
  [ -x "$bin/$name" ] || { echo "docker/build.sh: $bin/$name is missing; run ./dev build first" >&2; exit 1; }
done

# The Debian packages of the libraries that these programs load: what is linked is the list.
packages_of() {
  ldd "$@" | awk '$3 ~ /^\// {print $3}' | sort -u | while read -r library; do
    dpkg-query -S "$library" 2>/dev/null || dpkg-query -S "$(readlink -f "$library")" 2>/dev/null ||
      dpkg-query -S "/usr$library" 2>/dev/null
  done | sed 's/:.*//' | sort -u
}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/bin" "$context/digits"
for name in "${programs[@]}"; do
  strip -o "$context/bin/$name" "$bin/$name"
done
packages_of "${programs[@]/#/$bin/}" >"$context/packages"
cp models/digits/digits.onnx models/digits/images.npy models/digits/labels.npy "$context/digits/"
cp docker/Dockerfile docker/client-demo.sh "$context/"
chmod 755 "$context/client-demo.sh"
# The OCI's format of images has no HEALTHCHECK.
format=()
if [[ ${engine[0]} == *podman* ]]; then format=(--format docker); fi
for image in "${images[@]}"; do
  "${engine[@]}" build "${format[@]}" --network=host --build-arg "BASE=$base" --target "$image" -t "$prefix$image:latest" \
    -f "$context/Dockerfile" "$context"
done
