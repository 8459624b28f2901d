"""Reads schemas/*.avsc into a small typed model and refuses whatever the generator cannot bound.

Every string, bytes and array needs a cap, every number a range, every record a size; there are no recursive types,
no zero-size items and no maps. What passes here can be decoded in bounded memory and time.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

NAMESPACE = "avow"
FRAME_LEN = 10
DEPTH_MAX = 8  # AVOW_WIRE_DEPTH_MAX in wire_rt.h
RANGES = {
    # range: (Avro type, C type, largest value)
    "u16": ("int", "uint16_t", 0xFFFF),
    "u31": ("int", "int32_t", 0x7FFFFFFF),
    "u32": ("long", "uint32_t", 0xFFFFFFFF),
    "u63": ("long", "uint64_t", 0x7FFFFFFFFFFFFFFF),
}
ATTRIBUTES = {"avow.max", "avow.max_items", "avow.range", "avow.union"}
C_KEYWORDS = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float",
    "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof",
    "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "bool", "true", "false",
}


class SchemaError(Exception):
    """A schema that cannot be turned into a bounded codec; the message names the place."""


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def varint_len(value):
    """Bytes of a non-negative Avro int or long."""
    zigzag, n = value << 1, 1
    while zigzag >= 0x80:
        zigzag >>= 7
        n += 1
    return n


@dataclass(frozen=True)
class Int:
    range: str

    @property
    def c(self):
        return RANGES[self.range][1]

    def sizes(self):
        return 1, varint_len(RANGES[self.range][2])


@dataclass(frozen=True)
class Bool:
    def sizes(self):
        return 1, 1


@dataclass(frozen=True)
class Text:
    """string or bytes"""

    kind: str
    max: int

    def sizes(self):
        return 1, varint_len(self.max) + self.max


@dataclass(frozen=True)
class Fixed:
    name: str
    size: int

    def sizes(self):
        return self.size, self.size


@dataclass(frozen=True)
class Enum:
    name: str
    doc: str
    symbols: tuple

    @property
    def c(self):
        return "avow_" + snake(self.name)

    @property
    def prefix(self):
        return "AVOW_" + snake(self.name).upper()

    def sizes(self):
        return 1, varint_len(len(self.symbols) - 1)


@dataclass(frozen=True)
class Array:
    items: object
    max_items: int

    def sizes(self):
        return 1, varint_len(self.max_items) + self.max_items * self.items.sizes()[1] + 1


@dataclass(frozen=True)
class Optional:
    item: object

    def sizes(self):
        return 1, 1 + self.item.sizes()[1]


@dataclass(frozen=True)
class Union:
    """Union of records, named by avow.union"""

    name: str
    branches: tuple

    @property
    def c(self):
        return "avow_" + snake(self.name)

    @property
    def prefix(self):
        return "AVOW_" + snake(self.name).upper()

    def sizes(self):
        each = [b.sizes() for b in self.branches]
        return 1 + min(e[0] for e in each), varint_len(len(each) - 1) + max(e[1] for e in each)


@dataclass(frozen=True)
class Field:
    name: str
    doc: str
    type: object


@dataclass(frozen=True)
class Record:
    name: str
    doc: str
    fields: tuple

    @property
    def short(self):
        return snake(self.name)

    @property
    def c(self):
        return "avow_" + self.short

    def sizes(self):
        each = [f.type.sizes() for f in self.fields]
        return sum(e[0] for e in each), sum(e[1] for e in each)


NAMED = (Fixed, Enum, Record)


@dataclass
class Schema:
    file: str
    text: str
    record: Record
    max_value: int
    fingerprint: int
    own: list = field(default_factory=list)  # enums, records and unions that only this schema uses, in order


class Parser:
    """One schema's names; each named type is defined once and used by name afterwards."""

    def __init__(self, file):
        self.file = file
        self.names = {}

    def fail(self, where, why):
        raise SchemaError(f"schemas/{self.file}.avsc: {where}: {why}")

    def named(self, where, make):
        if make.name in self.names:
            self.fail(where, f"{make.name} is defined twice")
        self.names[make.name] = make
        return make

    def type(self, raw, attrs, where):
        """`attrs` are those of the field around; the ones that are used are removed from it."""
        if isinstance(raw, list):
            return self.union(raw, attrs, where)
        if isinstance(raw, dict):
            return self.complex(raw, attrs, where)
        if raw in ("string", "bytes"):
            return Text(raw, self.cap(attrs, "avow.max", where))
        if raw in ("int", "long"):
            return self.integer(raw, attrs, where)
        if raw == "boolean":
            return Bool()
        if raw in self.names:
            return self.names[raw]
        return self.fail(where, f"type {raw!r} is unknown or not supported")

    def cap(self, attrs, name, where):
        cap = attrs.pop(name, None)
        if not isinstance(cap, int) or isinstance(cap, bool) or cap < 1:
            self.fail(where, f"{name} is missing or not positive")
        return cap

    def integer(self, raw, attrs, where):
        kind = attrs.pop("avow.range", None)
        if kind not in RANGES:
            self.fail(where, "avow.range is missing or unknown")
        if RANGES[kind][0] != raw:
            self.fail(where, f"range {kind} needs type {RANGES[kind][0]}")
        return Int(kind)

    def union(self, raw, attrs, where):
        if len(raw) == 2 and raw[0] == "null":
            item = self.type(raw[1], attrs, where)
            if isinstance(item, (Array, Optional, Union)):
                self.fail(where, "an optional may hold neither an array nor a union")
            return Optional(item)
        name = attrs.pop("avow.union", None)
        branches = tuple(self.type(b, {}, where) for b in raw)
        if not name or not all(isinstance(b, Record) for b in branches):
            self.fail(where, "a union is [null, T], or of records and named by avow.union")
        return Union(name, branches)

    def complex(self, raw, attrs, where):
        kind = raw["type"]
        known = {"type", "name", "namespace", "doc", "fields", "symbols", "size", "items", "avow.max_value"}
        if set(raw) - known:
            self.fail(where, f"unknown attributes {sorted(set(raw) - known)}")
        if kind == "array":
            cap = self.cap(attrs, "avow.max_items", where)
            items = self.type(raw["items"], attrs, where + "[]")
            if isinstance(items, (Array, Optional, Union, Fixed)) or items.sizes()[0] < 1:
                self.fail(where, "items of this type are not supported")
            return Array(items, cap)
        if kind == "fixed":
            if raw["size"] < 1:
                self.fail(where, "a fixed needs a size")
            return self.named(where, Fixed(raw["name"], raw["size"]))
        if kind == "enum":
            if not all(re.fullmatch("[a-z][a-z0-9_]*", s) for s in raw["symbols"]):
                self.fail(where, "symbols are lower case")
            return self.named(where, Enum(raw["name"], raw.get("doc", ""), tuple(raw["symbols"])))
        if kind == "record":
            return self.record(raw, where)
        return self.fail(where, f"type {kind!r} is not supported")

    def record(self, raw, where):
        fields = []
        for f in raw["fields"]:
            place = f"{where}.{f['name']}"
            if not re.fullmatch("[a-z][a-z0-9_]*", f["name"]) or f["name"] in C_KEYWORDS:
                self.fail(place, "not a field name")
            attrs = {k: v for k, v in f.items() if k not in ("name", "type", "doc", "default")}
            made = self.type(f["type"], attrs, place)
            if attrs:
                self.fail(place, f"attributes {sorted(attrs)} do not belong here")
            if isinstance(made, Optional) != ("default" in f) or f.get("default") is not None:
                self.fail(place, "exactly the optional fields have a default, and it is null")
            fields.append(Field(f["name"], f.get("doc", ""), made))
        if not fields or len({f.name for f in fields}) != len(fields):
            self.fail(where, "no fields, or two of one name")
        return self.named(where, Record(raw["name"], raw.get("doc", ""), tuple(fields)))


def canonical(raw):
    """Parsing canonical form (Avro 1.11 specification, "Transforming into Parsing Canonical Form")."""
    primitive = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
    if isinstance(raw, str):
        return json.dumps(raw if raw in primitive or "." in raw else f"{NAMESPACE}.{raw}")
    if isinstance(raw, list):
        return "[" + ",".join(canonical(b) for b in raw) + "]"
    name = f'"name":"{NAMESPACE}.{raw["name"]}",' if "name" in raw else ""
    head = "{" + name + f'"type":"{raw["type"]}"'
    if raw["type"] == "record":
        fields = (f'{{"name":"{f["name"]}","type":{canonical(f["type"])}}}' for f in raw["fields"])
        return head + ',"fields":[' + ",".join(fields) + "]}"
    if raw["type"] == "enum":
        return head + ',"symbols":[' + ",".join(f'"{s}"' for s in raw["symbols"]) + "]}"
    if raw["type"] == "fixed":
        return head + f',"size":{raw["size"]}}}'
    if raw["type"] == "array":
        return head + ',"items":' + canonical(raw["items"]) + "}"
    raise SchemaError(f"no canonical form of {raw['type']}")


def crc64_avro(data):
    """CRC-64-AVRO (Avro 1.11 specification, "Schema Fingerprints")."""
    empty = 0xC15D213AA4D7A795
    crc = empty
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (empty if crc & 1 else 0)
    return crc


def parts(made):
    """Named types and unions below `made`, users after what they use."""
    if isinstance(made, (Array, Optional)):
        yield from parts(made.items if isinstance(made, Array) else made.item)
    elif isinstance(made, Record):
        for f in made.fields:
            yield from parts(f.type)
        yield made
    elif isinstance(made, Union):
        for b in made.branches:
            yield from parts(b)
        yield made
    elif isinstance(made, Enum):
        yield made


def depth(made):
    if isinstance(made, Record):
        return 1 + max(depth(f.type) for f in made.fields)
    if isinstance(made, Array):
        return 1 + depth(made.items)
    if isinstance(made, Optional):
        return depth(made.item)
    if isinstance(made, Union):
        return 1 + max(depth(b) for b in made.branches)
    return 0


def load_one(path):
    text = path.read_text(encoding="utf-8")
    raw = json.loads(text)
    parser = Parser(path.stem)
    if raw.get("namespace") != NAMESPACE or raw.get("type") != "record":
        parser.fail("top", "a record in namespace avow is needed")
    max_value = raw.get("avow.max_value")
    record = parser.complex(raw, {}, path.stem)
    if record.short != path.stem:
        parser.fail("top", f"record {record.name} belongs in {record.short}.avsc")
    if not isinstance(max_value, int) or max_value < FRAME_LEN + record.sizes()[0]:
        parser.fail("top", "avow.max_value is missing or smaller than the smallest record")
    if depth(record) > DEPTH_MAX:
        parser.fail("top", f"nested deeper than {DEPTH_MAX}")
    return Schema(path.stem, text, record, max_value, crc64_avro(canonical(raw).encode()))


def load(folder):
    """(schemas, common): every schema, and the types that more than one of them uses."""
    schemas = [load_one(p) for p in sorted(Path(folder).glob("*.avsc"))]
    users, types = {}, {}
    for s in schemas:
        for t in dict.fromkeys(parts(s.record)):
            if types.setdefault(t.name, t) != t:
                raise SchemaError(f"schemas/{s.file}.avsc: {t.name} differs from the one in another schema")
            users.setdefault(t.name, []).append(s)
    if len({s.fingerprint for s in schemas}) != len(schemas):
        raise SchemaError("two schemas have one fingerprint")
    for s in schemas:
        s.own = [t for t in dict.fromkeys(parts(s.record)) if len(users[t.name]) == 1]
    every = dict.fromkeys(t for s in schemas for t in parts(s.record))
    return schemas, [t for t in every if len(users[t.name]) > 1]
