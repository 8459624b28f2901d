#!/usr/bin/env python3
"""Writes tests/vectors/wire/: for every schema the smallest record and records with everything in them, as fastavro
encodes them, with their JSON. Run it after a schema changed; the unit tests of lib/wire read the files.
It also seeds the corpora of the decoders' fuzz targets.

usage: make_vectors.py
"""

import io
import json
from pathlib import Path

import fastavro

import differential
import values

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors" / "wire"
CORPUS = ROOT / "tests" / "fuzz" / "corpus"


class Full:
    """A value with every optional present and two items in every array; `branch` chooses in unions of records."""

    def __init__(self, schema, branch):
        self.schema, self.branch, self.count = schema, branch, 0

    def value(self, t, attrs):
        t = self.schema.resolve(t)
        self.count += 1
        if isinstance(t, list):
            chosen = self.schema.resolve(t[1] if t[0] == "null" else t[self.branch])
            made = self.value(chosen, attrs)
            return made if t[0] == "null" else ("avow." + chosen["name"], made)
        if isinstance(t, dict):
            return self.complex(t, attrs)
        if t == "string":
            return f"text {self.count}"[: attrs["avow.max"]]
        if t == "bytes":
            return self.bytes(3)
        if t == "boolean":
            return self.count % 2 == 0
        return (values.RANGES[attrs["avow.range"]] // 3 + self.count) if self.count % 3 else self.count

    def bytes(self, size):
        return bytes(0xA0 + (self.count + i) % 0x60 for i in range(size))

    def complex(self, t, attrs):
        if t["type"] == "record":
            return {f["name"]: self.value(f["type"], f) for f in t["fields"]}
        if t["type"] == "enum":
            return t["symbols"][-1]
        if t["type"] == "fixed":
            return self.bytes(t["size"])
        return [self.value(t["items"], attrs) for _ in range(2)]


def branches(schema):
    return max([len(f["type"]) for f in schema.raw["fields"] if isinstance(f["type"], list) and f["type"][0] != "null"] or [1])


def compact(value):
    return json.dumps(value, separators=(",", ":")) + "\n"


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main():
    for old in VECTORS.glob("*"):
        old.unlink()
    for schema in values.schemas():
        codec = differential.Codec(schema)
        made = {"min": values.sample(schema, schema.raw, {}, None)}
        for branch in range(branches(schema)):
            made[f"full{branch}"] = Full(schema, branch).value(schema.raw, {})
        corpus = CORPUS / f"fuzz_wire_{schema.file}"
        for name, value in made.items():
            framed = codec.encode(value)
            text = io.StringIO()
            fastavro.json_writer(text, codec.parsed, [value])
            stem = VECTORS / f"{schema.file}-{name}"
            write(stem.with_suffix(".bin"), framed)
            write(stem.with_suffix(".avro.json"), compact(json.loads(text.getvalue())).encode())
            write(stem.with_suffix(".plain.json"), compact(differential.plain_form(value)).encode())
            write(corpus / name, framed)


if __name__ == "__main__":
    main()
