"""Random values of a schema, within its caps (avow.max, avow.max_items, avow.range), and values just outside them."""

import json
from pathlib import Path

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
RANGES = {"u16": 0xFFFF, "u31": 0x7FFFFFFF, "u32": 0xFFFFFFFF, "u63": 0x7FFFFFFFFFFFFFFF}
# One to four bytes of UTF-8, quotes, controls and the characters whose second byte could be taken for a control.
LETTERS = "aZ09 ./-_\"\\\n\t\x01\x1f\x7f\x80\x9f\xa0\xbf\xe9\u07ff\u0800\u2028\ud7ff\ue000\uffff\U00010000\U0010ffff"


class Schema:
    def __init__(self, path):
        self.file = path.stem
        self.raw = json.loads(path.read_text(encoding="utf-8"))
        self.max_value = self.raw["avow.max_value"]
        self.names = {}
        self._collect(self.raw)

    def _collect(self, t):
        if isinstance(t, list):
            for branch in t:
                self._collect(branch)
        elif isinstance(t, dict):
            if "name" in t:
                self.names[t["name"]] = t
            for f in t.get("fields", []):
                self._collect(f["type"])
            if "items" in t:
                self._collect(t["items"])

    def resolve(self, t):
        return self.names.get(t, t) if isinstance(t, str) else t


def schemas():
    return [Schema(p) for p in sorted(SCHEMAS.glob("*.avsc"))]


def text(rng, most):
    """Valid UTF-8 without NUL of at most `most` bytes."""
    left = rng.choice((0, 1, most, rng.randint(0, most)))
    out = ""
    while left > 0:
        c = rng.choice(LETTERS)
        width = len(c.encode())
        c, width = (c, width) if width <= left else ("x", 1)
        out += c
        left -= width
    return out


class Maker:
    """`room`: how many bytes a string may take, so that a record stays below its size cap."""

    def __init__(self, schema, rng, room):
        self.schema, self.rng, self.room = schema, rng, room

    def value(self, t, attrs):
        rng, t = self.rng, self.schema.resolve(t)
        if isinstance(t, list):
            return self.union(t, attrs)
        if isinstance(t, dict):
            return self.complex(t, attrs)
        if t == "string":
            return text(rng, min(attrs["avow.max"], self.room))
        if t == "bytes":
            most = min(attrs["avow.max"], self.room)
            return rng.randbytes(rng.choice((0, 1, most, rng.randint(0, most))))
        if t == "boolean":
            return rng.random() < 0.5
        top = RANGES[attrs["avow.range"]]
        return rng.choice((0, 1, top, top - 1, 63, 64, rng.randint(0, top), rng.randint(0, min(top, 9999))))

    def union(self, t, attrs):
        if t[0] == "null":
            return None if self.rng.random() < 0.3 else self.value(t[1], attrs)
        branch = self.schema.resolve(self.rng.choice(t))
        return ("avow." + branch["name"], self.value(branch, {}))

    def complex(self, t, attrs):
        kind = t["type"]
        if kind == "record":
            return {f["name"]: self.value(f["type"], f) for f in t["fields"]}
        if kind == "enum":
            return self.rng.choice(t["symbols"])
        if kind == "fixed":
            return self.rng.randbytes(t["size"])
        most = min(attrs["avow.max_items"], self.rng.choice((0, 1, 2, 3, attrs["avow.max_items"])))
        if most > 16 and self.room > 64:
            most = 16
        return [self.value(t["items"], attrs) for _ in range(most)]

    def record(self):
        return self.value(self.schema.raw, {})


def leaves(schema):
    """Every place with a cap or a range: (steps, kind, limit). A step is a field name, 0 (first item) or a branch."""

    def walk(t, attrs, steps):
        t = schema.resolve(t)
        if isinstance(t, list):
            for branch in t:
                b = schema.resolve(branch)
                if b != "null":
                    step = [] if t[0] == "null" else [("branch", "avow." + b["name"])]
                    yield from walk(b, attrs, steps + step)
        elif isinstance(t, dict):
            if t["type"] == "record":
                for f in t["fields"]:
                    yield from walk(f["type"], f, steps + [("field", f["name"])])
            elif t["type"] == "array":
                yield steps, "items", attrs["avow.max_items"]
                yield from walk(t["items"], attrs, steps + [("item", 0)])
        elif t in ("string", "bytes"):
            yield steps, t, attrs["avow.max"]
        elif t in ("int", "long"):
            yield steps, "number", RANGES[attrs["avow.range"]]

    return list(walk(schema.raw, {}, []))


def sample(schema, t, attrs, toward):
    """The smallest value of `t` in which the place `toward` exists."""
    t = schema.resolve(t)
    step = toward[0] if toward else None
    if isinstance(t, list):
        if t[0] == "null":
            return sample(schema, t[1], attrs, toward) if toward is not None else None
        branch = schema.resolve(t[0]) if not step else schema.names[step[1].removeprefix("avow.")]
        return ("avow." + branch["name"], sample(schema, branch, {}, toward[1:] if step else None))
    if isinstance(t, dict):
        if t["type"] == "record":
            return {
                f["name"]: sample(schema, f["type"], f, toward[1:] if step == ("field", f["name"]) else None)
                for f in t["fields"]
            }
        if t["type"] == "enum":
            return t["symbols"][0]
        if t["type"] == "fixed":
            return bytes(t["size"])
        return [sample(schema, t["items"], attrs, toward[1:])] if step else []
    return {"string": "", "bytes": b"", "boolean": False}.get(t, 0)


def put(value, steps, new):
    """`value` with `new` at the place; unions are (name, value)."""
    if not steps:
        return new
    kind, key = steps[0]
    if kind == "branch":
        return (value[0], put(value[1], steps[1:], new))
    out = dict(value) if kind == "field" else list(value)
    out[key] = put(value[key], steps[1:], new)
    return out


def path(schema, steps):
    """How C names the place in its messages."""
    out = schema.file
    for kind, key in steps:
        out += f".{key}" if kind == "field" else "[0]" if kind == "item" else ""
    return out
