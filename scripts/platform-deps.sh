#!/bin/sh
# platform-deps.sh: installs what `make test-platform` needs beside Go: PostgreSQL's programs, no running server. As root
# on Debian or Ubuntu; elsewhere it names what is missing.
set -eu

found() {
	command -v initdb >/dev/null 2>&1 || [ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ]
}

if found; then
	echo "PostgreSQL is there."
	exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "PostgreSQL is missing: install the package \"postgresql\" (13 or newer) of your system, as root." >&2
	exit 1
fi

had_cluster=0
if [ -d /etc/postgresql ]; then had_cluster=1; fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql

# The package creates a cluster and may start it; the tests bring their own. One that was there before is somebody's.
if [ "$had_cluster" -eq 0 ]; then
	pg_lsclusters -h | while read -r version cluster rest; do
		pg_dropcluster --stop "$version" "$cluster"
	done
fi
found
