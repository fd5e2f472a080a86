#!/bin/sh
# bench.sh [GROUP...]: runs the benchmark programs of pkg/bench/<group>, all of them when none is named, one after the
# other so that they do not disturb each other. Fails when one is SHORT of its bar or breaks.
set -eu

groups=
for dir in pkg/bench/*/main.go; do
	[ -e "$dir" ] && groups="$groups $(basename "$(dirname "$dir")")"
done

for only in "$@"; do
	case " $groups " in
	*" $only "*) ;;
	*)
		echo "There is no benchmark group \"$only\"; there are:${groups:- none yet}." >&2
		exit 1
		;;
	esac
done

if [ -z "$groups" ]; then
	echo "There are no benchmark groups yet."
	exit 0
fi
if [ $# -eq 0 ]; then
	# shellcheck disable=SC2086 # one argument per group
	set -- $groups
fi

go build -o bin/withengines ./scripts/withengines
failed=
for group in "$@"; do
	# What `make run` starts, for the benchmark that measures it.
	[ "$group" != story ] || make build stand-ins
	# Built first: a benchmark under `go run` shares the machine with the go command.
	go build -o "bin/bench-$group" "./pkg/bench/$group"
	bin/withengines -if-installed "bin/bench-$group" || failed="$failed $group"
	[ "$group" = platform ] || continue
	# The figures of calls and events, on one profile and on the other.
	for both in calls events; do
		go build -o "bin/bench-$both" "./pkg/bench/$both"
		bin/withengines "bin/bench-$both" || failed="$failed $both"
		bin/withengines "bin/bench-$both" -profile platform || failed="$failed $both-on-platform"
	done
done

if [ -n "$failed" ]; then
	echo "bench:$failed: SHORT or broken" >&2
	exit 1
fi
