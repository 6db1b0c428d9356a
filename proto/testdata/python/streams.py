"""Streams: headers, checkpoints and the verification of a pull (sections 8, 10 and 12)."""

import base64
import binascii
import re

from forms import Message, Refused, check_consistency, check_inclusion, leaf_hash, refuse_if, root_of, sha256, signature_counts
from words import digest_of, is_member, open_digest, open_grant, parse_grant, trust_domain

OPENING, RELEASE, WITHDRAWAL, CLOSING, GRANT = 1, 2, 3, 4, 5
KNOWN = (OPENING, RELEASE, WITHDRAWAL, CLOSING, GRANT)
ZERO = bytes(32)


def parse_header(b):
    refuse_if(len(b) != 67, "length")
    refuse_if(b[0] != 1, "format")
    refuse_if(b[1] == 0, "type")
    h = {"type": b[1], "sequence": int.from_bytes(b[2:10], "big"), "target": b[10:26],
         "target_sequence": int.from_bytes(b[26:34], "big"), "reason": b[34], "commitment": b[35:]}
    refuse_if(h["sequence"] == 0, "sequence")
    if h["type"] == WITHDRAWAL:
        refuse_if(h["target"] == bytes(16) or h["target_sequence"] < 2, "target")
        refuse_if(h["reason"] == 0, "reason")
        refuse_if(h["commitment"] != ZERO, "commitment")
    elif h["type"] in KNOWN:
        refuse_if(any(b[10:35]), "target")
        refuse_if((h["type"] != CLOSING) != (h["commitment"] != ZERO), "commitment")
    return h


def has_payload(header):
    return header["commitment"] != ZERO


def check_commitment(salt, payload, commitment):
    refuse_if(len(salt) != 32 or len(payload) > 400_000, "payload")
    refuse_if(sha256(salt, payload) != commitment, "commitment")


def open_checkpoint(note, owner, stream, keys):
    """Returns size, root and time. The form is exact: what would not be written again byte for byte is refused."""
    refuse_if(len(note) > 1024, "form")
    try:
        text, _, last = note.decode().rpartition("\n\n")
        found = re.fullmatch(r"— (\S+) (\S+)\n", last)
        refuse_if(not found or re.search(r"[\x00-\x09\x0b-\x1f]", text), "form")
        signature = base64.b64decode(found[2], validate=True)
    except (UnicodeDecodeError, binascii.Error):
        raise Refused("form") from None
    refuse_if(base64.b64encode(signature).decode() != found[2] or len(signature) < 5, "form")
    text, name = text + "\n", found[1]
    of_hash = [key for key in keys if sha256(name.encode(), b"\n\x01", key)[:4] == signature[:4]]
    refuse_if(name != trust_domain(owner) or not of_hash, "key")
    refuse_if(not any(signature_counts(key, text.encode(), signature[4:]) for key in of_hash), "signature")
    lines = text.split("\n")
    refuse_if(len(lines) > 3 and lines[0] != trust_domain(owner) + "/stream/" + stream.hex(), "origin")
    number = r"(0|[1-9][0-9]{0,18})"
    found = re.fullmatch(r"[^\n]+\n" + number + r"\n([A-Za-z0-9+/=]+)\ntime " + number + r"\n", text)
    refuse_if(not found, "form")
    size, time = int(found[1]), int(found[3])
    try:
        root = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        raise Refused("form") from None
    refuse_if(base64.b64encode(root).decode() != found[2] or len(root) != 32, "form")
    refuse_if(size > 1 << 62 or time >= 1 << 63 or size == 0 and root != sha256(), "form")
    return size, root, time


class Stream:
    """What a reader knows of one stream, and the judgement of what comes next. After a refusal nothing has changed."""

    def __init__(self, owner, id_, reader):
        self.owner, self.id, self.reader = owner, id_, reader
        self.leaves, self.closed, self.granted = [], False, False
        self.newest = None  # size, root, time of the newest checkpoint that was accepted
        self.ahead = None  # the oldest accepted one that the entries have not reached

    def checkpoint(self, update, keys):
        try:
            head = size, root, _ = open_checkpoint(update.bytes(2), self.owner, self.id, keys)
        except Refused:
            raise Refused("checkpoint") from None
        held, held_root = len(self.leaves), root_of(self.leaves)
        known = [(h[0], h[1]) for h in (self.newest, self.ahead) if h] + [(held, held_root)]
        refuse_if(any(size == s and root != r for s, r in known), "fork")
        refuse_if(size < held or self.newest and size < self.newest[0], "older")
        check_consistency(held, size, held_root, root, update.all_bytes(3))
        if self.newest and size == self.newest[0] and head[2] <= self.newest[2]:
            return  # the same again
        self.newest = head
        if self.ahead is None and size > held:
            self.ahead = head

    def check_target(self, h):
        refuse_if(h["sequence"] == 1, "opening")
        refuse_if(h["target"] == self.id and h["target_sequence"] >= h["sequence"], "withdrawal")

    def withdrawals(self, batch):
        refuse_if(self.newest is None, "no-checkpoint")
        found = []
        for proven in (Message(w) for w in batch.all_bytes(2)):
            header = proven.bytes(1)
            h = self.header(header)
            refuse_if(h["type"] != WITHDRAWAL, "withdrawal")
            self.check_target(h)
            refuse_if(h["sequence"] > self.newest[0], "beyond-checkpoint")
            check_inclusion(h["sequence"] - 1, self.newest[0], leaf_hash(header), self.newest[1], proven.all_bytes(2))
            found.append(h)
        return found

    def header(self, b):
        try:
            return parse_header(b)
        except Refused:
            raise Refused("header") from None

    def entries(self, batch, covered):
        """Returns header and content of each entry. covered says whether a known withdrawal takes an entry back."""
        entries = [Message(e) for e in batch.all_bytes(2)]
        refuse_if(self.newest is None, "no-checkpoint")
        refuse_if(not entries, "empty-batch")
        refuse_if(len(self.leaves) + len(entries) > self.newest[0], "beyond-checkpoint")
        leaves, closed, found = list(self.leaves), self.closed, []
        for entry in entries:
            h = self.header(entry.bytes(1))
            refuse_if(h["sequence"] != len(leaves) + 1, "sequence")
            refuse_if((h["type"] == OPENING) != (h["sequence"] == 1), "opening")
            if h["type"] == WITHDRAWAL:
                self.check_target(h)
            else:
                refuse_if(closed, "closed")
            found.append((h, self.content(h, entry.bytes(2), entry.bytes(3), covered)))
            leaves.append(leaf_hash(entry.bytes(1)))
            closed = closed or h["type"] == CLOSING
        check_consistency(len(leaves), self.newest[0], root_of(leaves), self.newest[1], batch.all_bytes(3))
        ahead = self.ahead
        if ahead and len(leaves) >= ahead[0]:
            refuse_if(root_of(leaves[:ahead[0]]) != ahead[1], "fork")
            ahead = self.newest if self.newest[0] > len(leaves) else None
        self.leaves, self.closed, self.ahead = leaves, closed, ahead
        return found

    def content(self, h, salt, payload, covered):
        """What stands in the payload: a release's record, a grant, and whether all of it is understood."""
        if not has_payload(h):
            refuse_if(salt or payload, "payload")
            return {"understood": h["type"] in KNOWN}
        if not salt and not payload:
            refuse_if(h["sequence"] == 1 or not covered(self.id, h["sequence"]), "payload-missing")
            return {"understood": h["type"] in KNOWN}
        check_commitment(salt, payload, h["commitment"])
        if h["type"] == OPENING:
            return {"understood": self.opening(Message(payload, "opening"))}
        if h["type"] == RELEASE:
            return release(Message(payload, "payload"))
        if h["type"] == GRANT:
            p = Message(payload, "grant")
            refuse_if(len(p.all_bytes(4)) != 1 or p.has(1) or p.has(2) or p.has(3), "grant")
            return {"grant": parse_grant(p.message(4), self.owner, self.id), "understood": set(p.fields) == {4}}
        return {"understood": False}

    def opening(self, payload):
        refuse_if(len(payload.all_bytes(1)) != 1 or payload.has(2) or payload.has(3) or payload.has(4), "opening")
        o = payload.message(1)
        readers, kind = o.all_texts(5), o.uint(3)
        refuse_if(o.bytes(1) != self.id or o.text(2) != self.owner, "opening")
        refuse_if(readers != sorted(set(readers)) or self.owner in readers or not all(map(is_member, readers)), "opening")
        refuse_if(self.reader not in readers and self.reader != self.owner and not self.granted, "opening")
        refuse_if(kind == 0 or kind in (1, 2) and o.text(4) or kind == 3 and not o.text(4) or kind == 4 and len(readers) != 1, "opening")
        bound = o.message(6)
        positive = not bound.uint(1) >> 63 and not bound.uint(2) >> 63 and bound.uint(1) + bound.uint(2) > 0
        refuse_if(o.has(6) and not positive, "opening")
        o.time(7, needed=False)
        predecessor = o.bytes(8)
        refuse_if(predecessor and (len(predecessor) != 16 or predecessor in (self.id, bytes(16))), "opening")
        return kind <= 4 and set(payload.fields) == {1} and set(o.fields) <= set(range(1, 9))


def release(payload):
    for number, values in payload.fields.items():
        refuse_if(number <= 4 and any(kind != 2 for kind, _ in values) or number in (1, 4), "payload")
    understood, records = max(payload.fields, default=0) <= 4, payload.all_bytes(2)
    refuse_if(len(records) > 1 or b"" in records or not records and understood, "payload")
    refuse_if(not all(map(is_member, payload.all_texts(3))), "payload")
    return {"record": records[0] if records else None, "understood": understood}


class Pull:
    """A reader that holds nothing and takes the messages of one pull."""

    def __init__(self, owner, reader, keys):
        self.owner, self.reader, self.keys = owner, reader, keys
        self.streams, self.withdrawn, self.found, self.signed = {}, {}, [], None

    def stream(self, message):
        id_ = message.bytes(1)
        return self.streams.setdefault(id_, Stream(self.owner, id_, self.reader))

    def take(self, response):
        """Field numbers are those of PullResponse."""
        if response.has(1):
            keys = lambda name: self.keys if name == self.owner else []
            self.signed, _ = open_digest(response.message(1), self.owner, self.reader, keys)
        if response.has(7):
            for document in response.message(7).all_bytes(2):
                s = self.stream(response.message(7))
                open_grant(Message(document), self.owner, s.id, self.reader, self.keys)
                s.granted = True
        if response.has(3):
            self.stream(response.message(3)).checkpoint(response.message(3), self.keys)
        if response.has(4):
            for h in self.stream(response.message(4)).withdrawals(response.message(4)):
                self.withdraw(h)
        if response.has(5):
            s = self.stream(response.message(5))
            for h, content in s.entries(response.message(5), lambda *at: at in self.withdrawn):
                self.found.append((s.id, h["sequence"], content))
                if h["type"] == WITHDRAWAL:
                    self.withdraw(h)
            refuse_if(any(target not in self.streams for target, _ in self.withdrawn), "foreign")

    def withdraw(self, h):
        self.withdrawn.setdefault((h["target"], h["target_sequence"]), h["reason"])

    def outcome(self):
        heads = [(id_, len(s.leaves), root_of(s.leaves)) for id_, s in sorted(self.streams.items())]
        at = lambda id_, sequence: {"stream": id_.hex(), "sequence": sequence}
        out = {
            "streams": [{"stream": i.hex(), "size": n, "root": r.hex(), "closed": self.streams[i].closed} for i, n, r in heads],
            "releases": [at(i, n) | {"record": c["record"].hex()} for i, n, c in self.found if c.get("record") and (i, n) not in self.withdrawn],
            "withdrawn": [at(i, n) | {"reason": reason} for (i, n), reason in sorted(self.withdrawn.items())],
            "digest_agrees": digest_of(heads) == self.signed,
        }
        grants = [c["grant"] for _, _, c in self.found if "grant" in c]
        unknown = [at(i, n) for i, n, c in self.found if not c["understood"]]
        return out | ({"grants": grants} if grants else {}) | ({"not_understood": unknown} if unknown else {})
