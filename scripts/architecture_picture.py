"""Draw docs/architecture.svg from the imports: `make architecture`.

The packages stand on a staircase in the order of the contract in pyproject.toml, siblings on one floor. From each of
them a line leaves to the right; where it turns down into another room, that package imports from this one, and the
number at the turn is how many of its modules do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scripts.house_figures import House

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"

STEP_X, STEP_Y = 76, 50  # pixels from one room to the next
ROOM_X, ROOM_Y = 112, 36  # pixels of a room
MARGIN = 24
BADGE = 11  # pixels of a number's circle

STYLE = """\
  svg { --ink: #1f2328; --paper: #ffffff; --floor: #f3f5f8; --room: #dbe9fb; --edge: #4a7ebb; --quiet: #59636e; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --paper: #0d1117; --floor: #161b22; --room: #1d3250; --edge: #6ea8fe; --quiet: #9198a1; }
  }
  text { font-family: system-ui, sans-serif; fill: var(--ink); }
  .paper { fill: var(--paper); } .floor { fill: var(--floor); }
  .room { fill: var(--room); stroke: var(--edge); stroke-width: 1.5; }
  .apart { stroke-dasharray: 5 4; }
  .name { font-size: 15px; font-weight: 600; text-anchor: middle; }
  .size { font-size: 10px; fill: var(--quiet); text-anchor: middle; }
  .way { fill: none; stroke: var(--edge); stroke-width: 1.2; opacity: 0.65; }
  .tip { fill: var(--edge); }
  .badge { fill: var(--paper); stroke: var(--edge); }
  .count { font-size: 11px; text-anchor: middle; }
  .words { font-size: 13px; fill: var(--quiet); }
"""


def floors(root: Path) -> list[list[str]]:
    """The layers of the contract from the top, each with its packages; those apart from it come last."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = (one for one in contracts if one["id"] == "pipeline")
    layers = [[name.strip() for name in layer.split(":")] for layer in contract["layers"]]
    apart = [name for name in contract["exhaustive_ignores"] if not name.startswith("__")]
    return [*layers, apart]


def picture(house: House, layers: Sequence[Sequence[str]]) -> str:
    """The drawing as SVG."""
    rooms = [name for layer in layers for name in layer]
    apart = set(layers[-1])
    places = {name: (MARGIN + at * STEP_X, MARGIN + at * STEP_Y) for at, name in enumerate(rooms)}
    arrows = {pair: len(modules) for pair, modules in sorted(house.importing_modules.items())}
    width = MARGIN * 2 + (len(rooms) - 1) * STEP_X + ROOM_X
    height = MARGIN * 2 + (len(rooms) - 1) * STEP_Y + ROOM_Y
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        "<title>The packages of tesnap and their imports</title>",
        f"<style>\n{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *_floors(layers, width),
        *_ways(places, arrows),
        *(_room(name, places[name], house, apart=name in apart) for name in rooms),
        *_badges(places, arrows),
        *_words(height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _floors(layers: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """A band behind every second layer."""
    at = 0
    for number, layer in enumerate(layers):
        top = MARGIN + at * STEP_Y - (STEP_Y - ROOM_Y) // 2
        if number % 2 == 0:
            yield f'<rect class="floor" y="{top}" width="{width}" height="{len(layer) * STEP_Y}"/>'
        at += len(layer)


def _ways(places: Mapping[str, tuple[int, int]], arrows: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """From a room to the right, then down into each room that it imports from."""
    for above, below in arrows:
        (x, y), (to_x, to_y) = places[above], places[below]
        down = to_x + ROOM_X // 2
        yield f'<path class="way" d="M{x + ROOM_X} {y + ROOM_Y // 2}H{down}V{to_y - 6}"/>'
        yield f'<path class="tip" d="M{down - 4} {to_y - 7}h8l-4 7z"/>'


def _room(name: str, place: tuple[int, int], house: House, *, apart: bool) -> str:
    x, y = place
    middle = x + ROOM_X // 2
    modules = sum(module.path.startswith(f"{name}/") for module in house.modules)
    return (
        f'<rect class="room{" apart" * apart}" x="{x}" y="{y}" width="{ROOM_X}" height="{ROOM_Y}" rx="6"/>\n'
        f'<text class="name" x="{middle}" y="{y + 17}">{name}</text>'
        f'<text class="size" x="{middle}" y="{y + 30}">{modules} modules</text>'
    )


def _badges(places: Mapping[str, tuple[int, int]], arrows: Mapping[tuple[str, str], int]) -> Iterator[str]:
    for (above, below), count in arrows.items():
        x, y = places[below][0] + ROOM_X // 2, places[above][1] + ROOM_Y // 2
        yield f'<circle class="badge" cx="{x}" cy="{y}" r="{BADGE}"/>'
        yield f'<text class="count" x="{x}" y="{y + 4}">{count}</text>'


def _words(height: int) -> Iterator[str]:
    """How to read it, in the corner where nothing stands."""
    lines = (
        "Every import points down. A line leaves a room to the",
        "right and turns down into each package that it imports",
        "from; the number at the turn is how many of its modules",
        "do. A band is a layer: its packages are siblings.",
    )
    top = height - MARGIN - 18 * len(lines)
    for number, line in enumerate(lines):
        yield f'<text class="words" x="{MARGIN}" y="{top + 18 * number}">{line}</text>'


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(House(ROOT), floors(ROOT)), encoding="utf-8")


if __name__ == "__main__":
    main()
