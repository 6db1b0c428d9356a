#!/bin/sh
# Packs the contract for programs in other languages: the .proto files, the field rules that they import, licence, and a
# page that says what to do with them. The same contents give the same bytes: order, dates and owners are fixed.
#
#   tools/bundle.sh RULES DIST        RULES: the folder with buf/validate/validate.proto; DIST: where the bundle goes
#
# Needs GNU tar, for the fixed order and dates.
set -eu
if [ $# -ne 2 ]; then
	echo "usage: tools/bundle.sh RULES DIST" >&2
	exit 2
fi
rules=$1
dist=$2
cd "$(dirname "$0")/.."
if ! tar --version 2>/dev/null | grep -q 'GNU tar'; then
	echo "tools/bundle.sh needs GNU tar" >&2
	exit 1
fi
contract=$(sed -n 's/^const Contract = //p' proto/member/contract.go)
if [ -z "$contract" ]; then
	echo "the version of the contract was not found in proto/member/contract.go" >&2
	exit 1
fi
name=entente-proto-contract-$contract
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/$name/entente/v1" "$work/$name/buf/validate" "$dist"
cp proto/entente/v1/*.proto "$work/$name/entente/v1/"
cp "$rules/buf/validate/validate.proto" "$work/$name/buf/validate/"
cp LICENSE "$work/$name/"
sed "s/@CONTRACT@/$contract/g" tools/bundle/README.md >"$work/$name/README.md"
find "$work/$name" -type d -exec chmod 755 {} +
find "$work/$name" -type f -exec chmod 644 {} +
tar -C "$work" --format=ustar --sort=name --mtime='2026-01-01 00:00:00Z' --owner=0 --group=0 --numeric-owner -cf "$work/bundle.tar" "$name"
gzip -9n "$work/bundle.tar"
mv "$work/bundle.tar.gz" "$dist/$name.tar.gz"
(cd "$dist" && sha256sum "$name.tar.gz")
