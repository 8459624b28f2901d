"""lib/wire: encoders, decoders and JSON printers, one straight line of calls per record (wire_rt.h)."""

from . import schema as sc
from .model import plain
from .text import call, comment, header, source

TYPES = {"string": "str", "bytes": "bytes"}


class Names:
    """How a record's functions are called: shared ones have external linkage."""

    def __init__(self, common):
        self.common = common

    def __call__(self, verb, record):
        return f"avow_{verb}_{record.short}" if record in self.common else f"{verb}_{record.short}"


def avro_name(made):
    """Name of a branch in Avro's JSON encoding."""
    if isinstance(made, sc.Text):
        return made.kind
    if isinstance(made, sc.Int):
        return sc.RANGES[made.range][0]
    if isinstance(made, sc.Bool):
        return "boolean"
    return f"{sc.NAMESPACE}.{made.name}"


# -- decoding ----------------------------------------------------------------------------------------------------------


def decode_value(names, made, place, name, pad):
    """Lines that read one value into `place`; `name` is a C expression."""
    if isinstance(made, sc.Int):
        return call(f"{place} = avow_dec_{made.range}", ["d", name], ";", pad)
    if isinstance(made, sc.Bool):
        return call(f"{place} = avow_dec_bool", ["d", name], ";", pad)
    if isinstance(made, sc.Text):
        return call(f"{place} = avow_dec_{TYPES[made.kind]}", ["d", name, str(made.max)], ";", pad)
    if isinstance(made, sc.Fixed):
        return call("avow_dec_fixed", ["d", name, place, f"sizeof {place}"], ";", pad)
    if isinstance(made, sc.Enum):
        return call(f"{place} = (enum {made.c})avow_dec_index", ["d", name, f"{made.prefix}_COUNT"], ";", pad)
    inner = " " * pad + f"{names('decode', made) if isinstance(made, sc.Record) else union_fn('decode', made)}(d, &{place});"
    return [" " * pad + f"avow_dec_enter(d, {name});", inner, " " * pad + "avow_dec_leave(d);"]


def union_fn(verb, union):
    return f"{verb}_{sc.snake(union.name)}"


def array_fn(verb, record, field):
    return f"{verb}_{record.short}_{field.name}"


def decode_field(names, record, f):
    if isinstance(f.type, sc.Array):
        return [f"    {array_fn('decode', record, f)}(d, v);"]
    if not isinstance(f.type, sc.Optional):
        return decode_value(names, f.type, f"v->{f.name}", f'"{f.name}"', 4)
    body = decode_value(names, f.type.item, f"v->{f.name}", f'"{f.name}"', 8)
    brace = len(body) > 1
    return call(f"    v->has_{f.name} = avow_dec_some", ["d", f'"{f.name}"'], ";") + \
        [f"    if (v->has_{f.name})" + (" {" if brace else "")] + body + (["    }"] if brace else [])


def decode_array(names, record, f):
    items = f.type.items
    if isinstance(items, sc.Record):
        body = [f"        {names('decode', items)}(d, item);"]
    else:
        body = decode_value(names, items, "*item", "NULL", 8)
    args = ["d", f'"{f.name}"', str(f.type.max_items), f"sizeof *v->{f.name}", str(items.sizes()[0])]
    brace = len(body) > 1
    return [f"static void {array_fn('decode', record, f)}(struct avow_dec *d, struct {record.c} *v)", "{"] + \
        call("    struct avow_dec_array a = avow_dec_array", args, ";") + \
        [f"    for ({plain(items)} *item; (item = avow_dec_next(d, &a));)" + (" {" if brace else "")] + body + \
        (["    }"] if brace else []) + \
        [f"    v->{f.name} = a.items;", f"    v->{f.name}_count = avow_dec_array_end(d, &a);", "}", ""]


def decode_record(names, record):
    lines = []
    for f in record.fields:
        if isinstance(f.type, sc.Array):
            lines += decode_array(names, record, f)
    linkage = "" if record in names.common else "static "
    lines += call(f"{linkage}void {names('decode', record)}", ["struct avow_dec *d", f"struct {record.c} *v"], "")
    lines += ["{"]
    for f in record.fields:
        lines += decode_field(names, record, f)
    return lines + ["}", ""]


def decode_union(names, u):
    lines = [f"static void {union_fn('decode', u)}(struct avow_dec *d, struct {u.c} *v)", "{"]
    lines += call(f"    v->tag = (enum {u.c}_tag)avow_dec_index", ["d", "NULL", f"{u.prefix}_COUNT"], ";")
    lines += ["    switch (v->tag) {"]
    for b in u.branches:
        lines += [f"    case {u.prefix}_{b.short.upper()}:", f"        {names('decode', b)}(d, &v->u.{b.short});", "        break;"]
    return lines + ["    }", "}", ""]


# -- encoding ----------------------------------------------------------------------------------------------------------


def encode_value(names, made, place, name, pad):
    if isinstance(made, sc.Int):
        return call(f"avow_enc_{made.range}", ["e", name, place], ";", pad)
    if isinstance(made, sc.Bool):
        return call("avow_enc_bool", ["e", place], ";", pad)
    if isinstance(made, sc.Text):
        return call(f"avow_enc_{TYPES[made.kind]}", ["e", name, str(made.max), place], ";", pad)
    if isinstance(made, sc.Fixed):
        return call("avow_enc_fixed", ["e", place, f"sizeof {place}"], ";", pad)
    if isinstance(made, sc.Enum):
        return call("avow_enc_index", ["e", name, f"{made.prefix}_COUNT", f"(uint32_t){place}"], ";", pad)
    inner = " " * pad + f"{names('encode', made) if isinstance(made, sc.Record) else union_fn('encode', made)}(e, &{place});"
    return [" " * pad + f"avow_enc_enter(e, {name});", inner, " " * pad + "avow_enc_leave(e);"]


def encode_field(names, record, f):
    if isinstance(f.type, sc.Array):
        return [f"    {array_fn('encode', record, f)}(e, v);"]
    if not isinstance(f.type, sc.Optional):
        return encode_value(names, f.type, f"v->{f.name}", f'"{f.name}"', 4)
    body = encode_value(names, f.type.item, f"v->{f.name}", f'"{f.name}"', 8)
    brace = len(body) > 1
    return [f"    if (avow_enc_some(e, v->has_{f.name}))" + (" {" if brace else "")] + body + (["    }"] if brace else [])


def encode_array(names, record, f):
    items = f.type.items
    if isinstance(items, sc.Record):
        body = [f"        {names('encode', items)}(e, &v->{f.name}[i]);"]
    else:
        body = encode_value(names, items, f"v->{f.name}[i]", "NULL", 8)
    args = ["e", f'"{f.name}"', str(f.type.max_items), f"v->{f.name}_count"]
    return call(f"static void {array_fn('encode', record, f)}", ["struct avow_enc *e", f"const struct {record.c} *v"], "") + ["{"] + \
        call("    size_t n = avow_enc_array", args, ";") + \
        ["    for (size_t i = 0; i < n; i++) {", "        avow_enc_item(e, i);"] + body + \
        ["    }", "    avow_enc_array_end(e);", "}", ""]


def encode_record(names, record):
    lines = []
    for f in record.fields:
        if isinstance(f.type, sc.Array):
            lines += encode_array(names, record, f)
    linkage = "" if record in names.common else "static "
    lines += call(f"{linkage}void {names('encode', record)}", ["struct avow_enc *e", f"const struct {record.c} *v"], "")
    lines += ["{"]
    for f in record.fields:
        lines += encode_field(names, record, f)
    return lines + ["}", ""]


def encode_union(names, u):
    lines = [f"static void {union_fn('encode', u)}(struct avow_enc *e, const struct {u.c} *v)", "{"]
    lines += call("    avow_enc_index", ["e", "NULL", f"{u.prefix}_COUNT", "(uint32_t)v->tag"], ";")
    lines += ["    switch (v->tag) {"]
    for b in u.branches:
        lines += [f"    case {u.prefix}_{b.short.upper()}:", f"        {names('encode', b)}(e, &v->u.{b.short});", "        break;"]
    return lines + ["    }", "}", ""]


# -- JSON --------------------------------------------------------------------------------------------------------------


def print_value(names, made, place, name, pad):
    if isinstance(made, sc.Int):
        value = f"(uint64_t){place}" if made.range == "u31" else place
        return call("avow_js_u64", ["j", name, value], ";", pad)
    if isinstance(made, sc.Bool):
        return call("avow_js_bool", ["j", name, place], ";", pad)
    if isinstance(made, sc.Text):
        return call(f"avow_js_{TYPES[made.kind]}", ["j", name, place], ";", pad)
    if isinstance(made, sc.Fixed):
        return call("avow_js_bytes", ["j", name, f"AVOW_BYTES_OF({place})"], ";", pad)
    if isinstance(made, sc.Enum):
        return call("avow_js_str", ["j", name, f"avow_str_from({made.c}_text({place}))"], ";", pad)
    if isinstance(made, sc.Union):
        return call(union_fn("print", made), ["j", name, f"&{place}"], ";", pad)
    sp = " " * pad
    return [f"{sp}avow_js_open(j, {name}, '{{');", f"{sp}{names('print', made)}(j, &{place});", f"{sp}avow_js_close(j, '}}');"]


def print_field(names, record, f):
    name = f'"{f.name}"'
    if isinstance(f.type, sc.Array):
        body = print_value(names, f.type.items, f"v->{f.name}[i]", "NULL", 8)
        brace = len(body) > 1
        return [f"    avow_js_open(j, {name}, '[');", f"    for (size_t i = 0; i < v->{f.name}_count; i++)" + (" {" if brace else "")] + \
            body + (["    }"] if brace else []) + ["    avow_js_close(j, ']');"]
    if not isinstance(f.type, sc.Optional):
        return print_value(names, f.type, f"v->{f.name}", name, 4)
    return call("    if (avow_js_some", ["j", name, f'"{avro_name(f.type.item)}"', f"v->has_{f.name}"], ") {") + \
        print_value(names, f.type.item, f"v->{f.name}", "NULL", 8) + ["        avow_js_some_end(j);", "    }"]


def print_record(names, record):
    linkage = "" if record in names.common else "static "
    lines = call(f"{linkage}void {names('print', record)}", ["struct avow_js *j", f"const struct {record.c} *v"], "")
    lines += ["{"]
    for f in record.fields:
        lines += print_field(names, record, f)
    return lines + ["}", ""]


def print_union(names, u):
    lines = call(f"static void {union_fn('print', u)}", ["struct avow_js *j", "const char *name", f"const struct {u.c} *v"], "")
    lines += ["{", "    switch (v->tag) {"]
    for b in u.branches:
        lines += [f"    case {u.prefix}_{b.short.upper()}:"]
        lines += call("avow_js_branch", ["j", "name", f'"{avro_name(b)}"', f'"{b.short}"'], ";", 8)
        lines += [f"        {names('print', b)}(j, &v->u.{b.short});", "        avow_js_branch_end(j);", "        break;"]
    return lines + ["    }", "}", ""]


# -- files -------------------------------------------------------------------------------------------------------------


def define(names, types):
    lines = []
    for t in types:
        if isinstance(t, sc.Record):
            lines += decode_record(names, t) + encode_record(names, t) + print_record(names, t)
        elif isinstance(t, sc.Union):
            lines += decode_union(names, t) + encode_union(names, t) + print_union(names, t)
    return lines


def encode_signature(s, tail):
    return call(f"enum avow_rc avow_{s.file}_encode", [f"const struct avow_{s.file} *v", "struct avow_buf *out", "struct avow_err *err"], tail)


def decode_signature(s, tail):
    return call(f"enum avow_rc avow_{s.file}_decode",
                ["struct avow_bytes in", "struct avow_arena *arena", f"struct avow_{s.file} *out", "struct avow_err *err"], tail)


def print_signature(s, tail):
    return call(f"enum avow_rc avow_{s.file}_print",
                ["struct avow_bytes record", "struct avow_arena *arena", "struct avow_js *j", "struct avow_err *err"], tail)


def entry_points(s):
    lines = encode_signature(s, "") + ["{", "    struct avow_enc e;"]
    lines += call("    avow_enc_start", ["&e", f"&avow_wire_{s.file}_schema", "out", "err"], ";")
    lines += [f"    encode_{s.file}(&e, v);", "    return avow_enc_finish(&e);", "}", ""]
    lines += decode_signature(s, "") + ["{", "    struct avow_dec d;", f"    struct avow_{s.file} v = {{0}};"]
    lines += call("    enum avow_rc rc = avow_dec_start", ["&d", f"&avow_wire_{s.file}_schema", "in", "arena", "err"], ";")
    lines += ["    if (rc)", "        return rc;", f"    decode_{s.file}(&d, &v);", "    rc = avow_dec_finish(&d);"]
    lines += ["    if (!rc)", "        *out = v;", "    return rc;", "}", ""]
    lines += print_signature(s, "") + ["{", f"    struct avow_{s.file} v;"]
    lines += call(f"    enum avow_rc rc = avow_{s.file}_decode", ["record", "arena", "&v", "err"], ";")
    lines += ["    if (rc)", "        return rc;", "    avow_js_open(j, NULL, '{');", f"    print_{s.file}(j, &v);"]
    return lines + ["    avow_js_close(j, '}');", "    return AVOW_OK;", "}"]


def shared_functions(names, common):
    records = [t for t in common if isinstance(t, sc.Record)]
    lines = []
    for r in records:
        lines += call(f"void {names('decode', r)}", ["struct avow_dec *d", f"struct {r.c} *v"], ";")
        lines += call(f"void {names('encode', r)}", ["struct avow_enc *e", f"const struct {r.c} *v"], ";")
        lines += call(f"void {names('print', r)}", ["struct avow_js *j", f"const struct {r.c} *v"], ";")
    return lines


def literal(text):
    """A C string, one literal per line of text, long lines cut."""
    lines = []
    for line in text.splitlines(keepends=True):
        for i in range(0, len(line), 80):
            piece = line[i:i + 80].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            while len(piece) > 92:  # many escapes: cut again, never inside one
                cut = 88 if piece[87] != "\\" else 87
                lines.append(f'    "{piece[:cut]}"')
                piece = piece[cut:]
            lines.append(f'    "{piece}"')
    return lines


def arrays_below(made):
    return any(isinstance(f.type, sc.Array) for r in sc.parts(made) if isinstance(r, sc.Record) for f in r.fields)


def needs(records):
    """Enumerators NEED_RECORD: most bytes that the arrays of a record take from the arena, as running sums."""
    lines = []
    for r in records:
        total = ""
        for f in r.fields:
            made = f.type.item if isinstance(f.type, sc.Optional) else f.type
            item = made.items if isinstance(made, sc.Array) else made
            terms = [total] if total else []
            if isinstance(made, sc.Array):
                terms.append(f"NEED({made.max_items}, {plain(item)})")
            if isinstance(item, sc.Union) and arrays_below(item):
                raise sc.SchemaError(f"{r.name}.{f.name}: arrays below a union are not counted")
            if isinstance(item, sc.Record) and arrays_below(item):
                each = f"NEED_{item.short.upper()}"
                terms.append(f"{made.max_items} * {each}" if isinstance(made, sc.Array) else each)
            if len(terms) > (1 if total else 0):
                total = f"NEED_{r.short.upper()}_{f.name.upper()}"
                one = f"    {total} = {' + '.join(terms)},"
                lines += [one] if len(one) <= 100 else [f"    {total} =", f"        {' + '.join(terms)},"]
        if total:
            lines.append(f"    NEED_{r.short.upper()} = {total},")
    return lines


def arena_bounds(schemas):
    """Proof at compile time that AVOW_WIRE_ARENA_MAX is enough for any record."""
    records = dict.fromkeys(t for s in schemas for t in sc.parts(s.record) if isinstance(t, sc.Record))
    lines = comment("Arrays that come in many blocks double: at most three times their size, in a few allocations.")
    lines += ["#define NEED(count, type) (3 * (count) * sizeof(type) + 160)", "enum {"] + needs(records) + ["};"]
    for s in schemas:
        if arrays_below(s.record):
            lines += [f'_Static_assert(NEED_{s.file.upper()} <= AVOW_WIRE_ARENA_MAX, "{s.file}");']
    return lines + [""]


def tables(schemas):
    lines = comment("C17 promises 4095 characters in a literal; gcc and clang have no limit.")
    lines += ['#pragma GCC diagnostic ignored "-Woverlength-strings"', ""]
    for s in schemas:
        text = literal(s.text)
        lines += [f"static const char {s.file}_text[] ="] + text[:-1] + [text[-1] + ";", ""]
    lines += arena_bounds(schemas)
    for s in schemas:
        lines += [f"const struct avow_wire_schema avow_wire_{s.file}_schema = {{", f'    .name = "{sc.NAMESPACE}.{s.record.name}",']
        lines += [f'    .record = "{s.file}",', f"    .fingerprint = 0x{s.fingerprint:016x}u,", f"    .max_value = {s.max_value},"]
        lines += [f"    .json = {s.file}_text,", "};", ""]
    lines += ["const struct avow_wire_codec avow_wire_codecs[] = {"]
    lines += [f"    {{&avow_wire_{s.file}_schema, avow_{s.file}_print}}," for s in schemas] + ["};"]
    lines += ["const size_t avow_wire_codecs_count = AVOW_ARRAY_LEN(avow_wire_codecs);", ""]
    lines += ["const struct avow_wire_schema *const *avow_wire_schemas(size_t *n)", "{"]
    lines += ["    static const struct avow_wire_schema *const every[] = {"]
    lines += ["#define X(name) &avow_wire_##name##_schema,", "        AVOW_WIRE_RECORDS(X)", "#undef X", "    };"]
    return lines + ["    *n = AVOW_ARRAY_LEN(every);", "    return every;", "}"]


def guard(name):
    return f"AVOW_WIRE_{name.upper()}_H"


def generate(schemas, common):
    out = {}
    names = Names(common)
    for s in schemas:
        origin = f"schemas/{s.file}.avsc"
        smallest, largest = s.record.sizes()
        sizes = f"{smallest + sc.FRAME_LEN} to {min(largest + sc.FRAME_LEN, s.max_value)} bytes"
        if largest + sc.FRAME_LEN > s.max_value:
            sizes += f" (its fields at their caps would be {largest + sc.FRAME_LEN}: leave room)"
        body = [f"extern const struct avow_wire_schema avow_wire_{s.file}_schema;", ""]
        body += comment(f"{sizes}. Errors and ownership: wire.h.")
        body += encode_signature(s, " AVOW_MUST_CHECK;") + decode_signature(s, " AVOW_MUST_CHECK;")
        out[f"lib/wire/avow/wire/{s.file}.h"] = header(
            origin, guard(s.file), f"{s.file}.h - codec of {s.record.name}. Layer: wire. Pure; thread-safe.",
            [f"avow/model/{s.file}.h", "avow/wire/wire.h"], body)
        out[f"lib/wire/src/{s.file}.c"] = source(
            origin, [f"avow/wire/{s.file}.h", "codecs.h"], define(names, s.own) + entry_points(s))
    every = ["#define AVOW_WIRE_RECORDS(X) \\"] + [f"    X({s.file}) \\" for s in schemas]
    width = 99
    every = [line[:-2].ljust(width) + "\\" for line in every]
    every[-1] = every[-1][:-1].rstrip()
    out["lib/wire/avow/wire/all.h"] = header(
        "schemas/", guard("all"), "all.h - every codec, and their names as a list. Layer: wire.",
        [f"avow/wire/{s.file}.h" for s in schemas], every)
    private = shared_functions(names, common)
    for s in schemas:
        private += print_signature(s, ";")
    out["lib/wire/src/codecs.h"] = header(
        "schemas/", guard("codecs"), "codecs.h - what the generated sources share. Layer: wire. Private to lib/wire.",
        ["avow/model/common.h", "wire_rt.h"], private)
    out["lib/wire/src/common.c"] = source("schemas/", ["codecs.h"], define(names, common)[:-1])
    out["lib/wire/src/schemas.c"] = source("schemas/", ["avow/wire/all.h", "codecs.h"], tables(schemas))
    return out
