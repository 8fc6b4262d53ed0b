"""Draws the sequence diagrams of the guide, `src/docs/img/*.svg`. With `--check`, only says whether they are up to date.

A diagram is a list of lifelines and of steps. A step is an arrow (from, to, text), where `dashed` is what happens in the background
and `bad` a failure; a note on a lifeline; or a line that begins another phase.
"""

import sys
from html import escape
from pathlib import Path

IMG = Path(__file__).parent.parent / "src/docs/img"
WIDTH, TOP, STEP = 720, 46, 40
# The width of a letter, roughly.
LETTER = 7

REQUESTS, LAYER, ENDPOINT, API = "your requests", "tower-bearer", "token endpoint", "API"
LIFELINES = [REQUESTS, LAYER, ENDPOINT, API]


def arrow(source, target, text, *style):
    return ("arrow", source, target, text, style)


def note(lifeline, text):
    return ("note", lifeline, text)


def phase(text):
    return ("phase", text)


DIAGRAMS = {
    "cold": (
        "Cold: a thousand requests wait for one token request.",
        LIFELINES,
        [
            arrow(REQUESTS, LAYER, "request 1"),
            arrow(LAYER, ENDPOINT, "POST"),
            arrow(REQUESTS, LAYER, "requests 2 … 1000"),
            note(LAYER, "they wait for the same token request"),
            arrow(ENDPOINT, LAYER, "token"),
            arrow(LAYER, API, "1000 requests, each with the token"),
            arrow(API, REQUESTS, "1000 responses"),
        ],
    ),
    "warm": (
        "Warm: a request gets the token without a lock or a wait.",
        LIFELINES,
        [
            arrow(REQUESTS, LAYER, "request"),
            arrow(LAYER, API, "the request with the token"),
            arrow(API, REQUESTS, "response"),
        ],
    ),
    "refresh": (
        "Refresh: the token request runs in the background, and no request waits for it.",
        LIFELINES,
        [
            phase("after about 80 % of the lifetime"),
            arrow(REQUESTS, LAYER, "request"),
            arrow(LAYER, ENDPOINT, "POST", "dashed"),
            arrow(LAYER, API, "the request with token 1"),
            arrow(API, REQUESTS, "response"),
            arrow(ENDPOINT, LAYER, "token 2", "dashed"),
            note(LAYER, "from now on: token 2"),
            phase("or, if the refresh fails"),
            arrow(ENDPOINT, LAYER, "503", "dashed", "bad"),
            note(LAYER, "token 1 stays in use until its end; backoff 1, 2, 4 … 60 s"),
        ],
    ),
    "rejected": (
        "Rejected: one token request replaces the token, and each request is retried once.",
        LIFELINES,
        [
            arrow(REQUESTS, LAYER, "requests A and B"),
            arrow(LAYER, API, "A and B with token 1"),
            arrow(API, LAYER, "A: 401", "bad"),
            arrow(LAYER, ENDPOINT, "POST"),
            arrow(ENDPOINT, LAYER, "token 2"),
            arrow(LAYER, API, "A again, with token 2"),
            arrow(API, REQUESTS, "A: 200"),
            phase("a late 401 for token 1"),
            arrow(API, LAYER, "B: 401", "bad"),
            note(LAYER, "token 2 is newer: no token request"),
            arrow(LAYER, API, "B again, with token 2"),
            arrow(API, REQUESTS, "B: 200"),
        ],
    ),
    "fleet": (
        "Fleet: the process that holds the lease requests the token; the others take it from the store.",
        ["process 1", "process 2", "store", "token endpoint"],
        [
            arrow("process 1", "store", "is there a token?"),
            arrow("store", "process 1", "no: the lease is yours"),
            arrow("process 2", "store", "is there a token?"),
            arrow("store", "process 2", "no: another has the lease"),
            arrow("process 1", "token endpoint", "POST"),
            arrow("token endpoint", "process 1", "token"),
            arrow("process 1", "store", "the token, sealed"),
            arrow("process 2", "store", "is there a token?"),
            arrow("store", "process 2", "the token, sealed"),
        ],
    ),
}


class Drawing:
    """What is drawn, and where texts and boxes are, so that a lifeline has a gap there."""

    def __init__(self):
        self.shapes, self.heads, self.texts, self.gaps = [], [], [], []

    def text(self, x, y, text, anchor="middle", style=""):
        self.texts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}"{style}>{escape(text)}</text>')
        wide = len(text) * LETTER
        left = {"start": x, "middle": x - wide / 2, "end": x - wide}[anchor]
        self.gaps.append((left - 3, left + wide + 3, y - 13, y + 4))

    def arrow(self, a, b, y, text, style, space):
        way = 1 if b > a else -1
        dash = ' stroke-dasharray="6 4"' if "dashed" in style else ""
        self.shapes.append(f'<path d="M{a + 3 * way} {y}H{b - 10 * way}"{dash}/>')
        self.heads.append(f"M{b - way} {y}l{-10 * way}-5v10z")
        weight = ' font-weight="bold"' if "bad" in style else ""
        if abs(b - a) < space * 1.5:
            self.text((a + b) // 2, y - 7, text, style=weight)
        else:
            # Beside the lifeline that it comes from, for there are others between.
            self.text(a + 12 * way, y - 7, text, "start" if way > 0 else "end", weight)

    def note(self, x, y, text):
        half = round(len(text) * LETTER / 2 + 14)
        x = min(max(x, half + 2), WIDTH - half - 2)
        self.shapes.append(f'<rect x="{x - half}" y="{y - 20}" width="{half * 2}" height="26" rx="4" stroke-dasharray="3 3" opacity="0.7"/>')
        self.text(x, y - 2, text)
        self.gaps.append((x - half, x + half, y - 20, y + 6))

    def phase(self, y, text):
        self.shapes.append(f'<path d="M4 {y - 6}H{WIDTH - 4}" stroke-dasharray="2 5" opacity="0.6"/>')
        self.text(6, y - 12, text, "start", ' font-style="italic"')

    def lifeline(self, x, end):
        path, start = "", 40
        for top, bottom in sorted((top, bottom) for left, right, top, bottom in self.gaps if left < x < right):
            path += f"M{x} {start}V{max(start, top)}"
            start = max(start, bottom)
        self.shapes.append(f'<path d="{path}M{x} {start}V{end}" opacity="0.35"/>')


def draw(title, lifelines, steps):
    space = WIDTH // len(lifelines)
    at = {name: space * i + space // 2 for i, name in enumerate(lifelines)}
    drawing = Drawing()
    y = TOP + 34
    for kind, *step in steps:
        if kind == "arrow":
            source, target, text, style = step
            drawing.arrow(at[source], at[target], y, text, style, space)
        elif kind == "note":
            drawing.note(at[step[0]], y, step[1])
        else:
            drawing.phase(y, step[0])
        y += STEP
    height = y - 14
    for name, x in at.items():
        drawing.lifeline(x, height - 4)
        drawing.shapes.append(f'<rect x="{x - space // 2 + 14}" y="8" width="{space - 28}" height="32" rx="6"/>')
        drawing.text(x, 29, name, style=' font-weight="bold"')
    return "\n".join([
        "<div>",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'style="display:block;width:100%;max-width:{WIDTH}px;height:auto;margin:1em 0" fill="none" stroke="currentColor" '
        'stroke-width="1.5" font-family="sans-serif" font-size="14">',
        *drawing.shapes,
        '<g stroke="none" fill="currentColor">',
        f'<path d="{"".join(drawing.heads)}"/>',
        *drawing.texts,
        "</g>",
        "</svg>",
        "</div>",
        "",
    ])


def main():
    stale = []
    for name, diagram in DIAGRAMS.items():
        path, drawn = IMG / f"{name}.svg", draw(*diagram)
        if "--check" not in sys.argv:
            path.write_text(drawn)
        elif not path.exists() or path.read_text() != drawn:
            stale.append(path.name)
    if stale:
        sys.exit(f"run .ci/sequences.py: {', '.join(stale)} in src/docs/img are not what it draws")


main()
