"""Text to work on: the language manual that every Python carries, or a file of yours."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

#: A paragraph of the manual with fewer characters is a heading or a line of code.
SHORTEST = 80
#: Paragraphs of a file that make a section.
SECTION = 16


@dataclass(frozen=True)
class Section:
    title: str
    paragraphs: list[str]


def manual(*, least: int = 1000) -> list[Section]:
    """The help texts of `pydoc`, section by section, until there are enough paragraphs."""
    seen: set[str] = set()
    sections = []
    for title, text in topics.items():
        long = dict.fromkeys(words for words in _paragraphs(text) if len(words) >= SHORTEST)
        paragraphs = [words for words in long if words not in seen]
        seen.update(paragraphs)
        if paragraphs:
            sections.append(Section(title, paragraphs))
        if len(seen) >= least:
            break
    return sections


def read(path: Path) -> list[Section]:
    """A file's text: the rows of a .csv, the lines of a .jsonl, the paragraphs of anything else."""
    paragraphs = [paragraph for paragraph in _READERS.get(path.suffix, _plain)(path) if paragraph]
    if not paragraphs:
        raise ValueError(f"{path} holds no text")
    return [
        Section(f"{path.name}, from {start + 1}", paragraphs[start : start + SECTION])
        for start in range(0, len(paragraphs), SECTION)
    ]


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        yield " ".join(paragraph.split())


def _plain(path: Path) -> Iterable[str]:
    return _paragraphs(path.read_text(encoding="utf-8", errors="replace"))


def _csv(path: Path) -> Iterator[str]:
    """The column `text`, or each row as a whole."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["text"] if "text" in row else ", ".join(map(str, row.values()))


def _jsonl(path: Path) -> Iterator[str]:
    """The field `text`, or each line as a whole."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                value = json.loads(line)
                text = value.get("text") if isinstance(value, dict) else value
                yield text if isinstance(text, str) else line.strip()


_READERS = {".csv": _csv, ".jsonl": _jsonl}
