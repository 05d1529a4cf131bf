"""How the pages `check.html` and `report.html` look, on light and on dark, and their scripts."""

STYLE = """
:root { color-scheme: light dark; --paper: #f8fafc; --card: #fff; --ink: #1e293b; --soft: #5b6b82; --line: #e2e8f0;
  --tint: #f1f5f9; --code: #e2e8f0; --accent: #2563eb; --good: #15803d; --bad: #b91c1c; --warn: #b45309 }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1424; --card: #151f33; --ink: #e2e8f0; --soft: #9aa9be;
  --line: #2a3850; --tint: #1b2740; --code: #26344d; --accent: #60a5fa; --good: #4ade80; --bad: #f87171;
  --warn: #fbbf24 } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 16px; max-width: 1560px; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 26px } h2 { margin: 32px 0 8px; font-size: 20px } h3 { margin: 24px 0 8px; font-size: 16px }
small, .path { color: var(--soft); font-weight: normal; font-size: 13px } .path { margin: 2px 0 12px }
i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 5px }
.tiles { display: flex; flex-wrap: wrap; gap: 10px }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 16px; min-width: 76px }
.tile b { display: block; font-size: 22px } .tile.error b { color: var(--bad) } .tile.warning b { color: var(--warn) }
.verdict { margin: 12px 0 } code { background: var(--code); border-radius: 4px; padding: 1px 5px; font-size: 13px }
.scroll { overflow: auto; max-height: 560px; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px }
table { border-collapse: collapse; width: 100% } td { vertical-align: top; border-top: 1px solid var(--line) }
td, th { padding: 6px 10px; text-align: left } .number { text-align: right; font-variant-numeric: tabular-nums }
th { position: sticky; top: 0; background: var(--tint) } th button { font: inherit; font-weight: 600; border: 0;
  background: none; padding: 0; cursor: pointer; color: inherit;
  white-space: nowrap } th button::after { content: " \\2195"; color: var(--soft) }
.ids { margin: 3px 0 0; color: var(--soft); font-size: 13px }
.badge { border-radius: 9px; padding: 1px 8px; font-size: 12px; white-space: nowrap; background: var(--code) }
.error .badge { background: #fee2e2; color: #991b1b } .warning .badge { background: #fef3c7; color: #92400e }
.legend { list-style: none; padding: 0; margin: 4px 0 12px }
.charts, .sheet { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)) }
.sheet { grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr)) }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px;
  min-width: 0 }
.charts figcaption { font-weight: 600; margin-bottom: 4px } svg { display: block; width: 100%; height: auto }
svg.chart { font-size: 11px; fill: var(--soft) } svg.chart line { stroke: var(--line) }
.sheet figure { align-self: start }
.sheet img { display: block; width: 100%; border-radius: 4px } .sheet figcaption { font-size: 13px; padding-top: 6px }
.sheet figcaption span { white-space: nowrap } .none { padding: 60px 8px; text-align: center; color: var(--soft);
  background: var(--tint); border-radius: 4px }
.classes td:first-child { width: 34%; min-width: 110px } .classes { max-height: 640px }
.bars div { display: flex; align-items: center; gap: 6px; font-size: 12px; line-height: 1.2 }
.bars > div > span:first-child { flex: none; max-width: calc(100% - 60px) } .bar { height: 9px; border-radius: 2px;
  min-width: 1px }
@media (max-width: 640px) {
  #faults thead { display: none } #faults tr { display: block; border-top: 1px solid var(--line); padding: 6px 0 }
  #faults td { display: inline; border: 0; padding: 0 4px 0 10px } #faults td:last-child { display: block;
    padding-top: 4px } #faults .number::before { content: "\\00d7" }
}
"""

RUN_STYLE = """
h2 { scroll-margin-top: 48px; padding-top: 4px }
nav { position: sticky; top: 0; z-index: 3; display: flex; gap: 4px 14px; flex-wrap: wrap; padding: 8px 0;
  background: var(--paper); border-bottom: 1px solid var(--line); margin-top: 14px }
nav a, a { color: var(--accent); text-decoration: none } nav a:hover { text-decoration: underline }
.tile.good b { color: var(--good) } .tile small { display: block }
.note { color: var(--soft); font-size: 14px; margin: 6px 0; max-width: 1000px }
.notes { border-left: 3px solid var(--warn); padding: 2px 12px; margin: 14px 0 }
.keys { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 12px; padding: 2px 4px 0; margin: 0; font-size: 12px;
  color: var(--soft) } .keys i { height: 4px; width: 14px; vertical-align: middle } .keys i.dashed { opacity: .55 }
svg.lines polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round } svg.lines { touch-action: pan-y }
svg.lines .mark { stroke: var(--soft); stroke-dasharray: 3 3 } svg.lines .cursor { stroke: var(--soft) }
#tip { position: fixed; z-index: 9; pointer-events: none; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: 4px 9px; font-size: 12px; box-shadow: 0 3px 12px rgb(0 0 0 / .25); display: none }
.matrix table { width: auto; font-size: 13px } .matrix td, .matrix th { padding: 4px 8px; text-align: right;
  white-space: nowrap; border: 1px solid var(--line) } .matrix th:first-child, .matrix td:first-child {
  text-align: left; position: sticky; left: 0; background: var(--tint); z-index: 1 } .matrix td.strong { color: #fff }
.matrix th:first-child { z-index: 2 } .matrix .apart { border-left: 3px double var(--soft) }
.matrix tr.apart td, .matrix tr.apart th { border-top: 3px double var(--soft) }
th { white-space: nowrap } th.number { text-align: right }
.columns { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  align-items: start } .columns > * { min-width: 0 }
.better { color: var(--good) } .worse { color: var(--bad) } td.best { font-weight: 700 }
.sheet.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)) }
.pairs .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 6px } .pair div { min-width: 0 }
.pair small { display: block; padding-bottom: 2px }
.share td:last-child { width: 30%; min-width: 60px } .share td:first-child { min-width: 150px }
.meter { display: block; height: 9px; border-radius: 2px; background: var(--accent);
  min-width: 1px } .plain td { font-size: 14px; min-width: 90px } .plain td:first-child { min-width: 130px }
.scroll .number, .kind { white-space: nowrap } .scroll td:first-child { min-width: 84px }
.narrow { max-width: 760px }
"""

SCRIPT = """
document.querySelectorAll("#faults th button").forEach((button, column) => button.addEventListener("click", () => {
  const body = document.querySelector("#faults tbody"), down = button.dataset.down = button.dataset.down ? "" : "1";
  const text = row => row.cells[column].textContent;
  const order = ["error", "warning", "note"];
  const compare = (a, b) => column === 0 ? order.indexOf(text(a)) - order.indexOf(text(b))
    : column === 2 ? Number(text(b)) - Number(text(a)) : text(a).localeCompare(text(b));
  body.append(...[...body.rows].sort((a, b) => down ? compare(a, b) : compare(b, a)));
}));
"""

# Shows the numbers of all lines of a chart at the place of the pointer, and sorts tables whose heads are buttons.
RUN_SCRIPT = """
const tip = document.createElement("div"); tip.id = "tip"; document.body.append(tip);
document.querySelectorAll("svg.lines").forEach(svg => {
  const lines = [...svg.querySelectorAll("polyline")], cursor = svg.querySelector(".cursor");
  const places = lines.map(line => line.getAttribute("points").split(" ").map(pair => Number(pair.split(",")[0])));
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    const rows = []; let at = null;
    lines.forEach((line, index) => {
      let near = 0;
      places[index].forEach((place, i) => { if (Math.abs(place - x) < Math.abs(places[index][near] - x)) near = i; });
      const [where, value] = line.dataset.values.split(" ")[near].split(":");
      if (at === null || Math.abs(places[index][near] - x) < Math.abs(at[0] - x)) at = [places[index][near], where];
      rows.push([line.dataset.name, value, line.getAttribute("stroke")]);
    });
    if (at === null) return;
    cursor.setAttribute("x1", at[0]); cursor.setAttribute("x2", at[0]); cursor.style.display = "";
    tip.replaceChildren(svg.dataset.x + " " + at[1]);
    rows.forEach(([name, value, color]) => {
      const row = document.createElement("div"), chip = document.createElement("i");
      chip.style.background = color; row.append(chip, name + " " + value); tip.append(row);
    });
    tip.style.display = "block";
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6)) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 6)) + "px";
  });
  svg.addEventListener("pointerleave", () => { tip.style.display = cursor.style.display = "none"; });
});
document.querySelectorAll("table.sorted").forEach(table => table.querySelectorAll("th button").forEach(button =>
  button.addEventListener("click", () => {
    const column = button.parentElement.cellIndex, body = table.tBodies[0];
    const down = button.dataset.down = button.dataset.down ? "" : "1";
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const compare = (a, b) => Number.isNaN(Number(key(a)) + Number(key(b))) ? key(a).localeCompare(key(b))
      : key(a) - key(b);
    body.append(...[...body.rows].sort((a, b) => down ? compare(b, a) : compare(a, b)));
  })));
"""
