#!/bin/sh
# Builds the image and tries it as it will be run: as the numeric user, with a read-only root and without a network. From
# the image alone it founds a federation of one in a new volume, runs the node and asks it for its health.
#
#   tools/image.sh [IMAGE]
#
# ENGINE         docker, podman or buildah; found by itself
# ENGINE_FLAGS   go to each call, before the command, such as --storage-driver vfs
# BUILD_FLAGS    go to the build, such as --pull-never or --build-arg GOPROXY=…
# RUN_FLAGS      go to each run, such as --ulimit nofile=1024:4096
set -eu
cd "$(dirname "$0")/.."
image=${1:-entente}

works() {
	case $1 in
	docker) docker info >/dev/null 2>&1 ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}

engine=${ENGINE:-}
for candidate in docker podman buildah; do
	if [ -z "$engine" ] && works $candidate; then
		engine=$candidate
	fi
done
if [ -z "$engine" ]; then
	echo "NOTHING WAS BUILT: make image needs docker (with a daemon that answers), podman or buildah; none was found." >&2
	exit 1
fi

# shellcheck disable=SC2086 # flags are meant to be split
e() { "$engine" ${ENGINE_FLAGS:-} "$@"; }
# shellcheck disable=SC2086
case $engine in
docker) e build ${BUILD_FLAGS:-} -t "$image" . ;;
# The image format of its own has no place for a health check.
podman) e build --format docker ${BUILD_FLAGS:-} -t "$image" . ;;
buildah)
	e bud --format docker ${BUILD_FLAGS:-} -t "$image" .
	echo "THE IMAGE WAS BUILT AND NOT TRIED: buildah does not run a read-only root; install podman or docker." >&2
	exit 1
	;;
esac

name=entente-try-$$
cleanup() {
	e rm -f "$name" >/dev/null 2>&1 || true
	e volume rm -f "$name" >/dev/null 2>&1 || true
}
trap cleanup EXIT
e volume create "$name" >/dev/null
# shellcheck disable=SC2086
try() { e run --rm --read-only --network none ${RUN_FLAGS:-} -v "$name:/data" "$image" "$@"; }

echo "== version, in $image"
try version
echo "== a federation of one, founded in the image"
try pki root --out offline >/dev/null
try pki authority --member XA --out authority >/dev/null
try pki signing-key --out . >/dev/null
try pki issue --authority authority --identity node --out . >/dev/null
try pki issue --authority authority --identity operator/health --out . >/dev/null
try roster genesis --name Trial --founder XA=offline/root.pub --assembler XA --out genesis.pb
try roster sign genesis.pb --member XA --root offline/root.key
try roster entry --genesis genesis.pb --member XA --name Trial --kind national --address 127.0.0.1:7443 \
	--authority authority/authority.pem --signing-key signing-key.pub --root offline/root.key --out entry.pb
try roster assemble --genesis genesis.pb --entry entry.pb --assembler XA --signing-key signing-key.key --out roster.pb

echo "== the node, with a read-only root"
settings="-e ENTENTE_NODE_CONFIG= -e ENTENTE_NODE_MEMBER=XA -e ENTENTE_NODE_LISTEN=127.0.0.1:7443 -e ENTENTE_NODE_GENESIS=/data/genesis.pb
	-e ENTENTE_CONFIG= -e ENTENTE_ADDRESS=127.0.0.1:7443 -e ENTENTE_MEMBER=XA -e ENTENTE_CERTIFICATE=/data/operator-health.pem
	-e ENTENTE_KEY=/data/operator-health.key -e ENTENTE_AUTHORITIES=/data/authority/authority.pem"
# shellcheck disable=SC2086
e run --rm --read-only --network none ${RUN_FLAGS:-} $settings -v "$name:/data" "$image" node init
# shellcheck disable=SC2086
e run -d --name "$name" --read-only --network none ${RUN_FLAGS:-} $settings -v "$name:/data" "$image" node run >/dev/null
tries=0
until e exec "$name" /entente health; do
	tries=$((tries + 1))
	if [ "$tries" -ge 20 ]; then
		e logs "$name" >&2
		echo "the node did not become healthy" >&2
		exit 1
	fi
	sleep 0.5
done
pid=$(e inspect --format '{{.State.Pid}}' "$name")
users=$(awk '/^Uid:/ { print $2, $3, $4, $5 }' "/proc/$pid/status" 2>/dev/null || echo "not seen from here")
echo "== users of the running node: $users; of the image: $(e inspect --format '{{.Config.User}}' "$name")"
case $(e inspect --format '{{.Config.User}}' "$name") in
[1-9]*:[1-9]*) ;;
*)
	echo "the image does not run as a numeric user other than root" >&2
	exit 1
	;;
esac
e stop -t 20 "$name" >/dev/null
code=$(e inspect --format '{{.State.ExitCode}}' "$name")
e logs "$name" 2>&1 | tail -n 1
if [ "$code" != 0 ]; then
	echo "the node ended with code $code" >&2
	exit 1
fi
echo "== $image is built, runs as a plain user, is healthy and stops in order"
