#!/bin/sh
# Makes answers.jsonl and requests.jsonl with a program of contract 1: record.sh PROGRAM FOLDER, from the root of the sources.
# FOLDER must not be there yet. README.md says what they are for. Nodes run for some seconds, on ports 7591 to 7594.
#
# XA is the one that is recorded, with its data file from federation.tar.gz where it is called, and with an empty one where
# it calls; the other side, XB, each time the other way round. So each conversation begins from nothing.
set -eu
program=$1
case $program in /*) ;; *) program=$PWD/$program ;; esac
here=$(cd "$(dirname "$0")" && pwd)
mkdir "$2"
folder=$(cd "$2" && pwd)
go build -o "$folder/record" "$here/record"
tar -xzf "$here/federation.tar.gz" -C "$folder"
cd "$folder"
trap 'kill $pids 2> /dev/null || true' EXIT
pids=

# converse CALLER CALLED PORT-OF-CALLED OUT: the caller begins with an empty data file.
converse() {
  "$program" node init --config $1/node.yaml --data $1/fresh.db > /dev/null
  ./record 127.0.0.1:$3 $2 127.0.0.1:7593 $1 > "$4" & recorder=$!
  "$program" node run --config $2/node.yaml --listen 127.0.0.1:7593 2> $2.log & called=$!
  pids="$recorder $called"
  sleep 1
  "$program" node run --config $1/node.yaml --listen 127.0.0.1:7594 --data $1/fresh.db --marker $1/fresh.marker 2> $1.log & caller=$!
  pids="$pids $caller"
  until grep -q SubmitReceipts "$4"; do sleep 0.2; done
  sleep 2
  kill $caller; wait $caller
  kill $called; wait $called
  kill $recorder; wait $recorder || true
  pids=
}

converse XB XA 7591 answers.jsonl
converse XA XB 7592 requests.jsonl
for file in answers requests; do
  cp $file.jsonl "$here/"
done
wc "$here"/*.jsonl
