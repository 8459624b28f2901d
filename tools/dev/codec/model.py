"""lib/model: structs, enums and their texts."""

from . import schema as sc
from .text import call, comment, header, source


def member(name, made):
    """Lines that declare one field in a struct."""
    if isinstance(made, sc.Optional):
        return [f"bool has_{name};"] + member(name, made.item)
    if isinstance(made, sc.Array):
        return [f"const {plain(made.items)} *{name};", f"size_t {name}_count;"]
    if isinstance(made, sc.Fixed):
        return [f"uint8_t {name}[{made.size}];"]
    return [f"{plain(made)} {name};"]


def plain(made):
    if isinstance(made, sc.Int):
        return made.c
    if isinstance(made, sc.Bool):
        return "bool"
    if isinstance(made, sc.Text):
        return "struct avow_str" if made.kind == "string" else "struct avow_bytes"
    if isinstance(made, sc.Enum):
        return f"enum {made.c}"
    return f"struct {made.c}"


def declare_enum(e):
    lines = comment(e.doc) if e.doc else []
    lines += [f"enum {e.c} {{"] + [f"    {e.prefix}_{s.upper()}," for s in e.symbols] + ["};"]
    lines += [f"#define {e.prefix}_COUNT {len(e.symbols)}u"]
    lines += [f"const char *{e.c}_text(enum {e.c} v); /* \"?\" out of range */"]
    lines += call(f"bool {e.c}_from_text", ["struct avow_str s", f"enum {e.c} *out"], " AVOW_MUST_CHECK;")
    return lines


def declare_record(r):
    lines = comment(r.doc) if r.doc else []
    lines += [f"struct {r.c} {{"]
    for f in r.fields:
        if f.doc:
            lines += comment(f.doc, 4)
        lines += ["    " + m for m in member(f.name, f.type)]
    return lines + ["};"]


def declare_union(u):
    lines = [f"enum {u.c}_tag {{"] + [f"    {u.prefix}_{b.short.upper()}," for b in u.branches] + ["};"]
    lines += [f"#define {u.prefix}_COUNT {len(u.branches)}u"]
    lines += [f"struct {u.c} {{", f"    enum {u.c}_tag tag;", "    union {"]
    lines += [f"        struct {b.c} {b.short};" for b in u.branches]
    return lines + ["    } u;", "};"]


def declare(types):
    lines = []
    for t in types:
        make = declare_enum if isinstance(t, sc.Enum) else declare_record if isinstance(t, sc.Record) else declare_union
        lines += make(t) + [""]
    return lines[:-1]


def define_enum(e):
    lines = [f"const char *{e.c}_text(enum {e.c} v)", "{", "    switch (v) {"]
    for symbol in e.symbols:
        lines += [f"    case {e.prefix}_{symbol.upper()}:", f'        return "{symbol}";']
    lines += ["    }", '    return "?";', "}", ""]
    lines += call(f"bool {e.c}_from_text", ["struct avow_str s", f"enum {e.c} *out"], "")
    lines += ["{", f"    for (uint32_t i = 0; i < {e.prefix}_COUNT; i++) {{"]
    lines += [f"        if (avow_str_is(s, {e.c}_text((enum {e.c})i))) {{", f"            *out = (enum {e.c})i;"]
    return lines + ["            return true;", "        }", "    }", "    return false;", "}"]


def define(types):
    lines = []
    for e in (t for t in types if isinstance(t, sc.Enum)):
        lines += define_enum(e) + [""]
    return lines[:-1]


def guard(name):
    return f"AVOW_MODEL_{name.upper()}_H"


def generate(schemas, common):
    """{path: text}; `sources` of the library are those that end in .c."""
    out = {}
    base = ["avow/base/bytes.h"]
    out["lib/model/avow/model/common.h"] = header(
        "schemas/", guard("common"),
        "common.h - parts of records that several schemas share. Layer: model. Plain data; strings, bytes and arrays are borrowed.",
        base, declare(common))
    if define(common):
        out["lib/model/src/common.c"] = source("schemas/", ["avow/model/common.h"], define(common))
    for s in schemas:
        origin = f"schemas/{s.file}.avsc"
        uses_common = any(t in common for t in sc.parts(s.record))
        out[f"lib/model/avow/model/{s.file}.h"] = header(
            origin, guard(s.file),
            f"{s.file}.h - {s.record.name} as plain data. Layer: model. Strings, bytes and arrays are borrowed.",
            ["avow/model/common.h"] if uses_common else base, declare(s.own))
        if define(s.own):
            out[f"lib/model/src/{s.file}.c"] = source(origin, [f"avow/model/{s.file}.h"], define(s.own))
    out["lib/model/avow/model/model.h"] = header(
        "schemas/", guard("model"), "model.h - every record. Layer: model.",
        [f"avow/model/{n}.h" for n in sorted(["common"] + [s.file for s in schemas])], [])
    return out
