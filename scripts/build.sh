#!/bin/sh
# build.sh OUTPUT PACKAGE: go build that shows how far it is. A first build compiles over a thousand packages and is
# silent for minutes otherwise. Anything that is no package name (an error, a download) is passed on as it is.
set -eu
out=$1 package=$2

# On a terminal one line is rewritten; in a log every 200th package gets a line of its own.
tty=0
if [ -t 2 ]; then tty=1; fi

# The status of go build, and not of awk: it leaves the pipe on descriptor 3.
status=$({ { go build -v -o "$out" "$package" 2>&1 && rc=0 || rc=$?; echo "$rc" >&3; } | awk -v out="$out" -v tty="$tty" '
	/^[^ :]+$/ {
		n++
		if (tty) printf "\r%s: %d packages compiled", out, n
		else if (n % 200 == 0) printf "%s: %d packages compiled\n", out, n
		fflush(); next
	}
	{ if (tty && n) printf "\n"; print; fflush() }
	END { if (tty && n) printf "\n" }
' >&2; } 3>&1)
exit "$status"
