"""Reads tables and constants out of C text: as much C as our tables use, and an error for anything else."""

import ast
import operator
import re
from pathlib import Path

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|0[xX][0-9A-Fa-f]+\w*|\d\w*|\w+|<<|>>|\.\.\.|\S')
COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|/\*.*?\*/|//[^\n]*', re.S)
FOLDERS = ("lib", "agent", "registrar", "verifier-workers", "tools")
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}


class SourceError(Exception):
    """A table that is not there, or not in a form that we read."""


def text_of(path: Path) -> str:
    """Without comments and continued lines."""
    text = COMMENT.sub(lambda m: m[1] or " ", path.read_text(encoding="utf-8"))
    return text.replace("\\\n", " ")


def tokens(text: str) -> list[str]:
    return TOKEN.findall(text)


def string(words: list[str]) -> str | None:
    """The value of adjacent string literals; None for NULL. Our tables hold no escapes but hex ones."""
    if words == ["NULL"]:
        return None
    if not words or any(not w.startswith('"') for w in words):
        raise SourceError(f"no string: {' '.join(words)}")
    text = "".join(w[1:-1] for w in words)
    return re.sub(r"\\x([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), text)


def number(words: list[str]) -> int:
    if len(words) == 3 and words[0] == "(" and words[2] == ")":
        words = words[1:2]
    match = re.fullmatch(r"(0[xX][0-9A-Fa-f]+|\d+)[uUlL]*", words[0]) if len(words) == 1 else None
    if not match:
        raise SourceError(f"no number: {' '.join(words)}")
    return int(match[1], 0)


CLOSING = {"(": ")", "{": "}", "[": "]"}


def split(words: list[str], start: int) -> tuple[list[list[str]], int]:
    """Comma-separated parts of the bracket that opens at `start`, and the index behind it."""
    parts, current, stack = [], [], []
    for i in range(start, len(words)):
        word = words[i]
        if word in CLOSING:
            stack.append(CLOSING[word])
            if len(stack) == 1:
                continue
        elif stack and word == stack[-1]:
            stack.pop()
            if not stack:
                return parts + ([current] if current else []), i + 1
        if word == "," and len(stack) == 1:
            parts.append(current)
            current = []
        else:
            current.append(word)
    raise SourceError("a bracket is not closed")


def macro_rows(path: Path, name: str) -> list[list[list[str]]]:
    """Arguments of each X(...) in the body of `#define NAME(X)`."""
    match = re.search(rf"^#define {name}\(X\)(.*)$", text_of(path), re.M)
    if not match:
        raise SourceError(f"{path.name}: no table {name}")
    words, rows, at = tokens(match[1]), [], 0
    while at < len(words):
        if words[at] != "X":
            raise SourceError(f"{path.name}: {name} has {words[at]} between its rows")
        row, at = split(words, at + 1)
        rows.append(row)
    return rows


def array_rows(path: Path, name: str) -> list[list[list[str]]]:
    """Members of each {...} in `NAME[] = {...}`, without designators."""
    match = re.search(rf"\b{name}\[\w*\] = (?={{)", text_of(path))
    if not match:
        raise SourceError(f"{path.name}: no table {name}")
    items, _ = split(tokens(text_of(path)[match.end() :]), 0)
    rows = []
    for item in items:
        if item[0] == "[":
            item = item[item.index("=") + 1 :]
        if item[0] != "{":
            raise SourceError(f"{path.name}: a row of {name} begins with {item[0]}")
        rows.append(split(item, 0)[0])
    return rows


def enumerators(path: Path, name: str) -> list[tuple[str, list[str]]]:
    """(name, value or nothing) of each enumerator of `enum NAME {...}`."""
    match = re.search(rf"\benum {name} (?={{)", text_of(path))
    if not match:
        raise SourceError(f"{path.name}: no enum {name}")
    items, _ = split(tokens(text_of(path)[match.end() :]), 0)
    return [(item[0], item[2:]) for item in items]


class Constants:
    """Every object-like macro of the programs and libraries that is a number."""

    def __init__(self, root: Path):
        self.root = root
        self.defined: dict[str, dict[str, str]] = {}  # name: {file: expression}
        for folder in FOLDERS:
            for path in sorted((root / folder).rglob("*.[ch]")):
                file = path.relative_to(root).as_posix()
                for match in re.finditer(r"^#define (\w+)[ \t]+(\S.*)$", text_of(path), re.M):
                    self.defined.setdefault(match[1], {})[file] = match[2]

    def find(self, name: str, file: str | None = None) -> tuple[int, list[str]]:
        """Value, and the files that define it. Files that disagree need `file`."""
        places = self.defined.get(name, {})
        if file:
            places = {file: places[file]} if file in places else {}
        if not places:
            raise SourceError(f"no constant {name}" + (f" in {file}" if file else ""))
        values = {where: self._value(text, where) for where, text in places.items()}
        if len(set(values.values())) > 1:
            raise SourceError(f"{name} has several values: say {name}@FILE, of {', '.join(values)}")
        return next(iter(values.values())), list(values)

    def value(self, words: list[str], file: str) -> int:
        """Of an expression in `file`."""
        return self._value(" ".join(words), file)

    def _value(self, text: str, file: str) -> int:
        plain = re.sub(r"\b(0[xX][0-9A-Fa-f]+|\d+)[uUlL]+\b", r"\1", text)
        try:
            return self._eval(ast.parse(plain.strip(), mode="eval").body, file)
        except SyntaxError as e:
            raise SourceError(f"{file}: cannot read {text}") from e

    def _eval(self, node: ast.AST, file: str) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name):
            here = file if file in self.defined.get(node.id, {}) else None
            return self.find(node.id, here)[0]
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](self._eval(node.left, file), self._eval(node.right, file))
        raise SourceError(f"{file}: cannot read {ast.unparse(node)}")
