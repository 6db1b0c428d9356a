#!/bin/sh
# Checks the example client against a throw-away federation, with the .proto files as they are published.
# Needs Go, GNU tar, and Node.js 22.20, 24.5 or later: as `node`, or named in ENTENTE_NODEJS. Packages are installed into
# node_modules here unless NODE_PATH names a folder that has them.
set -eu
cd "$(dirname "$0")"
if [ -z "${NODE_PATH:-}" ] && [ ! -d node_modules ]; then
	npm install --no-audit --no-fund
fi
cd ../../..
make proto-bundle
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$(ls -t dist/entente-proto-contract-*.tar.gz | head -n 1)" -C "$work"
ENTENTE_PROTOS=$(echo "$work"/entente-proto-contract-*)
export ENTENTE_PROTOS
go test -count=1 -v -run InAnotherLanguage ./nodes/sandbox >"$work/report" || { cat "$work/report"; exit 1; }
cat "$work/report"
# Here nothing may be left out: that is for `make test`, on machines without Node.js.
if grep -q 'SKIP' "$work/report"; then
	echo "the client was not checked" >&2
	exit 1
fi
