#!/bin/sh
# no-protos.sh DIR: succeeds when there is no proto under DIR: buf calls an empty module an error, and a repository
# starts empty.
set -eu
cd "$1"
[ -z "$(find . -name '.?*' -prune -o -name '*.proto' -print -quit)" ]
