#!/usr/bin/env python3
"""Makes of the figures in target/figures/ what the tree shows: tables in benches/README.md, and two drawings.

    benches/chart.py            all of it, of what is there

Each table stands in the README between two comments, `<!-- figures: NAME -->` and `<!-- end -->`, where NAME is a CSV's.
Drawings:

    benches/warm_request.svg          what each driver takes over the service alone
    benches/where_it_goes.svg         where the instructions that tower-bearer adds are spent
"""

import csv
import pathlib
import re
from xml.sax.saxutils import escape

TREE = pathlib.Path(__file__).resolve().parent.parent
FIGURES = TREE / "target" / "figures"
README = TREE / "benches" / "README.md"


def main():
    fill_in_the_readme()
    times = read("peers") or read("hot_path")
    if times:
        bars = [
            (row["driver"], float(row["ns over alone"]), f"{row['ns over alone']} ns", row["401 retry"] == "yes")
            for row in times
            if row["ns over alone"] != "–"
        ]
        draw(
            "warm_request.svg",
            "What a warm request takes over the service alone",
            "6 headers, 256 bytes of body, in memory, one run. Filled: retries after a 401. Less is better.",
            bars,
        )
    draw_where_it_goes()


def read(name):
    path = FIGURES / f"{name}.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# Tables


def fill_in_the_readme():
    text = README.read_text(encoding="utf-8")

    def table(match):
        name = match.group(1)
        path = FIGURES / f"{name}.csv"
        if not path.exists():
            print(f"{name}: no figures, left as it was")
            return match.group(0)
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file))
        lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"<!-- figures: {name} -->\n{body}\n<!-- end -->"

    text = re.sub(r"<!-- figures: (\w+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)
    README.write_text(text, encoding="utf-8")


# Where the instructions go


def draw_where_it_goes():
    """By source file, as the lines say that were inlined: functions would not do, for most of them are inlined."""
    profiles = {
        (driver, which): FIGURES / f"callgrind.tower-bearer.{driver}.{which}.out"
        for driver in ["the-service-alone", "tower-bearer"]
        for which in ["once", "twice"]
    }
    if not all(path.exists() for path in profiles.values()):
        print("where it goes: no profiles, left as it was")
        return
    cost = {key: by_file(path) for key, path in profiles.items()}
    requests = {key: requests_of(path) for key, path in profiles.items()}

    def per_request(driver):
        once, twice = cost[driver, "once"], cost[driver, "twice"]
        more = requests[driver, "twice"] - requests[driver, "once"]
        return {file: (twice.get(file, 0) - once.get(file, 0)) / more for file in twice}

    alone, ours = per_request("the-service-alone"), per_request("tower-bearer")
    added = {file: ours.get(file, 0) - alone.get(file, 0) for file in {*ours, *alone}}
    total = sum(added.values())
    largest = sorted(added.items(), key=lambda item: -abs(item[1]))
    shown, rest = largest[:MOST_BARS], largest[MOST_BARS:]
    bars = [
        (file, value, f"{value:.0f} ({value / total:.0%})", file.startswith("tower-bearer"))
        for file, value in sorted(shown, key=lambda item: -item[1])
    ]
    others = sum(value for _, value in rest)
    bars.append((f"{len(rest)} other files", others, f"{others:.0f} ({others / total:.0%})", False))
    draw(
        "where_it_goes.svg",
        f"Where the {total:.0f} instructions go that tower-bearer adds to a warm request",
        "By source file, inlined code where it was written; callgrind, with minus without. Filled: tower-bearer's own.",
        bars,
    )


MOST_BARS = 16


def requests_of(profile):
    """`--count DRIVER REQUESTS`, as callgrind has written it down."""
    with profile.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("cmd:"):
                return int(line.split()[-1])
    raise SystemExit(f"{profile.name}: no command")


def by_file(profile):
    """Instructions by source file. The format: https://valgrind.org/docs/manual/cl-format.html"""
    files, cost = {}, {}
    current, inclusive = None, False
    with profile.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := re.match(r"(fl|fi|fe)=(\(\d+\))(?: (.*))?", line):
                _, number, name = match.groups()
                if name:
                    files[number] = name
                current = files[number]
            elif match := re.match(r"(cfi|cfl)=(\(\d+\))(?: (.*))?", line):
                _, number, name = match.groups()
                if name:
                    files[number] = name
            elif line.startswith("calls="):
                # The line after it is the callee's cost, which is counted where it is spent.
                inclusive = True
            elif re.match(r"[+\-*\d]", line):
                if not inclusive:
                    name = short(current)
                    cost[name] = cost.get(name, 0) + int(line.split()[1])
                inclusive = False
    return cost


def short(path):
    """`http: header/map.rs` for a file of a crate, and the like; nothing of this machine."""
    if match := re.search(r"/registry/src/[^/]+/([\w-]+?)-\d+\.\d+[^/]*/(?:src/)?(.*)", path):
        return f"{match[1]}: {match[2]}"
    if re.search(r"/rustc/[0-9a-f]+/library/|rustlib/src/rust/library/", path):
        return "Rust's own library"
    if match := re.search(r"(?:^|/)(?:src)/((?:cache|replay|select|source|adapter|unauthorized)/.*|\w+\.rs)$", path):
        return f"tower-bearer: {match[1]}"
    if "benches/" in path:
        return "the bench"
    if path == "???":
        return "without a source"
    if "malloc" in path:
        return "libc: malloc"
    if re.search(r"mem(cpy|move|set|cmp)|str(len|cmp)|sysdeps/x86_64", path):
        return "libc: memcpy and the like"
    return pathlib.PurePath(path).name


# Drawing


def draw(file, title, note, bars):
    left, right, height, gap = 300, 110, 18, 8
    width = 860
    top = 62
    scale = (width - left - right) / max(value for _, value, _, _ in bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + len(bars) * (height + gap) + 8}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="{escape(title)}">',
        "<style>text{fill:#1f2328}.note,.value{fill:#59636e}.bar{fill:#b6bec8}.full{fill:#1f6feb}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note,.value{fill:#9198a1}.bar{fill:#545d68}.full{fill:#4493f8}}"
        "</style>",
        f'<text x="0" y="18" font-size="16" font-weight="600">{escape(title)}</text>',
        f'<text x="0" y="40" class="note">{escape(note)}</text>',
    ]
    for place, (name, value, label, full) in enumerate(bars):
        y = top + place * (height + gap)
        length = max(1, value * scale)
        weight = ' font-weight="600"' if name.startswith("tower-bearer") else ""
        parts.append(
            f'<text x="{left - 10}" y="{y + 14}" text-anchor="end"{weight}>{escape(name)}</text>'
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{height}" rx="2" class="{"full" if full else "bar"}"/>'
            f'<text x="{left + length + 8:.1f}" y="{y + 14}" class="value">{escape(label)}</text>'
        )
    parts.append("</svg>\n")
    (TREE / "benches" / file).write_text("\n".join(parts), encoding="utf-8")
    print(f"benches/{file}: {len(bars)} bars")


if __name__ == "__main__":
    main()
