#!/bin/sh
# generate.sh [SERVICE...]: regenerates everything, or the named directories. Protos first and from the root, where
# buf.gen.yaml finds its plugins; then go generate, because fakes are made from what the protos became.
set -eu
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
	scripts/no-protos.sh . || go tool -modfile=tools/go.mod buf generate
	exec go generate ./...
fi

for dir in "$@"; do
	scripts/no-protos.sh "$dir" || go tool -modfile=tools/go.mod buf generate --path "$dir"
	go generate "./$dir/..."
done
