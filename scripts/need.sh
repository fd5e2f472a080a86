#!/bin/sh
# Says in one sentence what is missing before a build starts; go's own words for a missing C compiler come late and
# do not name SQLite. Plain sh: it has to work where Go is what is missing.
set -eu

if ! command -v go >/dev/null 2>&1; then
	echo "Go is missing: this needs Go 1.26 or newer (https://go.dev/dl/)." >&2
	exit 1
fi

cc=$(go env CC)
cc=${cc%% *} # CC may carry arguments: "ccache gcc", "clang -m64"
if ! command -v "$cc" >/dev/null 2>&1; then
	echo "A C compiler is missing (looked for $cc): SQLite is built with cgo; install gcc or clang." >&2
	exit 1
fi

if [ "$(go env CGO_ENABLED)" != 1 ]; then
	echo "cgo is switched off (CGO_ENABLED=0): SQLite is built with it; set CGO_ENABLED=1." >&2
	exit 1
fi
