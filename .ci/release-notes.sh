#!/usr/bin/env bash
# Prints the notes of a release: the section of CHANGELOG.md for the version of a tag.
#
#	bash .ci/release-notes.sh v1.2.3
#
# It fails if there is no such section, if the section is empty, or if client/package.json has another version. It reads the
# files of the current directory.
set -euo pipefail

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

(($# == 1)) || fail "usage: bash .ci/release-notes.sh v1.2.3"
[[ $1 =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || fail "$1 is not a tag such as v1.2.3 or v1.2.3-rc.1"
version=${1#v}

# The section ends at the next one, or at the definitions of links.
notes=$(awk -v heading="## [$version]" '
	/^## / { found = substr($0, 1, length(heading)) == heading; next }
	/^\[[^]]+\]: / { found = 0 }
	found { print }
' CHANGELOG.md)
[[ $notes == *[![:space:]]* ]] || fail "CHANGELOG.md has no text in a section \"## [$version]\""

npm=$(sed -n 's/^\t"version": "\(.*\)",$/\1/p' client/package.json)
[[ $npm == "$version" ]] || fail "client/package.json has the version $npm, not $version"

# The page of a release is not in the repository, so relative links become absolute. The first line is empty, and $(…) removed
# the empty lines at the end.
sed -E "s#\]\(([^):]+)\)#](https://github.com/illumichat/caddy-illumichat/blob/$1/\1)#g" <<<"${notes#$'\n'}"
