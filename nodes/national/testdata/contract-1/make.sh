#!/bin/sh
# Makes federation.tar.gz with a program of contract 1: make.sh PROGRAM FOLDER. FOLDER must not be there yet; the archive is
# written beside this script. README.md says what it is for. Two nodes run for some seconds, on ports 7591 and 7592.
set -eu
program=$1
case $program in /*) ;; *) program=$PWD/$program ;; esac
here=$(cd "$(dirname "$0")" && pwd)
mkdir "$2"
cd "$2"
entente() { "$program" "$@"; }
century=876000h

for m in XA XB; do
  entente pki root --out $m/offline
  entente pki authority --member $m --out $m/authority --valid $century
  entente pki signing-key --out $m
  for who in node system/intake officer/vera operator/ops; do
    entente pki issue --authority $m/authority --identity $who --out $m --valid 800000h
  done
done
entente roster genesis --name "Two of the first contract" --founder XA=XA/offline/root.pub --founder XB=XB/offline/root.pub \
  --assembler XA --out genesis.pb
port=7591
for m in XA XB; do
  entente roster sign genesis.pb --member $m --root $m/offline/root.key
done
for m in XA XB; do
  entente roster entry --genesis genesis.pb --member $m --name "Country $m" --kind national --address 127.0.0.1:$port \
    --authority $m/authority/authority.pem --signing-key $m/signing-key.pub --root $m/offline/root.key --out $m-entry.pb
  port=$((port + 1))
done
entente roster assemble --genesis genesis.pb --entry XA-entry.pb --entry XB-entry.pb --assembler XA \
  --signing-key XA/signing-key.key --valid $century --out roster.pb
rm XA-entry.pb XB-entry.pb
entente project open --id harbour-light --name "Harbour light" --lead XA --participant XB --purpose criminal-investigation \
  --until 2099-01-01 --signing-key XA/signing-key.key --roster roster.pb --genesis genesis.pb --out XA/projects/harbour-light.pb

port=7591
for m in XA XB; do
  cat > $m/node.yaml <<END
member: $m
listen: 127.0.0.1:$port
genesis: ../genesis.pb
roster: ../roster.pb
projects: projects
signing_key: signing-key.key
systems:
  - {name: intake, authority: Police of $m, projects: ["*"]}
officers:
  - {name: vera, purposes: [criminal-investigation], projects: ["*"]}
END
  for who in system-intake officer-vera operator-ops; do
    cat > $m/$who.yaml <<END
address: 127.0.0.1:$port
member: $m
certificate: $who.pem
key: $who.key
authorities: authority/authority.pem
purpose: criminal-investigation
case: C-1
END
  done
  entente node init --config $m/node.yaml
  port=$((port + 1))
done

record() {
  cat <<END
{"envelope":{"provider_reference":"$1","version":"1","recorded_at":"2026-02-21T00:00:00Z","retain_until":"2099-02-21T00:00:00Z","purpose":"PURPOSE_CRIMINAL_INVESTIGATION","assertion":"ASSERTION_KIND_FACT","evaluation":{"scheme":"EVALUATION_SCHEME_4X4","source_code":"B","information_code":"3"},"handling":{"codes":["HANDLING_CODE_H1"]},"classification":{"level":"CLASSIFICATION_LEVEL_RESTRICTED"}},"body":{"person":{"names":[{"type":"NAME_TYPE_PRIMARY","family":"$2","given":"$3"}],"status":"PERSON_STATUS_SUSPECT","suspicion_basis":"file 7"}}}
END
}
{ record R-1 Okon Ada; record R-2 Okon Bela; record R-3 Marsh Cleo; } > XA/records.jsonl
record S-1 Marsh Dov > XB/records.jsonl

serving() { until entente health --config $1/operator-ops.yaml > /dev/null 2>&1; do sleep 0.2; done; }
"$program" node run --config XA/node.yaml 2> XA.log & xa=$!
"$program" node run --config XB/node.yaml 2> XB.log & xb=$!
trap 'kill $xa $xb 2> /dev/null || true' EXIT
serving XA; serving XB
entente push XA/records.jsonl --config XA/system-intake.yaml
entente release R-1 --to XB --config XA/system-intake.yaml
entente release R-2 --to project:harbour-light --config XA/system-intake.yaml
entente release R-3 --to all-future --config XA/system-intake.yaml
entente push XB/records.jsonl --config XB/system-intake.yaml
entente release S-1 --to XA --config XB/system-intake.yaml
until [ "$(entente get R-2 --config XA/system-intake.yaml | grep -c "^XB .* delivered")" = 1 ]; do sleep 0.5; done
entente withdraw R-3 --reason released-in-error --config XA/system-intake.yaml
# all is settled when each reader has signed for all of each stream
settled() { ! entente status --config $1/operator-ops.yaml | awk '/ of / && $3 != $5 {found = 1} END {exit !found}'; }
until settled XA && settled XB; do sleep 0.5; done
entente follow --until-current --config XB/officer-vera.yaml > XB/followed.txt
entente follow --until-current --config XA/officer-vera.yaml > XA/followed.txt
entente status --config XA/operator-ops.yaml; entente get R-3 --config XA/system-intake.yaml
kill $xa; wait $xa
kill $xb; wait $xb
trap - EXIT
cat XA.log XB.log
for m in XA XB; do
  entente verify --config $m/node.yaml
done
rm XA.log XB.log XA/followed.txt XB/followed.txt
tar --sort=name --owner=0 --group=0 --numeric-owner --format=ustar -cf - genesis.pb roster.pb XA XB | gzip -9 -n > "$here/federation.tar.gz"
