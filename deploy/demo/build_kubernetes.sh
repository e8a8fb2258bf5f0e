#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds kubelet, kube-apiserver, kube-scheduler and kube-controller-manager from Debian's source package, because
# kubectl is the only Kubernetes binary that Debian packages. The first build takes 12 minutes on two CPUs.
#   build_kubernetes.sh FOLDER [PROGRAM...]      puts the four programs there, and others of the package that are named
set -euo pipefail
folder=$(mkdir -p "$1" && readlink -f "$1")
programs=(kubelet kube-apiserver kube-scheduler kube-controller-manager "${@:2}")  # and kubectl, as Debian built it

# What was built in another way is built again.
readonly recipe=2
if [ "$(cat "$folder/recipe" 2>/dev/null)" != "$recipe" ]; then
  rm -f "${programs[@]/#/$folder/}"
  echo "$recipe" >"$folder/recipe"
fi

is_complete() {
  local program
  for program in "${programs[@]}" kubectl; do [ -x "$folder/$program" ] || return 1; done
}
is_complete && exit 0

say() { printf '   %s\n' "$*"; }
work=$(mktemp -d -p "$folder" source.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The mirror that packages come from has their sources too.
say "fetching Debian's source of Kubernetes"
sources=$work/sources.list
sed -n 's/^deb \(.*\)/deb \1\ndeb-src \1/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null >"$sources" || true
awk '/^Types:/ {types = 1} {print}' /etc/apt/sources.list.d/*.sources 2>/dev/null |
  sed 's/^Types:.*/Types: deb deb-src/' >"$work/more.sources" || true
apt_options=(-o "Dir::Etc::SourceList=$sources" -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists" -q)
mkdir -p "$work/parts" "$work/lists/partial"
if [ -s "$work/more.sources" ]; then cp "$work/more.sources" "$work/parts/more.sources"; fi
apt-get "${apt_options[@]}" update >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; exit 1; }
apt-get "${apt_options[@]}" source --download-only kubernetes >>"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; exit 1; }
dpkg-source -x kubernetes_*.dsc tree >>"$work/apt.log" 2>&1

# Kubernetes 1.20 brings a reflect2 that takes Go's maps for those before 1.18: the API server dies of custom resources.
apt-get "${apt_options[@]}" download golang-github-modern-go-reflect2-dev >>"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; exit 1; }
dpkg-deb -x golang-github-modern-go-reflect2-dev_*.deb reflect2
rm -r tree/vendor/github.com/modern-go/reflect2
cp -r reflect2/usr/share/gocode/src/github.com/modern-go/reflect2 tree/vendor/github.com/modern-go/

cd tree
mkdir -p .go/src/k8s.io
ln -s ../../.. .go/src/k8s.io/kubernetes
export GOPATH=$PWD/.go GO111MODULE=off CGO_ENABLED=0 GOCACHE=$work/cache GOFLAGS=
cd "$GOPATH/src/k8s.io/kubernetes"
# "1.20.5+really1.20.2-1.1" is 1.20.2.
version=v$(dpkg-parsechangelog -l debian/changelog -S Version | sed 's/.*+really//; s/[-+~].*//')
say "generating the API's description ($version)"
make gen_openapi >"$work/generate.log" 2>&1 || { tail -n 20 "$work/generate.log" >&2; exit 1; }
at=k8s.io/kubernetes/vendor/k8s.io/component-base/version
major=${version%%.*} minor=$(cut -d. -f2 <<<"$version")
flags="-s -w -X $at.gitVersion=$version -X $at.gitMajor=${major#v} -X $at.gitMinor=$minor"
for program in "${programs[@]}"; do
  [ ! -x "$folder/$program" ] || continue
  say "building $program"
  go build -ldflags "$flags" -o "$work/$program" "k8s.io/kubernetes/cmd/$program" >"$work/build.log" 2>&1 ||
    { tail -n 20 "$work/build.log" >&2; exit 1; }
done
cd "$work"
apt-get "${apt_options[@]}" download kubernetes-client >>"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; exit 1; }
dpkg-deb -x kubernetes-client_*.deb client
mv client/usr/bin/kubectl "$work/kubectl"
for program in "${programs[@]}" kubectl; do
  [ -x "$folder/$program" ] || mv "$work/$program" "$folder/$program"
done
