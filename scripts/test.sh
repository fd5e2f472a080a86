#!/bin/sh
# test.sh unit|acceptance [go test flags]: the two parts of the tests. The list of packages is made here because the
# unit part is everything but pkg/acceptance, and a failing `go list` must fail the test rather than shorten it.
set -eu
part=$1
shift

case $part in
unit)
	packages=$(go list ./...)
	packages=$(printf '%s\n' "$packages" | grep -v '/pkg/acceptance\(/\|$\)')
	# shellcheck disable=SC2086 # one argument per package
	exec go test -race "$@" $packages
	;;
acceptance)
	# Never from go's test cache: the binary that these tests boot is not part of its key.
	exec go test -count=1 "$@" ./pkg/acceptance/...
	;;
*)
	echo "test.sh: unit or acceptance, not $part" >&2
	exit 2
	;;
esac
