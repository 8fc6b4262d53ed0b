"""Checks of the guide what rustdoc does not: links to sections, and what the recipes say of themselves.

- A link such as `[x](super::providers::apis#zoom)` or `[x](#timeouts)` names a section that is there.
- Each recipe of `docs::providers` says which page it was checked against and when, or that it was not checked.
- The table of providers has a row for each recipe.
"""

import re
import sys
from pathlib import Path

SRC = Path(__file__).parent.parent / "src"
DOCS = SRC / "docs"
problems = []


def doc_of(path):
    """The file's documentation, with that of the files that it includes."""
    lines = []
    for line in path.read_text().splitlines():
        text = re.match(r"\s*//[/!] ?(.*)", line)
        row = re.match(r'\s*doc = "(.*)"$', line)
        included = re.match(r'#!\[doc = include_str!\("(.*\.md)"\)\]', line)
        if included:
            lines += (path.parent / included[1]).read_text().splitlines()
        elif text or row:
            lines.append((text or row)[1])
    return lines


def without_code(lines):
    is_code = False
    for line in lines:
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield line


def slug(heading):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().replace(" ", "-")
    return re.sub(r"[^\w-]", "", text)


def sections(path):
    headings = (re.match(r"#+ (.*)", line) for line in without_code(doc_of(path)))
    return {slug(it[1]) for it in headings if it}


def file_of(module):
    path = SRC.joinpath(*module)
    return path.with_suffix(".rs") if path.with_suffix(".rs").exists() else path / "mod.rs"


def module_of(path):
    parts = path.relative_to(SRC).with_suffix("").parts
    return [it for it in parts if it not in ("mod", "lib")]


def resolve(start, link):
    module = list(start)
    for part in filter(None, link.split("::")):
        if part == "super":
            module.pop()
        elif part == "crate":
            module = []
        elif part != "self":
            module.append(part)
    return module


def check_links():
    for path in [SRC / "lib.rs", *DOCS.rglob("*.rs")]:
        text = "\n".join(without_code(doc_of(path)))
        for link, section in re.findall(r"\]\(((?:\w|::)*)#([^)]*)\)", text):
            target = path if not link else file_of(resolve(module_of(path), link))
            if not target.exists() or section not in sections(target):
                problems.append(f"{path.relative_to(SRC.parent)}: no section for ({link}#{section})")


def check_recipes():
    table = "\n".join(doc_of(DOCS / "providers/mod.rs"))
    for path in sorted((DOCS / "providers").glob("*.rs")):
        if path.name == "mod.rs":
            continue
        module = path.stem
        if f"({module})" not in table and f"({module}#" not in table:
            problems.append(f"{path.name}: the table of providers does not lead there")
        recipes = re.split(r"(?m)^# ", "\n".join(without_code(doc_of(path))))[1:]
        for recipe in recipes:
            name = recipe.split("\n", 1)[0]
            if not re.search(r"\*Checked against\*[\s\S]*?\son\s20\d\d-\d\d-\d\d|[Nn]ot checked against", recipe):
                problems.append(f"{path.name}, {name}: it does not say what it was checked against, and when")
            if f"({module})" not in table and f"({module}#{slug(name)})" not in table:
                problems.append(f"{path.name}, {name}: the table of providers has no row for it")


check_links()
check_recipes()
if problems:
    sys.exit("\n".join(problems))
