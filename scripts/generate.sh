#!/bin/sh
# generate.sh [SERVICE...]: regenerates everything, or the named directories. Protos first and from the root, where
# buf.gen.yaml finds its plugins; then go generate, because fakes are made from what the protos became; then the table of
# who may call what, which is of all protos.
set -eu
cd "$(dirname "$0")/.."

policies() {
	go tool -modfile=tools/go.mod buf build -o - | go run ./pkg/auth/policies pkg/auth/README.md
}

if [ $# -eq 0 ]; then
	scripts/no-protos.sh . || go tool -modfile=tools/go.mod buf generate --exclude-path pkg/platform/microproto/proto
	go generate ./...
	policies
	exit
fi

for dir in "$@"; do
	scripts/no-protos.sh "$dir" || go tool -modfile=tools/go.mod buf generate --exclude-path pkg/platform/microproto/proto --path "$dir"
	go generate "./$dir/..."
done
policies
