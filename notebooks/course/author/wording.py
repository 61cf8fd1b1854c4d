"""Lint rules on what cells say: names that are gone, paths, tokens, remote pictures, and words in prose."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from .form import Found
from .notebook import Page, code_cells, named_cells, parse, tags

REMOVED = {
    "trust_remote_code": "datasets has no scripts any more, and the course runs no model's own code",
    "evaluation_strategy": "it is eval_strategy",
    "warmup_ratio": "it is warmup_steps",
    "batch_encode_plus": "call the tokenizer itself",
    "encode_plus": "call the tokenizer itself",
}
SHOWN = "shows-removed-name"
WORDS = re.compile(r"\b(simply|just|obviously|easy|simple)\b(?!-)", re.IGNORECASE)
PLACES = re.compile(
    r"(?<![\w.~}</:-])/(home|Users|root|tmp|content|mnt|opt|var|usr|work|workspace|kaggle)\b"
    r"|(?<!\w)[A-Z]:\\+(Users|Documents|Program|Temp|Data)",
)
ROOTED = re.compile(r"^/[\w.-]+/[\w./-]*$")
TOKENS = re.compile(r"\b(hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|sk-[\w-]{20,})")
REMOTE = re.compile(
    r"!\[[^\]]*\]\(\s*<?https?:|<img[^>]*\bsrc\s*=\s*\W?https?:|\bImage\(\s*(url\s*=\s*)?[\"']https?:"
)
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
LOOSE = re.compile(r"\bpip3?\s+install\b[^\n\"']*\s[\w.\[\]-]+\s*[<>]")


def words(page: Page) -> Found:
    for name, cell in named_cells(page.notebook):
        if cell["cell_type"] == "markdown":
            for word in WORDS.findall(prose(cell["source"])):
                yield name, f"the word {word.lower()!r} in prose", "say what it is; leave the word out"


def prose(text: str) -> str:
    """Markdown without what is quoted: code, formulas, targets of links, block quotes, text in quotes."""
    text = re.sub(r"^(```|~~~).*?^\1", " ", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\s*>.*$", " ", text, flags=re.MULTILINE)
    text = re.sub(
        r"`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|\]\([^)]*\)|</?[A-Za-z][^>]*>", " ", text, flags=re.DOTALL
    )
    return re.sub(r"“[^”]*”|\"[^\"\n]*\"", " ", text)


def fetched(page: Page) -> Found:
    """What is true on one machine or in one run only, asks the network, or gives a secret away."""
    for name, cell in named_cells(page.notebook):
        source, shown = cell["source"], "\n".join(printed(cell))
        for token in TOKENS.findall(source + "\n" + shown):
            yield name, f"a token ({token[:6]}…)", "revoke it, and take it out of the history too"
        if REMOTE.search(source) or REMOTE.search(shown):
            yield name, "a picture from the network", "draw it in a cell: the notebook is read offline"
        if LOOSE.search(source):
            yield name, "pip install with an unquoted specifier", 'quote it: pip install "x>=1"'
        if ADDRESS.search(shown):
            yield name, "a memory address in an output, another in every run", "print what the object holds"
        places = [found.group(0) for found in PLACES.finditer(shown)]
        if cell["cell_type"] == "code":
            places += [found.group(0) for found in PLACES.finditer(source)]
            places += [path for path in rooted(cell) if not PLACES.match(path)]
        for place in dict.fromkeys(places):
            yield name, f"an absolute path ({place})", "name it relative to notebooks/"


def names(page: Page) -> Found:
    for name, cell in code_cells(page.notebook):
        tree = parse(cell)
        if tree is None:
            yield name, "the code does not parse", "mend it, or keep it in a string"
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "cuda"
            ):
                yield name, "a bare .cuda()", "use .to(lab.device)"
        if SHOWN in tags(cell):
            continue
        for gone, remedy in dict.fromkeys(removed(tree)):
            yield name, f"{gone}, which is gone", f"{remedy}; to show it on purpose tag the cell {SHOWN}"


def removed(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name, remedy) for what transformers 5 and datasets 4 no longer have."""
    for node in ast.walk(tree):
        for said in _said(node):
            if said in REMOVED:
                yield said, REMOVED[said]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "transformers":
            adam = any(alias.name == "AdamW" for alias in node.names)
        else:
            adam = isinstance(node, ast.Attribute) and ast.unparse(node) == "transformers.AdamW"
        if adam:
            yield "transformers.AdamW", "it is torch.optim.AdamW"
        passed = [keyword.arg for keyword in node.keywords] if isinstance(node, ast.Call) else []
        if "tokenizer" in passed and ast.unparse(node.func).endswith("Trainer"):
            yield "Trainer(tokenizer=)", "it is processing_class="


def _said(node: ast.AST) -> Iterator[str | None]:
    """The names in a node: read, called, passed, imported, or a key of a dict that becomes keywords."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.keyword):
        yield node.arg
    elif isinstance(node, ast.Dict):
        yield from (key.value for key in node.keys if isinstance(key, ast.Constant))


def rooted(cell: NotebookNode) -> Iterator[str]:
    """String literals that are absolute paths; a later piece of an f-string is not one."""
    tree = parse(cell)
    if tree is None:
        return
    later = {
        id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values[1:]
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in later:
            yield from ROOTED.findall(node.value)


def printed(cell: NotebookNode) -> Iterator[str]:
    """The texts among a cell's outputs."""
    for output in cell.get("outputs", []):
        yield "".join(output.get("text", ""))
        for kind, content in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield "".join(content)


RULES = (words, fetched, names)
