#!/bin/sh
# platform-deps.sh: installs what `make platform`, `make test-platform` and `make test-kubernetes` need beside Go: the programs
# of etcd, Redis and PostgreSQL, no running server. As root on Debian or Ubuntu; elsewhere it names what is missing.
set -eu

missing() {
	command -v initdb >/dev/null 2>&1 || [ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || echo postgresql
	command -v redis-server >/dev/null 2>&1 || echo redis-server
	command -v etcd >/dev/null 2>&1 || echo etcd-server
}

packages=$(missing)
if [ -z "$packages" ]; then
	echo "etcd, Redis and PostgreSQL are there."
	exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "Missing, to be installed as root with your system's packages: $(echo "$packages" | tr '\n' ' ')" >&2
	echo "(PostgreSQL 13 or newer, Redis 7.0 or newer, etcd 3.4 or newer.)" >&2
	exit 1
fi

had_cluster=0
if [ -d /etc/postgresql ]; then had_cluster=1; fi
# The packages would start servers of their own, on fixed ports: the tests bring theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
apt-get update -qq
# shellcheck disable=SC2086 # one argument per package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages

# PostgreSQL's creates a cluster. One that was there before is somebody's.
if [ "$had_cluster" -eq 0 ] && command -v pg_lsclusters >/dev/null 2>&1; then
	pg_lsclusters -h | while read -r version cluster rest; do
		pg_dropcluster --stop "$version" "$cluster"
	done
fi
test -z "$(missing)"
