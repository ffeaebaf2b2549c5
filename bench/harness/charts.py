"""Charts for RESULTS.md, in light and dark colors."""

import math, os

from . import machine

STYLE = ("<style>text{font:14px system-ui,sans-serif;fill:#1c2030}.name{text-anchor:end}.middle{text-anchor:middle}"
         ".own{fill:#0c6a73}.peer{fill:#b9b4aa}.page{stroke:#8a857b}.on{stroke:#0c6a73}.off{stroke:#b4573a}"
         ".grid{stroke:#1c2030;stroke-opacity:.15}polyline{fill:none;stroke-width:2.5}circle{stroke-width:5}"
         "@media(prefers-color-scheme:dark){text{fill:#eceae6}.own{fill:#6fd0d2}.peer{fill:#6b6f7a}.page{stroke:#a8a49c}.on{stroke:#6fd0d2}"
         ".off{stroke:#e79a7f}.grid{stroke:#eceae6}}</style>")


def svg(name, height, label, parts):
    with open(os.path.join(machine.HERE, name), "w") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {height}" role="img" aria-label="{label}">{STYLE}{"".join(parts)}</svg>\n')


def bars(found):
    most = max(row["rate"] for row in found["rows"])
    parts, y = [], 20
    for row in found["rows"]:
        width = max(2, row["rate"] / most * 420)
        kind = "own" if row["name"] in ("page", "cache-on", "cache-off") else "peer"
        parts.append(f'<text x="300" y="{y + 15}" class="name">{row["title"]}</text>'
                     f'<rect x="312" y="{y}" width="{width:.0f}" height="20" rx="3" class="{kind}"/>'
                     f'<text x="{320 + width:.0f}" y="{y + 15}">{row["rate"]:,.0f}</text>')
        y += 32
    svg("results.svg", y + 6, "Requests a second", parts)


def lines(found):
    """Requests per second by number of sessions, on a logarithmic axis."""
    levels = found["levels"]
    most = max(row["rate"] for level in levels for row in level["rows"])
    step = 10 ** math.floor(math.log10(most))
    top = math.ceil(most / step) * step
    left, right = math.log10(levels[0]["sessions"]), math.log10(max(levels[-1]["sessions"], levels[0]["sessions"] * 10))
    x = lambda sessions: 90 + (math.log10(sessions) - left) / (right - left) * 520
    y = lambda rate: 280 - rate / top * 250
    parts = []
    for line in range(0, top + 1, step):
        parts.append(f'<line x1="90" x2="610" y1="{y(line):.0f}" y2="{y(line):.0f}" class="grid"/><text x="80" y="{y(line) + 5:.0f}" class="name">{line:,}</text>')
    for level in levels:
        parts.append(f'<text x="{x(level["sessions"]):.0f}" y="308" class="middle">{level["sessions"]:,}</text>')
    names, taken = ["page", "on", "off"], []
    for index, kind in enumerate(names):
        points = [(x(level["sessions"]), y(level["rows"][index]["rate"])) for level in levels]
        parts.append(f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" class="{kind}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.5" class="{kind}"/>' for a, b in points]
        at = points[-1][1] + 5
        while any(abs(at - other) < 18 for other in taken):
            at += 3
        taken.append(at)
        parts.append(f'<text x="622" y="{at:.0f}">{levels[-1]["rows"][index]["title"]}</text>')
    svg("growth.svg", 324, "Requests a second by the number of sessions in the table", parts)


def draw(name, found):
    if name == "side-by-side":
        bars(found)
    elif name == "growth":
        lines(found)
