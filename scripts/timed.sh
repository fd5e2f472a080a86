#!/bin/sh
# timed.sh NAME COMMAND...: runs the command and says how long it took and how it ended; its status is the command's.
# Plain sh because it also times the steps that build Go programs.
set -u
name=$1
shift

start=$(date +%s)
"$@"
rc=$?
took=$(($(date +%s) - start))

if [ "$rc" -eq 0 ]; then
	echo "== $name: ok in $took s"
else
	echo "== $name: FAILED after $took s" >&2
fi
exit "$rc"
