"""How the page `check.html` looks, and the script that sorts its table when a head is clicked."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1e293b; background: #f8fafc; margin: 0 auto; padding: 16px;
  max-width: 1560px; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 26px } h2 { margin: 32px 0 8px; font-size: 20px } h3 { margin: 24px 0 8px; font-size: 16px }
small, .path { color: #64748b; font-weight: normal; font-size: 13px } .path { margin: 2px 0 12px }
i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 5px }
.tiles { display: flex; flex-wrap: wrap; gap: 10px }
.tile { background: #fff; border: 1px solid #e2e8f0; border-radius: 8px; padding: 8px 16px; min-width: 76px }
.tile b { display: block; font-size: 22px } .tile.error b { color: #b91c1c } .tile.warning b { color: #b45309 }
.verdict { margin: 12px 0 } code { background: #e2e8f0; border-radius: 4px; padding: 1px 5px; font-size: 13px }
.scroll { overflow: auto; max-height: 560px; background: #fff; border: 1px solid #e2e8f0; border-radius: 8px }
table { border-collapse: collapse; width: 100% } td { vertical-align: top; border-top: 1px solid #e2e8f0 }
td, th { padding: 6px 10px; text-align: left } .number { text-align: right }
th { position: sticky; top: 0; background: #f1f5f9 } th button { font: inherit; font-weight: 600; border: 0;
  background: none; padding: 0; cursor: pointer; color: inherit;
  white-space: nowrap } th button::after { content: " \\2195"; color: #94a3b8 }
.ids { margin: 3px 0 0; color: #64748b; font-size: 13px }
.badge { border-radius: 9px; padding: 1px 8px; font-size: 12px; white-space: nowrap; background: #e2e8f0 }
.error .badge { background: #fee2e2; color: #991b1b } .warning .badge { background: #fef3c7; color: #92400e }
.legend { list-style: none; padding: 0; margin: 4px 0 12px }
.charts, .sheet { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)) }
.sheet { grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr)) }
figure { margin: 0; background: #fff; border: 1px solid #e2e8f0; border-radius: 8px; padding: 8px }
.charts figcaption { font-weight: 600; margin-bottom: 4px } svg { display: block; width: 100%; height: auto }
.sheet figure { align-self: start }
.sheet img { display: block; width: 100%; border-radius: 4px } .sheet figcaption { font-size: 13px; padding-top: 6px }
.sheet figcaption span { white-space: nowrap } .none { padding: 60px 8px; text-align: center; color: #64748b;
  background: #f1f5f9; border-radius: 4px }
.classes td:first-child { width: 34%; min-width: 110px } .classes { max-height: 640px }
.bars div { display: flex; align-items: center; gap: 6px; font-size: 12px; line-height: 1.2 }
.bars > div > span:first-child { flex: none; max-width: calc(100% - 60px) } .bar { height: 9px; border-radius: 2px;
  min-width: 1px }
@media (max-width: 640px) {
  #faults thead { display: none } #faults tr { display: block; border-top: 1px solid #cbd5e1; padding: 6px 0 }
  #faults td { display: inline; border: 0; padding: 0 4px 0 10px } #faults td:last-child { display: block;
    padding-top: 4px } #faults .number::before { content: "\\00d7" }
}
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
