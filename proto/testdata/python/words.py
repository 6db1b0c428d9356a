"""Who speaks: member ids, identities, signed documents, digests, receipts and grants (sections 2, 5 and 11)."""

import re

from forms import Message, Refused, key_id, refuse_if, root_of, sha256, signature_counts

MEMBER = re.compile(r"[A-Z][A-Z0-9-]{0,31}\Z")
IDENTITY = re.compile(r"spiffe://([a-z][a-z0-9-]{0,31})\.entente/(node|system|officer|auditor|operator)(?:/([A-Za-z0-9._-]{1,64}))?\Z")


def is_member(name):
    return MEMBER.match(name) is not None


def trust_domain(member):
    return member.lower() + ".entente"


def parse_identity(text):
    found = IDENTITY.match(text)
    refuse_if(not found or (found[2] == "node") == bool(found[3]) or found[3] in (".", ".."), "identity")
    identity = {"member": found[1].upper(), "kind": found[2]}
    if found[3]:
        identity["name"] = found[3]
    return identity


def signers(document, type_, keys, only_one=True):
    """Verifies all signatures of a SignedDocument (a Message) and returns who signed. keys gives a member's keys that count."""
    refuse_if(document.text(1) != type_, "type")
    body, signatures = document.bytes(2), document.all_bytes(3)
    refuse_if(len(body) > 1_000_000, "body")
    refuse_if(len(signatures) > 64 or only_one and len(signatures) != 1, "signature")
    who = []
    for signature in (Message(s) for s in signatures):
        name = signature.text(1)
        refuse_if(not is_member(name) or name in who, "signature")
        message = b"entente/v1/" + type_.encode() + b"\x00" + body
        counts = [key for key in keys(name) if key_id(key) == signature.bytes(2)]
        refuse_if(not any(signature_counts(key, message, signature.bytes(3)) for key in counts), "signature")
        who.append(name)
    return who


def open_digest(document, owner, reader, keys):
    """Returns the signed hash and the time of signing."""
    [signer] = signers(document, "digest", keys)
    body = document.message(2)
    refuse_if(signer != owner or body.text(1) != owner or body.text(2) != reader, "other-members")
    refuse_if(len(body.bytes(3)) != 32, "element")
    return body.bytes(3), body.time(4)


def digest_of(heads):
    """heads: stream id, size and root of each."""
    return sha256(*(id_ + size.to_bytes(8, "big") + root for id_, size, root in sorted(heads)))


def open_receipt(document, owner, reader, stream, leaves, keys):
    [signer] = signers(document, "receipt", keys)
    body = document.message(2)
    refuse_if(signer != reader or body.text(1) != reader or body.text(2) != owner, "other-members")
    refuse_if(body.bytes(3) != stream, "other-stream")
    refuse_if(body.uint(4) > len(leaves), "size")
    refuse_if(body.bytes(5) != root_of(leaves[:body.uint(4)]), "root")
    erased = [Message(e) for e in body.all_bytes(6)]
    return {"size": body.uint(4), "erased": [{"stream": e.bytes(1).hex(), "sequence": e.uint(2)} for e in erased]}


def parse_grant(document, owner, stream):
    """The content of a grant; its signature is not looked at."""
    refuse_if(document.text(1) != "grant", "grant")
    body = document.message(2, "grant")
    refuse_if(body.text(1) != owner or body.bytes(2) != stream, "grant")
    refuse_if(not is_member(body.text(4)) or body.text(4) == owner or body.uint(3) == 0, "grant")
    try:
        body.time(5)
    except Refused:
        raise Refused("grant") from None
    return {"stream": stream.hex(), "number": body.uint(3), "reader": body.text(4)}


def open_grant(document, owner, stream, reader, keys):
    """A grant as it is shown to the reader that it names."""
    try:
        signers(document, "grant", lambda name: keys if name == owner else [])
    except Refused:
        raise Refused("grant") from None
    refuse_if(parse_grant(document, owner, stream)["reader"] != reader, "grant")
