"""SHA-256 of files: what tells a damaged or edited file from the one that was meant."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO


def sha256(file: str | Path | BinaryIO) -> str:
    """Hexadecimal SHA-256 of a file's contents; an open file is read from where it stands to its end."""
    if isinstance(file, str | Path):
        with open(file, "rb") as content:
            return sha256(content)
    return hashlib.file_digest(file, "sha256").hexdigest()
