"""The plain forms: Ed25519 (RFC 8032), protobuf on the wire, SHA-256 trees (RFC 6962). Section numbers are of docs/protocol.md."""

import functools
import hashlib


class Refused(Exception):
    """A verdict: the input is refused, for a reason in one word."""


def refuse_if(condition, reason):
    if condition:
        raise Refused(reason)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- Ed25519 -----------------------------------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)  # points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z


def add(a, b):
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    u, v = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def sum_of_products(pairs):
    """The sum of number times point, all numbers bit by bit at once."""
    total = NEUTRAL
    for bit in reversed(range(max(number.bit_length() for number, _ in pairs))):
        total = add(total, total)
        for number, point in pairs:
            if number >> bit & 1:
                total = add(total, point)
    return total


def encode_point(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode_point(b):
    """The point of 32 bytes, or None."""
    number = int.from_bytes(b, "little")
    sign, y = number >> 255, (number & (1 << 255) - 1) % P
    u, v = y * y - 1, D * y * y + 1
    x = u * v**3 * pow(u * v**7 % P, (P - 5) // 8, P) % P
    if (v * x * x - u) % P != 0:
        x = x * ROOT_OF_MINUS_ONE % P
    if (v * x * x - u) % P != 0 or (x == 0 and sign == 1):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


@functools.lru_cache(maxsize=None)
def signature_counts(public, message, signature):
    """RFC 8032, section 5.1.7: 8-fold is not multiplied away, and the second half must be reduced."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, s = decode_point(public), int.from_bytes(signature[32:], "little")
    if a is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    minus_a = (P - a[0], a[1], a[2], P - a[3])
    return encode_point(sum_of_products([(s, BASE), (k, minus_a)])) == signature[:32]


def public_of_seed(seed):
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    number = number & ~7 & (1 << 254) - 1 | 1 << 254
    return encode_point(sum_of_products([(number, BASE)]))


def small_order_points():
    """Section 1: the y of the points of order 1, 2, 4 and 8, also those that are not reduced."""
    eights = ["26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
              "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"]
    return [y.to_bytes(32, "little") for y in (0, 1, P - 1, P, P + 1)] + [bytes.fromhex(y) for y in eights]


def check_public_key(key):
    refuse_if(len(key) != 32, "key-length")
    refuse_if(key[:31] + bytes([key[31] & 0x7F]) in small_order_points(), "small-order")


def key_id(key):
    return sha256(key)[:8]


# --- protobuf ----------------------------------------------------------------------------------------------------------

class Message:
    """An encoded message taken apart: its fields by number, nothing else understood."""

    def __init__(self, b, reason="body"):
        self.fields, self.reason, at = {}, reason, 0
        while at < len(b):
            tag, at = self._varint(b, at)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = self._varint(b, at)
            elif kind in (1, 5):
                value, at = self._bytes(b, at, 8 if kind == 1 else 4)
            else:
                refuse_if(kind != 2, reason)
                length, at = self._varint(b, at)
                value, at = self._bytes(b, at, length)
            refuse_if(number == 0, reason)
            self.fields.setdefault(number, []).append((kind, value))

    def _varint(self, b, at):
        value = 0
        for shift in range(0, 70, 7):
            refuse_if(at >= len(b), self.reason)
            value |= (b[at] & 0x7F) << shift
            at += 1
            if b[at - 1] < 0x80:
                return value & (1 << 64) - 1, at
        raise Refused(self.reason)

    def _bytes(self, b, at, length):
        refuse_if(at + length > len(b), self.reason)
        return b[at:at + length], at + length

    def _last(self, number, kind, default):
        values = [v for k, v in self.fields.get(number, []) if k == kind]
        return values[-1] if values else default

    def has(self, number):
        return number in self.fields

    def uint(self, number):
        return self._last(number, 0, 0)

    def bytes(self, number):
        return self._last(number, 2, b"")

    def text(self, number):
        return self._text(self.bytes(number))

    def _text(self, b):
        try:
            return b.decode()
        except UnicodeDecodeError:
            raise Refused(self.reason) from None

    def message(self, number, reason=None):
        return Message(self.bytes(number), reason or self.reason)

    def all_bytes(self, number):
        return [v for k, v in self.fields.get(number, []) if k == 2]

    def all_texts(self, number):
        return [self._text(v) for v in self.all_bytes(number)]

    def time(self, number, needed=True):
        """A Timestamp as seconds and nanoseconds; None where it may be missing and is."""
        refuse_if(needed and not self.has(number), "time")
        if not self.has(number):
            return None
        t = self.message(number)
        seconds, nanos = t.uint(1) - (t.uint(1) >> 63 << 64), t.uint(2)
        refuse_if(not -62135596800 <= seconds <= 253402300799 or nanos > 999999999, "time")
        return seconds, nanos


# --- trees (section 9) -------------------------------------------------------------------------------------------------

def leaf_hash(header):
    return sha256(b"\x00", header)


def node_hash(left, right):
    return sha256(b"\x01", left, right)


def root_of(leaves):
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_of(leaves[:half]), root_of(leaves[half:]))


def check_elements(proof):
    refuse_if(any(len(element) != 32 for element in proof), "element")


def check_inclusion(index, size, leaf, root, proof):
    check_elements(proof)
    refuse_if(index >= size, "inclusion")
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        refuse_if(sn == 0, "inclusion")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    refuse_if(sn != 0 or r != root, "inclusion")


def check_consistency(old, new, old_root, new_root, proof):
    check_elements(proof)
    refuse_if(old > new or old == 0 and old_root != sha256(), "consistency")
    if old in (0, new):
        refuse_if(proof or old == new and old_root != new_root, "consistency")
        return
    if old & (old - 1) == 0:
        proof = [old_root] + proof
    refuse_if(not proof, "consistency")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        refuse_if(sn == 0, "consistency")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    refuse_if(sn != 0 or fr != old_root or sr != new_root, "consistency")
