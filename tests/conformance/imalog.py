"""The kernel's measurement list in binary, read and written without our code (linux v6.6 security/integrity/ima/ima_fs.c)."""

import struct
from dataclasses import dataclass, replace

from tpmbytes import SIZES, digest


@dataclass
class Entry:
    pcr: int
    template_hash: bytes
    template: str
    data: bytes  # as in the list
    fields: list[bytes]

    @property
    def violation(self) -> bool:
        return not any(self.template_hash)

    @property
    def hashed(self) -> bytes:
        """What the kernel computes template hashes over: for `ima` the name is padded to 256 bytes."""
        if self.template != "ima":
            return self.data
        return self.fields[0] + self.fields[1].ljust(256, b"\0")

    @property
    def path(self) -> str:
        return self.fields[1].rstrip(b"\0").decode(errors="surrogateescape")

    @property
    def algorithm(self) -> str:
        return "sha1" if self.template == "ima" else self.fields[0].split(b":\0", 1)[0].split(b":")[-1].decode()

    @property
    def digest(self) -> bytes:
        return self.fields[0] if self.template == "ima" else self.fields[0].split(b"\0", 1)[1]

    def encode(self) -> bytes:
        name = self.template.encode()
        head = struct.pack("<I", self.pcr) + self.template_hash + struct.pack("<I", len(name)) + name
        if self.template == "ima":
            return head + self.data
        return head + struct.pack("<I", len(self.data)) + self.data

    def change(self, **changes) -> "Entry":
        return replace(self, **changes)

    def with_fields(self, fields: list[bytes], rehash: bool = True) -> "Entry":
        """The same entry with other content; with `rehash` the template hash is that of the content."""
        if self.template == "ima":
            data = fields[0] + struct.pack("<I", len(fields[1])) + fields[1]
        else:
            data = b"".join(struct.pack("<I", len(f)) + f for f in fields)
        new = replace(self, data=data, fields=fields)
        return replace(new, template_hash=digest("sha1", new.hashed)) if rehash else new

    def with_digest(self, value: bytes, rehash: bool = True) -> "Entry":
        prefix = b"" if self.template == "ima" else self.fields[0].split(b"\0", 1)[0] + b"\0"
        return self.with_fields([prefix + value, *self.fields[1:]], rehash)

    def with_path(self, path: bytes, rehash: bool = True) -> "Entry":
        end = b"" if self.template == "ima" else b"\0"
        return self.with_fields([self.fields[0], path + end, *self.fields[2:]], rehash)

    def as_violation(self) -> "Entry":
        return replace(self, template_hash=bytes(20))


def parse(data: bytes) -> list[Entry]:
    out, at = [], 0
    while at < len(data):
        pcr, template_hash, n = struct.unpack_from("<I20sI", data, at)
        at += 28
        template = data[at : at + n].decode()
        at += n
        if template == "ima":
            file_digest = data[at : at + 20]
            (n,) = struct.unpack_from("<I", data, at + 20)
            body = data[at : at + 24 + n]
            fields = [file_digest, body[24:]]
            at += 24 + n
        else:
            (n,) = struct.unpack_from("<I", data, at)
            body = data[at + 4 : at + 4 + n]
            at += 4 + n
            fields, p = [], 0
            while p < n:
                (m,) = struct.unpack_from("<I", body, p)
                fields.append(body[p + 4 : p + 4 + m])
                p += 4 + m
        out.append(Entry(pcr, template_hash, template, body, fields))
    assert at == len(data), "the list ends within an entry"
    return out


def encode(entries: list[Entry]) -> bytes:
    return b"".join(e.encode() for e in entries)


def extend(value: bytes, bank: str, e: Entry, padded: bool = False) -> bytes:
    if e.violation:
        step = b"\xff" * SIZES[bank]
    elif padded and bank != "sha1":
        step = digest("sha1", e.hashed).ljust(SIZES[bank], b"\0")
    else:
        step = digest(bank, e.hashed)
    return digest(bank, value, step)


def replay(entries: list[Entry], bank: str, padded: bool = False, pcr: int = 10) -> bytes:
    value = bytes(SIZES[bank])
    for e in entries:
        if e.pcr == pcr:
            value = extend(value, bank, e, padded)
    return value


def new_entry(template: str, path: bytes, value: bytes, algorithm: str = "sha256", last: list[bytes] | None = None) -> Entry:
    """An entry as the kernel would write it. `last`: fields after the name; those of ima-sig are one, empty."""
    if template == "ima":
        fields = [value[:20], path]
    elif template == "ima-ngv2":
        fields = [b"ima:" + algorithm.encode() + b":\0" + value, path + b"\0"]
    else:
        fields = [algorithm.encode() + b":\0" + value, path + b"\0"]
        if template in ("ima-sig", "ima-buf"):
            fields += last if last is not None else [b""]
    return Entry(10, b"\1" * 20, template, b"", []).with_fields(fields)


def ascii_line(e: Entry) -> str:
    """The kernel's text, for the templates that Keylime reads."""
    if e.template == "ima":
        return f"{e.pcr} {e.template_hash.hex()} ima {e.digest.hex()} {e.path}"
    line = f"{e.pcr} {e.template_hash.hex()} {e.template} {e.algorithm}:{e.digest.hex()} {e.path}"
    if e.template in ("ima-sig", "ima-buf"):
        line += " " + e.fields[2].hex()
    return line


def policy_of(entries: list[Entry], **changes) -> dict:
    """Keylime's runtime policy that allows what the list has, boot_aggregate excepted: the quote tells that."""
    digests: dict[str, list[str]] = {}
    buffers: dict[str, list[str]] = {}
    for e in entries:
        where = buffers if e.template == "ima-buf" else digests
        if e.path != "boot_aggregate" and not e.violation and e.digest.hex() not in where.setdefault(e.path, []):
            where[e.path].append(e.digest.hex())
    out = {
        "meta": {"version": 1, "generator": 3},
        "release": 0,
        "digests": digests,
        "excludes": [],
        "keyrings": dict(buffers),
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": None},
        "ima-buf": dict(buffers),
        "verification-keys": "",
    }
    return out | changes
