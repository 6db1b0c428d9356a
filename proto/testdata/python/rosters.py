"""Who is in: rosters and project chains (sections 6 and 7)."""

import re

from forms import Message, Refused, check_public_key, refuse_if, sha256
from words import is_member, signers, trust_domain

ADMISSION, ROOT_CHANGE, SUSPENSION, REINSTATEMENT, REMOVAL, DEPARTURE = range(1, 7)
CURRENT, RETIRED = 1, 2


class Roster:
    """A verified roster. members: what each entry says, with its root and standing."""

    def __init__(self, document, federation, held, now):
        refuse_if(document.text(1) != "roster", "type")
        body = document.message(2)
        self.federation, self.standing, self.changes = federation, {}, []
        self._genesis(body.message(1))
        for change in body.all_bytes(2):
            self._change(Message(change))
        self.members = {}
        for entry in body.all_bytes(3):
            self._entry(Message(entry))
        missing = [m for m, s in self.standing.items() if not s["left"] and m not in self.members]
        refuse_if(missing, "missing-entry")
        self._check_shared()
        self._assembly(document, body)
        if held:
            self._succeed(held)
        refuse_if(self.issued_at > (now + 300, 0), "ahead")
        refuse_if((now, 0) >= self.expires_at, "expired")

    def _genesis(self, document):
        refuse_if(document.text(1) != "roster-genesis", "type")
        refuse_if(sha256(document.bytes(2)) != self.federation, "federation")
        g = document.message(2)
        refuse_if(not 1 <= len(g.bytes(1)) <= 100, "name")
        g.time(5)
        names = []
        for founder in (Message(f) for f in g.all_bytes(2)):
            name, root = self._root(founder)
            refuse_if(names and name <= names[-1], "order")
            names.append(name)
            self.standing[name] = {"root": root, "founder": True, "suspended": False, "left": False}
        self.quorum, self.assemblers = g.uint(3), g.all_texts(4)
        refuse_if(not 1 <= self.quorum <= len(names) <= 64, "quorum")
        refuse_if(not 1 <= len(set(self.assemblers)) == len(self.assemblers) <= 16, "assembler")
        refuse_if(not all(map(is_member, self.assemblers)), "assembler")
        signed = signers(document, "roster-genesis", self._voting_keys, only_one=False)
        refuse_if(set(signed) != set(names), "signature")

    def _root(self, message):
        name, root = message.text(1), message.bytes(2)
        refuse_if(not is_member(name), "member-id")
        check_public_key(root)
        refuse_if(any(s["root"] == root for s in self.standing.values()), "shared-key")
        return name, root

    def _voting_keys(self, name):
        s = self.standing.get(name)
        return [s["root"]] if s and s["founder"] and not s["suspended"] and not s["left"] else []

    def _change(self, document):
        refuse_if(document.text(1) != "roster-change", "type")
        c = document.message(2)
        kind, name = c.uint(3), c.message(4).text(1)
        refuse_if(c.bytes(1) != self.federation, "federation")
        refuse_if(c.uint(2) != len(self.changes) + 1, "number")
        c.time(5)
        refuse_if(not is_member(name), "member-id")
        s = self.standing.get(name)
        is_in = s is not None and not s["left"]
        if kind == DEPARTURE:
            signers(document, "roster-change", lambda who: [s["root"]] if is_in and who == name else [])
        else:
            signed = signers(document, "roster-change", self._voting_keys, only_one=False)
            refuse_if(len(signed) < self.quorum, "signature")
        refuse_if(is_in == (kind == ADMISSION), "standing")
        if kind in (ADMISSION, ROOT_CHANGE):
            _, root = self._root(c.message(4))
            if kind == ADMISSION:
                self.standing[name] = s = {"founder": bool(s and s["founder"]), "suspended": False, "left": False}
            s["root"] = root
        else:
            refuse_if(c.message(4).bytes(2), "root-key")
            refuse_if(kind not in (SUSPENSION, REINSTATEMENT, REMOVAL, DEPARTURE), "kind")
            refuse_if(kind == SUSPENSION and s["suspended"] or kind == REINSTATEMENT and not s["suspended"], "standing")
            s["suspended"] = kind == SUSPENSION if kind in (SUSPENSION, REINSTATEMENT) else s["suspended"]
            s["left"] = kind in (REMOVAL, DEPARTURE)
        self.changes.append(sha256(document.bytes(2)))

    def _entry(self, document):
        refuse_if(document.text(1) != "roster-entry", "type")
        e = document.message(2)
        name = e.text(2)
        refuse_if(not is_member(name), "member-id")
        s = self.standing.get(name)
        refuse_if(s is None, "standing")
        signers(document, "roster-entry", lambda who: [s["root"]] if who == name else [])
        refuse_if(e.bytes(1) != self.federation, "federation")
        refuse_if(e.uint(5) == 0, "number")
        e.time(10)
        refuse_if(e.text(6) != trust_domain(name), "trust-domain")
        refuse_if(e.uint(4) == 0, "kind")
        refuse_if(len(e.bytes(3)) > 200, "name")
        addresses, certificates, keys = e.all_texts(8), e.all_bytes(7), [Message(k) for k in e.all_bytes(9)]
        refuse_if(len(addresses) > 16 or not all(map(is_address, addresses)), "address")
        refuse_if(not 1 <= len(certificates) <= 8, "authority")
        refuse_if(not 1 <= len(keys) <= 16, "no-current-key")
        authorities = [authority_key(c) for c in certificates]
        for key in keys:
            check_public_key(key.bytes(1))
            refuse_if(key.uint(2) == 0, "key-state")
        refuse_if(all(key.uint(2) != CURRENT for key in keys), "no-current-key")
        refuse_if(self.members and name <= max(self.members), "order")
        self.members[name] = {"number": e.uint(5), "hash": sha256(document.bytes(2)), "authorities": authorities,
                              "keys": [(key.bytes(1), key.uint(2)) for key in keys]}

    def _check_shared(self):
        used = [s["root"] for s in self.standing.values()]
        for m in self.members.values():
            used += [key for key, _ in m["keys"]] + list(set(m["authorities"]))
        refuse_if(len(set(used)) != len(used), "shared-key")

    def _assembly(self, document, body):
        self.assembler, self.number = body.text(5), body.uint(4)
        refuse_if(self.assembler not in self.assemblers or not self.is_active(self.assembler), "assembler")
        refuse_if(signers(document, "roster", self.current_keys) != [self.assembler], "assembler")
        refuse_if(self.number == 0, "number")
        self.issued_at, self.expires_at = body.time(6), body.time(7)
        refuse_if(self.issued_at >= self.expires_at, "dates")
        self.hash = sha256(document.bytes(2))

    def _succeed(self, held):
        refuse_if(self.number < held.number, "older")
        refuse_if(self.number - held.number > 1 << 20, "leap")
        refuse_if(self.number == held.number and self.hash != held.hash, "fork")
        refuse_if(len(self.changes) < len(held.changes), "older")
        refuse_if(self.changes[:len(held.changes)] != held.changes, "fork")
        for name, was in held.members.items():
            now = self.members.get(name, was)
            refuse_if(now["number"] < was["number"], "older")
            refuse_if(now["number"] == was["number"] and now["hash"] != was["hash"], "fork")

    def is_active(self, name):
        s = self.standing.get(name)
        return name in self.members and not s["suspended"] and not s["left"]

    def current_keys(self, name):
        return [key for key, state in self.members.get(name, {"keys": []})["keys"] if state == CURRENT]

    def verifying_keys(self, name):
        return [key for key, state in self.members.get(name, {"keys": []})["keys"] if state in (CURRENT, RETIRED)]


def is_address(text):
    found = re.fullmatch(r"(?:\[[^\[\]]+\]|[^:\[\]]+):([0-9]{1,5})", text)
    return found is not None and len(text.encode()) <= 261 and 1 <= int(found[1]) <= 65535


def der(b):
    """The elements of DER bytes, one level: tag, content, and the bytes of the whole element."""
    elements, at = [], 0
    while at < len(b):
        length, start = b[at + 1], at + 2
        if length >= 0x80:
            start += length & 0x7F
            length = int.from_bytes(b[at + 2:start], "big")
        elements.append((b[at], b[start:start + length], b[at:start + length]))
        at = start + length
    return elements


def authority_key(certificate):
    """The key of a certificate that may sign others: of RFC 5280 just what is needed for that."""
    try:
        fields = der(der(der(certificate)[0][1])[0][1])
        fields = fields[1:] if fields[0][0] == 0xA0 else fields  # without the version
        public = fields[5]
        extensions = {}
        for extension in der(der(next(f[1] for f in fields[6:] if f[0] == 0xA3))[0][1]):
            parts = der(extension[1])
            extensions[parts[0][1]] = parts[-1][1]
        constraints = der(der(extensions[bytes.fromhex("551d13")])[0][1])
        usage = der(extensions[bytes.fromhex("551d0f")])[0][1]
        is_authority = (0x01, b"\xff") in [c[:2] for c in constraints] and usage[1] & 0x04
        algorithm, bits = der(public[1])
        is_ed25519 = der(algorithm[1])[0][1] == bytes.fromhex("2b6570")
    except (IndexError, KeyError, StopIteration, ValueError):
        raise Refused("authority") from None
    refuse_if(not is_authority, "authority")
    return bits[1][1:] if is_ed25519 else public[2]


class Project:
    """A verified chain of project documents."""

    def __init__(self, documents, roster):
        refuse_if(not documents, "no-charter")
        self.roster, self.hashes, self.listed, self.ended = roster, [], set(), False
        for document in documents:
            self._append(document)

    def _append(self, document):
        refuse_if(document.text(1) != "project", "type")
        d = document.message(2)
        refuse_if(d.uint(2) != len(self.hashes) + 1, "number")
        d.time(4)
        refuse_if(d.bytes(3) != (self.hashes[-1] if self.hashes else b""), "previous")
        if not self.hashes:
            refuse_if(not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", d.text(1)), "project-id")
            refuse_if(not d.has(5), "no-charter")
            self.id = d.text(1)
            self._charter(d.message(5))
        refuse_if(d.text(1) != self.id, "project-id")
        refuse_if(signers(document, "project", self.roster.verifying_keys) != [self.lead], "signature")
        refuse_if(self.ended, "ended")
        self._apply(d)
        self.hashes.append(sha256(document.bytes(2)))

    def _charter(self, c):
        self.lead, participants = c.text(2), c.all_texts(7)
        refuse_if(not is_member(self.lead), "lead")
        refuse_if(not 1 <= len(c.bytes(1)) <= 200 or len(c.bytes(4)) > 1000, "name")
        refuse_if(c.uint(3) == 0, "purpose")
        self.starts_at, self.ends_at = c.time(8), c.time(9)
        refuse_if(self.starts_at >= self.ends_at, "dates")
        refuse_if(participants != sorted(set(participants)), "order")
        refuse_if(self.lead not in participants or len(participants) > 1024, "participant")
        refuse_if(not all(map(is_member, participants)), "member-id")
        refuse_if(any(p not in self.roster.standing for p in participants), "standing")
        self.listed = set(participants)

    def _apply(self, d):
        if d.has(5):
            refuse_if(self.hashes, "charter")
        elif d.has(6):
            name = d.message(6).text(1)
            refuse_if(not is_member(name), "member-id")
            refuse_if(name not in self.roster.standing, "standing")
            refuse_if(name in self.listed, "participant")
            self.listed.add(name)
        elif d.has(7):
            name = d.message(7).text(1)
            refuse_if(name == self.lead, "lead")
            refuse_if(name not in self.listed, "participant")
            self.listed.remove(name)
        else:
            refuse_if(not d.has(8), "content")
            refuse_if(len(d.message(8).bytes(1)) > 1000, "content")
            self.ended = True

    def extends(self, held):
        return self.hashes[:len(held.hashes)] == held.hashes

    def participants(self):
        return sorted(p for p in self.listed if self.roster.is_active(p))

    def is_open(self, now):
        return not self.ended and self.lead in self.participants() and self.starts_at <= (now, 0) < self.ends_at
