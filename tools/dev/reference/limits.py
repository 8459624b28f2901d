"""The tables of docs/LIMITS.md: sentences from limits.tsv, numbers from the code."""

import json
import re
from pathlib import Path

from . import source
from .tables import read_tsv, spaced, table

LIMITS = "tools/dev/reference/limits.tsv"
PAGE = "docs/LIMITS.md"
BRACES = re.compile(r"\{([^{}]*)\}")
OPTION = r'\{{"{section}", "{key}", \w+, "(\d+)",'
OPTION_TABLES = ("registrar/conf.c", "verifier-workers/conf.c", "agent/agent_conf.c")


def byte_count(n: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n % size == 0 and n >= size:
            return f"{n // size} {unit}"
    return f"{spaced(n)} bytes"


def duration(ms: int) -> str:
    for unit, size in (("h", 3600000), ("min", 60000), ("s", 1000)):
        if ms % size == 0 and ms >= size:
            return f"{ms // size} {unit}"
    return f"{spaced(ms)} ms"


UNITS = {"bytes": byte_count, "n": spaced, "ms": duration}


class Filler:
    """Replaces what stands in braces, and remembers where it found it."""

    def __init__(self, root: Path, constants: source.Constants):
        self.root = root
        self.constants = constants
        self.used: dict[tuple[str, str], str] = {}  # (name, files): value as it is shown

    def fill(self, text: str) -> str:
        bare = re.search(r"\d+", re.sub(r"`[^`]*`|\b[01]\b|\bR\d+\b", "", BRACES.sub("", text)))
        if bare:
            raise source.SourceError(f"{bare[0]} stands there by hand: name its constant, or write {{={bare[0]}}}")
        return BRACES.sub(self._one, text)

    def _one(self, match: re.Match) -> str:
        inner = match[1]
        if inner.startswith("="):
            return inner[1:]
        name, _, unit = inner.rpartition(":")
        if unit not in UNITS:
            raise source.SourceError(f"{{{inner}}} has no unit (:{', :'.join(UNITS)})")
        value, files, shown = self._value(name)
        text = UNITS[unit](value)
        self.used.setdefault((shown, ", ".join(f"`{file}`" for file in files)), text)
        return text

    def _value(self, name: str) -> tuple[int, list[str], str]:
        kind, _, rest = name.partition(" ")
        if kind == "schema":
            file = f"schemas/{rest}.avsc"
            return json.loads((self.root / file).read_text(encoding="utf-8"))["avow.max_value"], [file], "avow.max_value"
        if kind == "option":
            value, file = self._option(rest)
            return value, [file], rest
        plain, _, file = name.partition("@")
        value, files = self.constants.find(plain, file or None)
        return value, files, plain

    def _option(self, name: str) -> tuple[int, str]:
        section, _, key = name.partition(".")
        for file in OPTION_TABLES:
            path = self.root / file
            match = re.search(OPTION.format(section=section, key=key), source.text_of(path)) if path.exists() else None
            if match:
                return int(match[1]), file
        raise source.SourceError(f"no option {name}")


def filled(root: Path, constants: source.Constants) -> tuple[list[list[str]], Filler]:
    filler = Filler(root, constants)
    rows = []
    for what, *cells in read_tsv(root / LIMITS):
        try:
            rows.append([what] + [filler.fill(cell) for cell in cells])
        except source.SourceError as e:
            raise source.SourceError(f"{LIMITS}: {what}: {e}") from e
    return rows, filler


def limits(root: Path, constants: source.Constants) -> list[str]:
    return table(["what", "limit", "on excess"], filled(root, constants)[0])


def places(root: Path, constants: source.Constants) -> list[str]:
    _, filler = filled(root, constants)
    rows = [[f"`{name}`", text, files] for (name, files), text in sorted(filler.used.items())]
    return table(["constant, option or attribute", "value", "defined in"], rows)


TABLES = {"limits": (PAGE, limits), "places": (PAGE, places)}
