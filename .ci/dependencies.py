"""Compares the tables of DEPENDENCIES.md with the direct dependencies of Cargo.toml, both ways, and their features."""

import json
import re
import subprocess
import sys
from pathlib import Path

metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, stdout=subprocess.PIPE
    ).stdout
)
(package,) = metadata["packages"]

# What stands in the manifest: each dependency with the features that switch it on.
normal, dev = {}, {}
for dependency in package["dependencies"]:
    name = dependency["name"]
    if dependency["kind"] == "dev":
        dev[name] = set()
    else:
        normal[name] = {
            feature
            for feature, switched_on in package["features"].items()
            if dependency["optional"] and f"dep:{name}" in switched_on
        }

# What stands in the tables: a row may be for several crates, each in backquotes.
users, _providers, tests = Path("DEPENDENCIES.md").read_text().split("\n## ")[1:]
wrong = []


def rows(table):
    """The cells of each row below the table's head."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines[2:]]


def compare(table, dependencies, with_features):
    written = {}
    for cells in rows(table):
        for name in re.findall(r"`([^`]+)`", cells[0]):
            if name in written:
                wrong.append(f"two rows: {name}")
            written[name] = set(re.findall(r"`([^`]+)`", cells[1])) if with_features else set()
        if not all(cells[2:-1] if with_features else cells[1:]):
            wrong.append(f"an empty cell: {cells[0]}")
    wrong.extend(f"no row: {name}" for name in dependencies.keys() - written.keys())
    wrong.extend(f"a row, but no dependency: {name}" for name in written.keys() - dependencies.keys())
    wrong.extend(
        f"{name}: features {sorted(written[name])} in its row, {sorted(dependencies[name])} in Cargo.toml"
        for name in dependencies.keys() & written.keys()
        if written[name] != dependencies[name]
    )


compare(users, normal, with_features=True)
compare(tests, dev, with_features=False)
print(f"{len(normal)} dependencies, and {len(dev)} of tests, examples and benches")
if wrong:
    sys.exit("DEPENDENCIES.md:\n" + "\n".join(sorted(wrong)))
