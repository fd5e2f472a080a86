#!/bin/sh
# kubernetes.sh: builds kube-apiserver and kubectl into bin/kubernetes from their Go modules, unless those of this version are
# there. It takes some minutes once, in which two thousand packages are compiled.
set -eu
cd "$(dirname "$0")/.."
modfile=tools/kubernetes/go.mod
version=$(go list -m -modfile="$modfile" -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
minor=${minor%%.*}

# The API server takes what it is compatible with from its version, which a build has to tell it.
of=k8s.io/component-base/version
flags="-s -w -X $of.gitVersion=$version -X $of.gitMajor=1 -X $of.gitMinor=$minor -X k8s.io/client-go/pkg/version.gitVersion=$version"
for name in kube-apiserver kubectl; do
	out=bin/kubernetes/$name-$version
	if [ ! -x "$out" ]; then
		GOFLAGS="${GOFLAGS:-} -modfile=$modfile -trimpath '-ldflags=$flags'" nice scripts/build.sh "$out" "k8s.io/kubernetes/cmd/$name"
	fi
	ln -sf "$name-$version" "bin/kubernetes/$name"
done
