#!/bin/sh
# verify.sh [BASE]: is everything in the tree that can be derived from the rest up to date? All checks run, the failed
# ones are named at the end. Nothing in the working tree is touched, and uncommitted files are checked like committed
# ones. BASE is what protos must stay compatible with: the commit before this one unless named.
set -eu
cd "$(dirname "$0")/.."
base=${1:-HEAD~1}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/verify.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# Two copies of the tree as it is, uncommitted files included, ignored ones left out: through an index and an object
# directory of our own, so that the repository's stay as they are.
copy_tree() {
	git_dir=$(git rev-parse --absolute-git-dir)
	objects=$(cd "$(git rev-parse --git-path objects)" && pwd)
	mkdir "$tmp/objects"
	if [ -e "$git_dir/index" ]; then cp "$git_dir/index" "$tmp/index"; fi
	(
		export GIT_INDEX_FILE="$tmp/index" GIT_OBJECT_DIRECTORY="$tmp/objects"
		export GIT_ALTERNATE_OBJECT_DIRECTORIES="$objects"
		git add --all .
		git checkout-index --all --prefix="$tmp/now/"
		git checkout-index --all --prefix="$tmp/again/"
	)
}

generated() {
	# Removed first, so that what no source stands for any more shows as well.
	find "$tmp/again" \( -name '*.pb.go' -o -name '*.pb.micro.go' -o -path '*/fakes/*.go' \) -exec rm {} +
	(cd "$tmp/again" && scripts/generate.sh) || return 1
	diff -ruN "$tmp/now" "$tmp/again" >"$tmp/diff" && return 0
	sed -e "s|$tmp/now|a|g" -e "s|$tmp/again|b|g" "$tmp/diff" | head -n 200
	echo "Generated files differ from their sources: run make generate."
	return 1
}

formatted() {
	# gofmt has nothing to say to generators.
	unformatted=$(cd "$tmp/now" && find . -name '*.go' -not -name '*.pb.go' -not -name '*.pb.micro.go' -exec gofmt -l {} +)
	[ -z "$unformatted" ] && return 0
	printf 'Not gofmt-ed:\n%s\n' "$unformatted"
	return 1
}

modules() {
	bad=0
	# Not for the modules of the tools: tidy would download whatever the tests of their hundreds of dependencies need.
	go mod tidy -diff || bad=1
	for dir in . tools tools/lint tools/kubernetes; do
		(cd "$dir" && go mod verify) || bad=1
	done
	return "$bad"
}

# The tree that protos are compared with, as a directory rather than in git: buf's own git input clones, which a shallow
# clone, a worktree or a first commit does not survive. There is none when there is no such commit.
copy_before() {
	git rev-parse --verify --quiet "$base^{commit}" >/dev/null || return 0
	mkdir "$tmp/before"
	git archive "$base" | tar -x -C "$tmp/before"
	# The configuration is today's, which asks for this module; what is in it is Micro's, and not ours to change.
	if ! [ -e "$tmp/before/pkg/platform/microproto" ]; then
		mkdir -p "$tmp/before/pkg/platform"
		cp -R "$tmp/now/pkg/platform/microproto" "$tmp/before/pkg/platform/microproto"
	fi
}

compatible() {
	if ! [ -e "$tmp/before" ]; then
		if [ -n "$1" ]; then
			echo "There is no commit $base."
			return 1
		fi
		echo "verify: no commit before this one here (a first commit or a shallow clone): protos are not compared." >&3
		return 0
	fi
	if scripts/no-protos.sh "$tmp/before"; then
		echo "verify: no protos at $base: nothing to compare." >&3
		return 0
	fi
	# By today's rules: the older tree's configuration may be missing.
	go tool -modfile=tools/go.mod buf breaking --against "$tmp/before" --config buf.yaml --against-config buf.yaml
}

# Topics are held to more than other protos: their names travel too, and what is gone may still be on its way.
topics() {
	set --
	if [ -e "$tmp/before" ] && ! scripts/no-protos.sh "$tmp/before"; then
		go tool -modfile=tools/go.mod buf build "$tmp/before" --config buf.yaml -o "$tmp/before.binpb"
		set -- -before "$tmp/before.binpb"
	fi
	go tool -modfile=tools/go.mod buf build "$tmp/now" -o "$tmp/now.binpb"
	go run ./scripts/topics "$@" "$tmp/now" "$tmp/now.binpb"
}

# A file that grew past 500 lines has two subjects. Tests are lists by nature, generated code nobody reads.
short() {
	long=$(cd "$tmp/now" && find . -name '*.go' -not -name '*_test.go' -exec sh -c '
		for file; do
			lines=$(wc -l <"$file")
			[ "$lines" -le 500 ] || grep -q "^// Code generated .* DO NOT EDIT\.$" "$file" || echo "$file: $lines lines"
		done' sh {} +)
	[ -z "$long" ] && return 0
	printf 'Longer than 500 lines:\n%s\n' "$long"
	return 1
}

exec 3>&1 # what is worth saying although nothing is wrong
failed=
check() {
	name=$1
	shift
	start=$(date +%s)
	# In a subshell that is no condition: a function called in one ignores set -e.
	set +e
	(
		set -e
		"$@"
	) >"$tmp/out" 2>&1
	rc=$?
	set -e
	if [ "$rc" -eq 0 ]; then
		echo "verify: $name: ok in $(($(date +%s) - start)) s"
	else
		failed="$failed, $name"
		cat "$tmp/out" >&2
		echo "verify: $name: FAILED" >&2
	fi
}

copy_tree
copy_before
check 'formatting' formatted
check 'size of files' short
check 'generated code' generated
check 'go.mod' modules
check 'compatibility of protos' compatible "${1:-}"
check 'topics' topics

if [ -n "$failed" ]; then
	echo "verify: FAILED: ${failed#, }" >&2
	exit 1
fi
