#!/bin/sh
# dco.sh RANGE: every commit of the range (merges aside) carries its author's own Signed-off-by line.
set -eu
range=$1

commits=$(git rev-list --no-merges "$range")
bad=0
for commit in $commits; do
	author=$(git show -s --format='%an <%ae>' "$commit")
	signed=$(git show -s --format='%(trailers:key=Signed-off-by,valueonly)' "$commit")
	if ! printf '%s\n' "$signed" | grep -Fxiq -- "$author"; then
		echo "$(git show -s --format='%h %s' "$commit"): no \"Signed-off-by: $author\"" >&2
		bad=1
	fi
done

if [ "$bad" -ne 0 ]; then
	echo "Sign off with: git rebase --signoff ${range%%..*} (see CONTRIBUTING.md)" >&2
fi
exit "$bad"
