#!/bin/sh
# Builds twice, in two folders that do not look alike, and compares. The second build starts with an empty build cache:
# otherwise it would be given the objects of the first.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
one=$work/a
two="$work/another folder/with a longer name"
for copy in "$one" "$two"; do
	mkdir -p "$copy"
	tar -cf - --exclude=./.git --exclude=./.bin --exclude=./.deps --exclude=./bin --exclude=./dist . | tar -xf - -C "$copy"
done
(cd "$one" && tools/build.sh "$work/first")
(cd "$two" && GOCACHE=$work/cache tools/build.sh "$work/second")
first=$(sha256sum <"$work/first")
second=$(sha256sum <"$work/second")
echo "first  $first $(wc -c <"$work/first") bytes"
echo "second $second $(wc -c <"$work/second") bytes"
if [ "$first" != "$second" ]; then
	echo "two builds of the same sources differ" >&2
	exit 1
fi
