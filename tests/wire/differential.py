#!/usr/bin/env python3
"""Avow's codecs against fastavro: same bytes, same values, same refusals.

usage: differential.py --tool PATH [--seed N] [--records N] [--mutations N]

For every schema: fingerprints agree; what fastavro writes, C reads and writes back byte for byte; C's Avro JSON, read by
fastavro, is the same value; C's plain JSON is JSON and holds the same numbers; everything one step outside a cap or a
range is refused with the name of its field; whatever C accepts of mutated bytes, fastavro reads as the same value.
"""

import argparse
import io
import json
import random
import struct
import subprocess
import sys
import time

import fastavro
import fastavro.schema

import values

OK = 0


class Tool:
    """avow_wire_tool; one process per batch, so that no answer of megabytes piles up."""

    BATCH = 100

    def __init__(self, path):
        self.path = path

    def schemas(self):
        out = subprocess.run([self.path, "schemas"], check=True, capture_output=True, text=True).stdout
        return {f[0]: f[1:] for f in (line.split() for line in out.splitlines())}

    def recode(self, records):
        """For each record: (rc, message, bytes, avro json, plain json)."""
        for i in range(0, len(records), self.BATCH):
            yield from self._batch(records[i:i + self.BATCH])

    def _batch(self, records):
        stdin = b"".join(struct.pack(">I", len(r)) + r for r in records)
        done = subprocess.run([self.path, "recode"], input=stdin, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"avow_wire_tool died: {done.returncode}\n{done.stderr.decode(errors='replace')[-4000:]}")
        stream, answers = io.BytesIO(done.stdout), []
        for _ in records:
            (rc,) = struct.unpack(">I", stream.read(4))
            blocks = [stream.read(struct.unpack(">I", stream.read(4))[0]) for _ in range(4)]
            answers.append((rc, blocks[0].decode(), *blocks[1:]))
        if stream.read(1):
            sys.exit("avow_wire_tool said too much")
        return answers


class Codec:
    """fastavro's view of one schema."""

    def __init__(self, schema):
        self.schema = schema
        self.parsed = fastavro.parse_schema(schema.raw)
        canonical = fastavro.schema.to_parsing_canonical_form(schema.raw)
        # fastavro gives the bytes of the fingerprint as they stand in a frame.
        self.fingerprint = int.from_bytes(bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")), "little")

    def encode(self, value):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.parsed, value)
        return b"\xc3\x01" + struct.pack("<Q", self.fingerprint) + out.getvalue()

    def decode(self, framed):
        """The value, or None if fastavro does not read exactly these bytes."""
        stream = io.BytesIO(framed[10:])
        try:
            value = fastavro.schemaless_reader(stream, self.parsed, self.parsed, return_record_name=True)
        except Exception:  # fastavro raises whatever its reader trips over
            return None
        return None if stream.read(1) else value

    def from_json(self, text):
        (value,) = fastavro.json_reader(io.StringIO(text.decode()), self.parsed)
        return value


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def names_dropped(value):
    """return_record_name gives unions of records as (name, value); JSON does not."""
    if isinstance(value, tuple):
        return names_dropped(value[1])
    if isinstance(value, dict):
        return {k: names_dropped(v) for k, v in value.items()}
    if isinstance(value, list):
        return [names_dropped(v) for v in value]
    return value


def plain_form(value):
    """What plain JSON should hold: bytes as hex, a union of records under the branch's name."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        name = "".join("_" + c.lower() if c.isupper() else c for c in value[0].removeprefix("avow.")).lstrip("_")
        return {name: plain_form(value[1])}
    if isinstance(value, dict):
        return {k: plain_form(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain_form(v) for v in value]
    return value


def random_values(codec, rng, count):
    made = []
    while len(made) < count:
        room = 10**6 if rng.random() < 0.02 else rng.choice((3, 3, 10, 40, 200, 5000))
        value = values.Maker(codec.schema, rng, room).record()
        framed = codec.encode(value)
        if len(framed) <= codec.schema.max_value:
            made.append((value, framed))
    return made


def check_values(tool, codec, made):
    for (value, framed), (rc, message, again, avro, plain) in zip(made, tool.recode([f for _, f in made])):
        expect(rc == OK, f"refused: {message}: {framed.hex()[:400]}")
        expect(again == framed, f"encoded differently: {framed.hex()[:400]} -> {again.hex()[:400]}")
        expect(codec.from_json(avro) == names_dropped(value), f"Avro JSON differs: {avro[:400]!r}")
        expect(json.loads(plain) == plain_form(value), f"plain JSON differs: {plain[:400]!r}")


def outside(kind, limit):
    """Values just inside and just outside a limit, as (value, allowed)."""
    if kind == "string":
        return [("x" * limit, True), ("x" * (limit + 1), False)]
    if kind == "bytes":
        return [(b"\xff" * limit, True), (b"\xff" * (limit + 1), False)]
    if kind == "number":
        return [(limit, True), (-1, False)] + ([(limit + 1, False)] if limit not in (2**31 - 1, 2**63 - 1) else [])
    return []


def check_limits(tool, codec):
    """Every cap and range of the schema, at its limit and one beyond."""
    cases = []
    for steps, kind, limit in values.leaves(codec.schema):
        base = values.sample(codec.schema, codec.schema.raw, {}, steps)
        if kind == "items":
            item = values.sample(codec.schema, codec.schema.raw, {}, steps + [("item", 0)])
            for key in steps:
                item = item[1] if key[0] == "branch" else item[key[1]]
            pairs = [(item * limit, True), (item * (limit + 1), False)]
        else:
            pairs = outside(kind, limit)
        for new, allowed in pairs:
            framed = codec.encode(values.put(base, steps, new))
            if len(framed) <= codec.schema.max_value:
                cases.append((values.path(codec.schema, steps), allowed, framed))
    for (where, allowed, framed), (rc, message, again, _, _) in zip(cases, tool.recode([c[2] for c in cases])):
        if allowed:
            expect(rc == OK and again == framed, f"{where} at its limit: {message}")
        else:
            expect(rc != OK and message.startswith(where + ":"), f"{where} beyond its limit: rc {rc}, {message!r}")
    return len(cases)


def mutate(rng, framed):
    b = bytearray(framed)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(10, len(b)) if len(b) > 10 else len(b)
        how = rng.randrange(6)
        if how == 0 and at < len(b):
            b[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(b):
            b[at] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
        elif how == 2:
            del b[at:at + rng.choice((1, 1, 2, 8))]
        elif how == 3:
            b[at:at] = rng.randbytes(rng.choice((1, 1, 2, 8)))
        elif how == 4:
            del b[at:]
        else:
            b[at:at] = b[at:at + 12]
    return bytes(b)


def check_mutations(tool, codec, rng, made, count):
    small = [f for _, f in made if len(f) < 4000] or [f for _, f in made]
    mutated = [mutate(rng, rng.choice(small)) for _ in range(count)]
    accepted = 0
    for framed, (rc, _, again, _, _) in zip(mutated, tool.recode(mutated)):
        if rc == OK:
            accepted += 1
            theirs = codec.decode(framed)
            expect(theirs is not None, f"C accepts what fastavro does not: {framed.hex()}")
            expect(theirs == codec.decode(again), f"C reads another value: {framed.hex()}")
    return accepted


def number(n):
    """A non-negative Avro int or long."""
    n <<= 1
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def in_blocks(rng, codec, value, name):
    """The record, with its array `name` in blocks of one item, some of which tell their size."""
    raw = codec.schema.raw
    at = [f["name"] for f in raw["fields"]].index(name)
    before = fastavro.parse_schema(dict(raw, fields=raw["fields"][:at]))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, before, value)
    start = 10 + len(out.getvalue())
    whole = [codec.encode(dict(value, **{name: value[name][:n]})) for n in range(len(value[name]) + 1)]
    after = whole[0][start + 1:]  # behind the zero that ends the array
    items = [b""] + [w[start + 1:len(w) - len(after) - 1] for w in whole[1:]]
    body = b""
    for shorter, longer in zip(items, items[1:]):
        item = longer[len(shorter):]
        body += b"\x02" + item if rng.random() < 0.5 else b"\x01" + number(len(item)) + item
    return whole[0][:start] + body + b"\x00" + after


def check_blocks(tool, codec, rng, made):
    """Arrays in several blocks mean the same and are written in one."""
    count = 0
    for field in codec.schema.raw["fields"]:
        if not isinstance(field["type"], dict) or field["type"]["type"] != "array":
            continue
        name = field["name"]
        chosen = [(v, f) for v, f in made if 2 <= len(v[name]) <= 6][:100]
        blocks = [in_blocks(rng, codec, v, name) for v, _ in chosen]
        for (_, framed), given, (rc, message, again, _, _) in zip(chosen, blocks, tool.recode(blocks)):
            if len(given) > codec.schema.max_value:
                continue
            expect(rc == OK and again == framed, f"{name} in blocks: {message}: {given.hex()[:400]}")
            expect(codec.decode(given) == codec.decode(framed), f"{name} in blocks, fastavro: {given.hex()[:400]}")
            count += 1
    return count


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--tool", required=True)
    args.add_argument("--seed", type=int, default=20261124)
    args.add_argument("--records", type=int, default=2000)
    args.add_argument("--mutations", type=int, default=3000)
    opts = args.parse_args()
    tool = Tool(opts.tool)
    compiled = tool.schemas()
    failed = 0
    schemas = values.schemas()
    if sorted(compiled) != [s.file for s in schemas]:
        sys.exit("the compiled-in schemas are not those of schemas/")
    for schema in schemas:
        rng = random.Random(f"{opts.seed} {schema.file}")
        codec = Codec(schema)
        began = time.monotonic()
        try:
            name, fingerprint, max_value = compiled[schema.file]
            expect(name == "avow." + schema.raw["name"], "name differs")
            expect(int(fingerprint, 16) == codec.fingerprint, f"fingerprint {fingerprint} != {codec.fingerprint:016x}")
            expect(int(max_value) == schema.max_value, "max_value differs")
            made = random_values(codec, rng, opts.records)
            check_values(tool, codec, made)
            limits = check_limits(tool, codec)
            accepted = check_mutations(tool, codec, rng, made, opts.mutations)
            blocks = check_blocks(tool, codec, rng, made)
            print(f"ok   {schema.file}: {len(made)} values, {limits} limits, {opts.mutations} mutations "
                  f"({accepted} accepted), {blocks} in blocks, {time.monotonic() - began:.1f} s")
        except Failed as e:
            failed += 1
            print(f"FAIL {schema.file} (seed {opts.seed}): {e}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
