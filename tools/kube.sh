#!/usr/bin/env bash
# Gets a real kube-apiserver and an etcd for the tests of acts on Kubernetes:
#
#   tools/kube.sh        builds and fetches what is missing: 1.5 GB of downloads the first time
#   tools/kube.sh dir    says where they are
#
# Both lie in the user's cache directory, by version; a second call does nothing. Nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/kube"

version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' go.mod)
[[ -n $version ]] || version=$(sed -n 's/^require k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' go.mod)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/picket
[[ ${1:-} != dir ]] || { echo "$cache"; exit; }
mkdir -p "$cache"

if [[ ! -x $cache/kube-apiserver-$version ]]; then
	echo "kube: building kube-apiserver $version, which takes minutes" >&2
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$cache/kube-apiserver-$version.new" k8s.io/kubernetes/cmd/kube-apiserver
	mv "$cache/kube-apiserver-$version.new" "$cache/kube-apiserver-$version"
fi
if ! command -v etcd >/dev/null && [[ ! -x $cache/etcd ]]; then
	echo "kube: fetching etcd from Debian" >&2
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	(cd "$dir" && apt-get download -qq etcd-server && dpkg -x etcd-server_*.deb .)
	install "$dir/usr/bin/etcd" "$cache/etcd"
fi
