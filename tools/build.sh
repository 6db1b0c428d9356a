#!/bin/sh
# The build that is handed out, of one form everywhere: in the image, on the build machine of a member, at a desk. Nothing
# of the place, the time or the user goes in, so the same sources with the same Go give the same bytes (make reproducible).
#
#   tools/build.sh OUT          GOOS and GOARCH count as always
set -eu
if [ $# -ne 1 ]; then
	echo "usage: tools/build.sh OUT" >&2
	exit 2
fi
# The tags leave out the tracing pages of two libraries, which drag in html/template.
CGO_ENABLED=0 GOFLAGS= exec go build -trimpath -buildvcs=false -tags grpcnotrace,retrynotrace \
	-ldflags '-s -w -buildid=' -o "$1" ./nodes/entente
