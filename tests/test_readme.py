"""The READMEs say what is there: every file once, links and commands that exist, in short sentences."""

from __future__ import annotations

import re
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("spaces", "storage", "workers", "search", "fpga", "dashboards")
READMES = ("README.md", *(f"{folder}/README.md" for folder in FOLDERS))
MAX_LINES = 150
MAX_LINE_LENGTH = 120
MAX_MEDIAN_WORDS = 20


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def prose_lines(text: str) -> list[str]:
    """Neither code nor tables; of a link its words alone."""
    lines = [line for line in without_code(text).splitlines() if not line.startswith("|")]
    return [re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line) for line in lines]


def list_sentences(text: str) -> list[str]:
    """Of all paragraphs and items of lists; a colon in front of a list or of code ends one, too."""
    lines = [re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n\n", line) for line in prose_lines(text) if not line.startswith("#")]
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    sentences = (sentence for paragraph in paragraphs for sentence in re.split(r"(?<=[.!?])\**\s+", paragraph.strip()))
    return [sentence for sentence in sentences if sentence]


def list_links(name: str) -> list[tuple[str, str]]:
    """Path and section of each link within the project; one of the two may be empty."""
    return re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", without_code(read(name)))


def list_anchors(readme: Path) -> list[str]:
    """The sections, as links name them."""
    headings = re.findall(r"^#+ (.+)$", without_code(readme.read_text(encoding="utf-8")), re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def listed_files(name: str) -> list[str]:
    """The files below the README's folder that its section Files names: `search/loop.py    what it knows`."""
    _, heading, section = read(name).partition("\n## Files\n")
    assert heading, f"{name} has no section Files"
    return re.findall(r"^(\S+/\S+) {2,}\S.*$", section, re.M)


def tracked_files(folder: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return [name for name in names if Path(name).name not in ("__init__.py", "README.md") and (ROOT / name).exists()]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_has_one_line_in_its_folders_readme(folder: str) -> None:
    files = tracked_files(folder)
    assert len(files) > 5
    assert sorted(listed_files(f"{folder}/README.md")) == sorted(files)


def test_links_and_pictures_exist() -> None:
    targets = [(ROOT / name).parent / target for name in READMES for target, _ in list_links(name)]
    assert len(targets) > 20
    assert [target for target in targets if not target.exists()] == []


def test_links_to_sections_lead_to_one() -> None:
    links = [
        ((ROOT / name).parent / (target or Path(name).name), anchor)
        for name in READMES
        for target, anchor in list_links(name)
        if anchor
    ]
    assert links
    assert [(readme, anchor) for readme, anchor in links if anchor not in list_anchors(readme)] == []


@pytest.mark.parametrize("name", READMES)
def test_commands_exist(name: str) -> None:
    modules = set(re.findall(r"python\s+-m\s+([a-z_.]+[a-z])", read(name))) - {"pytest"}
    assert modules
    assert [module for module in modules if not any((ROOT / path).is_file() for path in list_sources(module))] == []


def list_sources(module: str) -> tuple[str, str]:
    """Where `python -m` looks for it."""
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__main__.py"


def test_readme_names_the_makefiles_targets() -> None:
    targets = set(re.findall(r"\bmake ([a-z]+)\b", "".join(re.findall(r"`[^`]+`|^make .*$", read("README.md"), re.M))))
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert phony
    assert {"run", "test"} <= targets <= set(phony[1].split())


def test_functions_that_the_readme_names_exist() -> None:
    calls = re.search(r"^One trial, as calls:\n\n```\n(.*?)^```$", read("README.md"), re.M | re.S)
    assert calls
    names = re.findall(r"(?<![\w/])[a-z]+(?:_[a-z]+)+\b(?!\.py)", calls[1])
    names += re.findall(r"`(_?[a-z]+(?:_[a-z]+)+)`", read("README.md"))
    assert len(names) > 20
    sources = "".join(path.read_text(encoding="utf-8") for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    assert [name for name in names if f"def {name}(" not in sources] == []


def test_main_readme_is_one_page() -> None:
    assert len(read("README.md").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", READMES)
def test_lines_of_prose_are_short(name: str) -> None:
    assert [line for line in prose_lines(read(name)) if len(line) > MAX_LINE_LENGTH] == []


def test_sentences_are_short() -> None:
    lengths = [len(sentence.split()) for name in READMES for sentence in list_sentences(read(name))]
    assert len(lengths) > 100
    assert statistics.median(lengths) <= MAX_MEDIAN_WORDS
