"""Checks that imports point one way: from a room to those below it, and within a room in no circle of files.

The rooms are the folders and files of `src`, from top to bottom. A file may import its own room and any below. Within a room no
files import each other in a circle, but for a module and its own children. What counts are `use` declarations and paths that
begin with `crate::` or `super::`; comments, unit tests and the model checker's code do not.
"""

import re
import sys
from pathlib import Path

# From top to bottom. Rooms of one line do not import each other.
ROOMS = [
    ["lib"],
    ["docs", "config", "ipxo", "test_util"],
    ["adapter"],
    ["dpop"],
    ["middleware", "shared"],
    ["client_credentials"],
    ["cache", "select", "replay", "unauthorized"],
    ["telemetry"],
    ["token"],
    ["error"],
    ["util"],
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
SRC = Path(__file__).parent.parent / "src"


def code_of(path):
    text = path.read_text()
    text = re.split(r"#\[cfg\((?:test|all\(test, not\(shuttle\)\))\)\]\n(?:#\[[^\n]*\n)*mod ", text)[0]
    text = re.sub(r"//[^\n]*", "", text)
    # What is there for the model checker alone.
    return re.sub(r"#\[cfg\(all\(test, shuttle\)\)\]\n[^;{]*(?:\{[^}]*\})?;", "", text)


def module_of(path):
    parts = list(path.relative_to(SRC).with_suffix("").parts)
    return tuple(parts[:-1] if parts[-1] == "mod" else parts)


def paths_in(code):
    """Each path that is imported or written out, as a tuple of its segments."""
    for tree in re.findall(r"\buse\s+((?:crate|super|self)::[^;]*);", code):
        yield from flatten(re.sub(r"\s+", "", tree))
    rest = re.sub(r"\buse\s[^;]*;", "", code)
    for path in re.findall(r"\b(?:crate|super)(?:::\w+)+", rest):
        yield tuple(path.split("::"))


def flatten(tree, prefix=()):
    head, brace, rest = tree.partition("{")
    if not brace:
        yield prefix + tuple(part for part in tree.split("::") if part)
        return
    prefix += tuple(part for part in head.split("::") if part)
    depth, part = 0, ""
    for letter in rest[:-1] + ",":
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            if part:
                yield from flatten(part, prefix)
            part = ""
        else:
            part += letter


def target_of(path, module, modules):
    """The file that a path leads to: the longest part of it that is a module."""
    base = list(module)
    path = list(path)
    if path[0] == "crate":
        base, path = [], path[1:]
    elif path[0] == "self":
        path = path[1:]
    while path and path[0] == "super":
        base, path = base[:-1], path[1:]
    found = tuple(base)
    for segment in path:
        if found + (segment,) not in modules:
            break
        found += (segment,)
    return found


def circles(graph):
    """One circle for each knot of files, as a list of them."""
    seen, found = set(), []

    def walk(node, trail):
        if node in trail:
            found.append(trail[trail.index(node):])
            return
        if node in seen:
            return
        for other in sorted(graph.get(node, ())):
            walk(other, [*trail, node])
        seen.add(node)

    for node in sorted(graph):
        walk(node, [])
    return found


def main():
    files = {module_of(path): path for path in sorted(SRC.rglob("*.rs"))}
    files = {module: path for module, path in files.items() if "shuttle" not in module}
    wrong, graph = [], {}
    for module, path in files.items():
        room = module[0] if module else "lib"
        if room not in LEVEL:
            wrong.append(f"src/{room}: no such room in .ci/layers.py; say there where it belongs")
            continue
        if room in ("lib", "docs"):
            continue
        for used in paths_in(code_of(path)):
            target = target_of(used, module, files)
            other = target[0] if target else "lib"
            name = "::".join(used)
            if other != room and LEVEL.get(other, 0) <= LEVEL[room]:
                wrong.append(f"{path.relative_to(SRC.parent)}: {name} points up or across, from {room} to {other}")
            is_family = target[: len(module)] == module or module[: len(target)] == target
            if other == room and not is_family:
                graph.setdefault(module, set()).add(target)
    for circle in circles(graph):
        names = " -> ".join("::".join(module) for module in [*circle, circle[0]])
        wrong.append(f"a circle of files: {names}")
    for line in dict.fromkeys(wrong):
        print(line, file=sys.stderr)
    print(f"{len(files)} files, {sum(map(len, graph.values()))} imports between files of one room")
    sys.exit(bool(wrong))


main()
