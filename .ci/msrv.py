"""Reads `cargo metadata` and fails if a crate that users build declares a newer minimum Rust version than ours."""

import json
import sys


def version(text):
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


ours = version(sys.argv[1])
metadata = json.load(sys.stdin)
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

# From our crate down, leaving out what only tests, examples and benches need.
seen, todo = set(), [metadata["resolve"]["root"]]
while todo:
    package = todo.pop()
    if package in seen:
        continue
    seen.add(package)
    for dependency in nodes[package]["deps"]:
        if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
            todo.append(dependency["pkg"])

newer = [
    f"{package['name']} {package['version']} needs Rust {package['rust_version']}"
    for package in metadata["packages"]
    if package["id"] in seen
    and package["rust_version"]
    and version(package["rust_version"]) > ours
]
print(f"{len(seen)} crates looked at")
if newer:
    sys.exit("\n".join(newer))
