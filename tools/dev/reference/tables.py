"""The tables of docs/FINDINGS.md and docs/FORMATS.md: each function reads the code's one table and returns rows."""

import re
from pathlib import Path

from . import source

FINDINGS = "lib/core/avow/core/findings.h"
EVENTS = "lib/formats/avow/formats/event_log.h"
EVENT_LOG = "lib/formats/src/event_log.c"
BINDING = "lib/core/src/event_binding.c"
BOOT_RULES = "lib/core/src/boot_rules.h"
SIGLIST = "lib/formats/avow/formats/efi_siglist.h"
IMA_FIELDS = "lib/formats/src/ima_fields.c"
DIGEST_H = "lib/crypto/avow/crypto/digest.h"
DIGEST_C = "lib/crypto/src/digest.c"
KEY = "lib/crypto/avow/crypto/key.h"
IMA_KEY = "lib/crypto/src/ima_key.c"
PUBLIC = "lib/formats/avow/formats/tpm_public.h"
COMMON = "lib/model/avow/model/common.h"
DROPS = "tools/dev/reference/drop_reasons.tsv"

# What the names in the code's tables mean, in words. A name that is not here is an error.
FORMS = {
    "WHOLE": "the data",
    "TEXT": "the data without the NUL at its end",
    "VALUE": "the variable's value",
    "PREFIX": "the text behind the first `: `",
    "NARROW": "the characters as ASCII, with a NUL",
    "TAGGED": "the data of the tagged event",
}
OTHERWISE = {
    "AVOW_EVENT_MISMATCH": "mismatch",
    "AVOW_EVENT_UNBOUND": "unbound",
    "AVOW_EVENT_NOT_APPLICABLE": "not applicable",
}
SHOWN = {
    "AVOW_IMA_SHOW_DIGEST": "hex",
    "AVOW_IMA_SHOW_DIGEST_ALG": "`sha256:` and hex",
    "AVOW_IMA_SHOW_DIGEST_TYPED": "`ima:sha256:` or `verity:sha256:` and hex",
    "AVOW_IMA_SHOW_STRING": "text",
    "AVOW_IMA_SHOW_HEX": "hex",
    "AVOW_IMA_SHOW_UINT": "decimal",
}


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    for row in rows:
        if len(row) != len(head):
            raise source.SourceError(f"row of {len(row)} cells under {len(head)}: {row}")
    cells = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in [head] + rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + "---|" * len(head)] + lines[1:]


def word(names: dict[str, str], name: str) -> str:
    if name not in names:
        raise source.SourceError(f"{name} has no words in tools/dev/reference/tables.py")
    return names[name]


def spaced(n: int) -> str:
    """1 024, 65 536; whole millions in words."""
    if n > 1000000 and n % 1000000 == 0:
        return f"{n // 1000000} million"
    return f"{n:,}".replace(",", " ")


def read_tsv(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def findings(root: Path, _constants) -> list[str]:
    rows = []
    for _, ident, severity, keylime, text in source.macro_rows(root / FINDINGS, "AVOW_FINDING_MAP"):
        rows.append(
            [f"`{source.string(ident)}`", source.string(severity), source.string(keylime) or "-", source.string(text)]
        )
    return table(["id", "severity", "Keylime's event id", "meaning"], rows)


def given_reasons(root: Path) -> set[str]:
    """Drop reasons that the programs give: those that more than the generated code names."""
    found = set()
    for folder in ("lib/core", "lib/trust", "verifier-workers"):
        for path in sorted((root / folder).rglob("*.c")):
            found.update(re.findall(r"\bAVOW_DROP_REASON_(\w+)", source.text_of(path)))
    return {name.lower() for name in found}


def drop_reasons(root: Path, _constants) -> list[str]:
    names = [n.removeprefix("AVOW_DROP_REASON_").lower() for n, _ in source.enumerators(root / COMMON, "avow_drop_reason")]
    given = given_reasons(root)
    rows = read_tsv(root / DROPS)
    if [row[0] for row in rows] != names:
        raise source.SourceError(f"{DROPS} must have these rows: {', '.join(names)}")
    for name, text in rows:
        if (text == "-") != (name not in given):
            raise source.SourceError(f"{DROPS}: {name} is {'given' if name in given else 'not given'} by the programs")
    words = {"-": "not given by this version"}
    return table(["reason", "why a record was dropped"], [[f"`{name}`", words.get(text, text)] for name, text in rows])


def binding_rules(root: Path) -> dict[str, tuple[list[str], str]]:
    rules = {}
    for kind, forms, otherwise in source.array_rows(root / BINDING, "rules"):
        words = [w for w in forms if w != "|"]
        rules[kind[0]] = ([] if words == ["0"] else words, otherwise[0])
    return rules


def event_types(root: Path, _constants) -> list[str]:
    rules = binding_rules(root)
    rows = []
    for name, value in source.macro_rows(root / EVENTS, "AVOW_EVENT_TYPE_MAP"):
        forms, otherwise = rules.pop(f"AVOW_EV_{name[0]}", (["WHOLE"], "AVOW_EVENT_UNBOUND"))
        measured = "; ".join(word(FORMS, f) for f in forms) or "something that is not in the log"
        rows.append([f"`{source.number(value):#010x}`", f"`EV_{name[0]}`", measured, word(OTHERWISE, otherwise)])
    if rules:
        raise source.SourceError(f"{BINDING}: rules for no type: {', '.join(rules)}")
    return table(["value", "type", "what may have been measured", "if it was none of it"], rows)


def guid(raw: str) -> str:
    b = raw.encode("latin-1")
    if len(b) != 16:
        raise source.SourceError(f"a GUID of {len(b)} bytes")
    parts = (b[3::-1], b[5:3:-1], b[7:5:-1], b[8:10], b[10:])
    return "-".join(p.hex() for p in parts)


def signature_lists(root: Path, _constants) -> list[str]:
    rows = []
    for _, text, raw in source.macro_rows(root / SIGLIST, "AVOW_EFI_SIG_MAP"):
        rows.append([f"`{source.string(text)}`", f"`{guid(source.string(raw))}`"])
    return table(["kind", "type of the list"], rows)


def key_variables(root: Path, constants) -> list[str]:
    rows = []
    for _, name, where in source.macro_rows(root / BOOT_RULES, "AVOW_BOOT_KEY_MAP"):
        raw = source.tokens(constants.defined[where[0]][BOOT_RULES])
        rows.append([f"`{source.string(name)}`", f"`{guid(source.string(raw))}`"])
    return table(["variable", "GUID"], rows)


def ima_fields(root: Path, constants) -> list[str]:
    rows = []
    for ident, show, most, _ in source.array_rows(root / IMA_FIELDS, "fields"):
        limit = constants.value(most, IMA_FIELDS)
        exact = "exactly " if show[0] == "AVOW_IMA_SHOW_UINT" else ""
        rows.append([f"`{source.string(ident)}`", word(SHOWN, show[0]), f"{exact}{spaced(limit)}"])
    return table(["field", "in the text view", "bytes, at most"], rows)


def ima_templates(root: Path, _constants) -> list[str]:
    path = root / IMA_FIELDS
    text = source.text_of(path)
    names = dict(re.findall(r'\[(FIELD_\w+)\] = \{"([^"]+)"', text))
    rows = []
    for name, count, fields in source.array_rows(path, "templates"):
        listed = [names[f[0]] for f in source.split(fields, 0)[0]]
        if len(listed) != source.number(count):
            raise source.SourceError(f"{IMA_FIELDS}: {source.string(name)} counts its fields wrongly")
        rows.append([f"`{source.string(name)}`", " ".join(f"`{f}`" for f in listed)])
    return table(["template", "fields"], rows)


def hashes(root: Path, _constants) -> list[str]:
    ids = {n: source.number(v) for n, v in source.enumerators(root / DIGEST_H, "avow_hash")}
    kernel = {alg[0]: source.number(n) for n, alg in source.array_rows(root / IMA_KEY, "known")}
    lengths = {source.number(n): source.number(size) for n, size in source.array_rows(root / EVENT_LOG, "known")}
    rows = []
    for alg, size, name, _ in source.array_rows(root / DIGEST_C, "HASHES"):
        n = ids[alg[0]]
        if lengths.get(n) != source.number(size):
            raise source.SourceError(f"{EVENT_LOG} and {DIGEST_C} differ on {source.string(name)}")
        rows.append([f"`{source.string(name)}`", f"`{n:#06x}`", str(source.number(size)), str(kernel[alg[0]])])
    return table(["hash", "TPM_ALG_ID", "bytes", "number in a file's signature"], rows)


def log_digests(root: Path, _constants) -> list[str]:
    known = {source.number(v) for _, v in source.enumerators(root / DIGEST_H, "avow_hash")}
    text = (root / EVENT_LOG).read_text(encoding="utf-8")
    names = {int(n, 16): label for n, label in re.findall(r"\{(0x[0-9A-Fa-f]{4}), \d+\}, /\* (\S+) \*/", text)}
    rows = []
    for n, size in source.array_rows(root / EVENT_LOG, "known"):
        value = source.number(n)
        judged = "replayed" if value in known else "length checked"
        rows.append([names[value], f"`{value:#06x}`", str(source.number(size)), judged])
    return table(["digest in a firmware log", "TPM_ALG_ID", "bytes", "use"], rows)


def signatures(root: Path, _constants) -> list[str]:
    ids = {n: source.number(v) for n, v in source.enumerators(root / KEY, "avow_sig_scheme")}
    text = source.text_of(root / PUBLIC)
    rows = []
    for name, value in ids.items():
        short = name.removeprefix("AVOW_SIG_")
        other = re.search(rf"\bAVOW_TPM_ALG_{short} = (\w+)", text)
        if not other or int(other[1], 0) != value:
            raise source.SourceError(f"{PUBLIC} and {KEY} differ on {short}")
        rows.append([f"`{short.lower()}`", f"`{value:#06x}`"])
    return table(["scheme of a TPM's signature", "TPM_ALG_ID"], rows)


# In which page a table stands, and what makes it.
TABLES = {
    "findings": ("docs/FINDINGS.md", findings),
    "drop-reasons": ("docs/FINDINGS.md", drop_reasons),
    "event-types": ("docs/FORMATS.md", event_types),
    "signature-lists": ("docs/FORMATS.md", signature_lists),
    "key-variables": ("docs/FORMATS.md", key_variables),
    "ima-fields": ("docs/FORMATS.md", ima_fields),
    "ima-templates": ("docs/FORMATS.md", ima_templates),
    "hashes": ("docs/FORMATS.md", hashes),
    "log-digests": ("docs/FORMATS.md", log_digests),
    "signatures": ("docs/FORMATS.md", signatures),
}
