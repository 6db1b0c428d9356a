"""Judges the test vectors of Entente with nothing but this folder and Python's standard library.

    python3 verify.py [FOLDER WITH VECTORS]

It is written from docs/protocol.md, beside the program that made the vectors, and prints one line a case. It exits with 1 where
it disagrees with a single verdict, reason or output.
"""

import json
import pathlib
import sys

from forms import Message, Refused, check_consistency, check_inclusion, check_public_key, key_id, leaf_hash, public_of_seed, refuse_if, root_of
from rosters import Project, Roster
from streams import KNOWN, Pull, check_commitment, has_payload, open_checkpoint, parse_header
from words import digest_of, open_digest, open_receipt, parse_identity, signers


def unhex(value):
    return [bytes.fromhex(v) for v in value] if isinstance(value, list) else bytes.fromhex(value)


def keys_of(listed):
    return lambda name: [unhex(k["key"]) for k in listed if k["member"] == name]


def keys(i):
    key = unhex(i["public_key"])
    check_public_key(key)
    refuse_if("seed" in i and public_of_seed(unhex(i["seed"])) != key, "seed")
    return {"key_id": key_id(key).hex()}


def identities(i):
    return parse_identity(i["spiffe_id"])


def documents(i):
    document = Message(unhex(i["document"]))
    [signer] = signers(document, i["type"], keys_of(i["keys"]))
    return {"signer": signer, "body": document.bytes(2).hex()}


def headers(i):
    h = parse_header(unhex(i["header"]))
    out = {"leaf": leaf_hash(unhex(i["header"])).hex(), "known": h["type"] in KNOWN, "has_payload": has_payload(h)}
    for name, value in h.items():
        value = value.hex() if isinstance(value, bytes) else value
        if value and value != "0" * len(str(value)):
            out[name] = value
    return out


def commitments(i):
    check_commitment(*(unhex(i[name]) for name in ("salt", "payload", "commitment")))


def trees(i):
    return {"root": root_of(unhex(i["leaves"])).hex()}


def proofs(i):
    size, root, proof = i["size"], unhex(i["root"]), unhex(i["proof"])
    if i["kind"] == "inclusion":
        return check_inclusion(i.get("index", 0), size, unhex(i["leaf"]), root, proof)
    return check_consistency(i.get("from", 0), size, unhex(i["from_root"]), root, proof)


def checkpoints(i):
    size, root, time = open_checkpoint(i["note"].encode(), i["owner"], unhex(i["stream"]), unhex(i["keys"]))
    return {"size": size, "root": root.hex(), "time": time}


def digests(i):
    signed, at = open_digest(Message(unhex(i["document"])), i["owner"], i["reader"], keys_of(i["keys"]))
    refuse_if(at > (i["now"] + 300, 0), "ahead")
    held = digest_of([(unhex(h["stream"]), h["size"], unhex(h["root"])) for h in i["heads"]])
    return {"digest": held.hex(), "agrees": held == signed, "signed_at": at[0]}


def receipts(i):
    return open_receipt(Message(unhex(i["document"])), i["owner"], i["from"], unhex(i["stream"]), unhex(i["leaves"]), keys_of(i["keys"]))


def pulls(i):
    pull = Pull(i["owner"], i["reader"], unhex(i["keys"]))
    for message in unhex(i["messages"]):
        pull.take(Message(message))
    return pull.outcome()


def rosters(i):
    federation, now = unhex(i["federation"]), i["now"]
    held = Roster(Message(unhex(i["held"])), federation, None, now) if i["held"] else None
    r = Roster(Message(unhex(i["roster"])), federation, held, now)
    members = [{"member": name, "active": r.is_active(name), "current_keys": [k.hex() for k in r.current_keys(name)],
                "verifying_keys": [k.hex() for k in r.verifying_keys(name)]} for name in sorted(r.members)]
    return {"number": r.number, "assembler": r.assembler, "members": members}


def projects(i):
    roster = Roster(Message(unhex(i["roster"])), unhex(i["federation"]), None, i["now"])
    chain = lambda name: Project([Message(d) for d in unhex(i[name])], roster)
    p = chain("documents")
    refuse_if(i["held"] and not p.extends(chain("held")), "not-extended")
    return {"project": p.id, "lead": p.lead, "number": len(p.hashes), "head": p.hashes[-1].hex(),
            "participants": p.participants(), "open": p.is_open(i["now"])}


JUDGES = {"keys": keys, "identities": identities, "documents": documents, "headers": headers, "commitments": commitments,
          "trees": trees, "proofs": proofs, "checkpoints": checkpoints, "digests": digests, "receipts": receipts, "pulls": pulls,
          "grants": pulls, "rosters": rosters, "projects": projects}


def judge(topic, given):
    """Verdict, reason and output, as they stand in a file."""
    try:
        return "accept", "", JUDGES[topic](given)
    except Refused as refusal:
        return "refuse", str(refusal), None


def main(folder):
    total = wrong = 0
    files = sorted(folder.glob("*.json"))
    missing = set(JUDGES) - {file.stem for file in files}
    for file in files:
        vectors = json.loads(file.read_text())
        for case in vectors["cases"]:
            expected = case["verdict"], case.get("reason", ""), case.get("output")
            got = judge(vectors["topic"], vectors.get("shared", {}) | case["input"])
            total, wrong = total + 1, wrong + (got != expected)
            print("ok  " if got == expected else "WRONG", vectors["topic"] + ":", case["name"], "-", *got[:2])
            if got != expected:
                print("    expected", expected, "\n    got     ", got)
    for topic in sorted(missing):
        print("WRONG there are no vectors for", topic)
    print(f"{total} cases, {wrong} disagreements, {len(missing)} files missing")
    return 1 if wrong or missing or not total else 0


if __name__ == "__main__":
    default = pathlib.Path(__file__).resolve().parent.parent / "vectors"
    sys.exit(main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default))
