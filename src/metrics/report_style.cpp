#include "metrics/report_style.h"

namespace lowmem::metrics {

// The eight colours of lines are those of Okabe and Ito, "Color Universal Design" (2008),
// which people with any kind of colour vision can tell apart; yellow and black are
// replaced by two that show on both backgrounds. The three of bars differ in lightness
// too.
const char* const kReportStyle = R"css(:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --soft: #5c6672; --rule: #dde1e6; --card: #f7f8fa;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b5578f;
  --c4: #c98a00; --c5: #3fa3dc; --c6: #6b5b00; --c7: #6f7780;
  --s0: #33506e; --s1: #7fa6c9; --s2: #e69f00;
  --warn: #9a4400; --warn-back: #fdeee0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --ink: #e7eaee; --soft: #a2abb6; --rule: #333a43; --card: #1b1f25;
    --c0: #4ba3e3; --c1: #f08244; --c2: #2fc598; --c3: #e08fbd;
    --c4: #eeb543; --c5: #9bd4f5; --c6: #c3b454; --c7: #aab2bb;
    --s0: #7f9fc4; --s1: #4a6c92; --s2: #eeb543;
    --warn: #f5b27a; --warn-back: #3a2616;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  -webkit-text-size-adjust: 100%;
}
main { max-width: 78rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; letter-spacing: -0.015em; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 0.75rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
h3, .subtitle { line-height: 1.4; }
p { margin: 0; }
.subtitle, figcaption, .explanation { color: var(--soft); font-size: 0.875rem; }
.explanation { max-width: 62rem; margin-top: 1.75rem; }
figcaption { margin-top: 0.25rem; overflow-wrap: anywhere; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { padding: 0.45rem 0.75rem; text-align: left; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--ink); }
thead th, tbody td { overflow-wrap: break-word; }
tbody th { font-weight: 600; min-width: 12rem; overflow-wrap: break-word; }
td:not(.number) { min-width: 7.5rem; }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.note {
  color: var(--warn); background: var(--warn-back); border-radius: 0.3rem;
  padding: 0.05rem 0.4rem; font-size: 0.8rem; font-weight: 500; white-space: nowrap;
}

.charts {
  display: grid; gap: 0 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr));
  margin-bottom: -1.25rem;
}
/* Title, subtitle, legend, chart and caption share the rows of figures beside them. */
figure {
  display: grid; grid-row: span 5; grid-template-rows: subgrid; align-content: start;
  margin: 0 0 1.25rem; padding: 1rem 1rem 0.75rem; min-width: 0; background: var(--card);
  border: 1px solid var(--rule); border-radius: 0.6rem;
}
figure h3 { grid-row: 1; }
figure .subtitle { grid-row: 2; }
figure .legend { grid-row: 3; }
figure svg { grid-row: 4; }
figure figcaption { grid-row: 5; }
.legend {
  list-style: none; margin: 0.4rem 0 0.25rem; padding: 0; display: flex; align-content: start; flex-wrap: wrap;
  gap: 0.1rem 1rem; font-size: 0.85rem;
}
.legend li { overflow-wrap: anywhere; }
.key {
  display: inline-block; width: 1.1em; border-top: 3px solid var(--c); margin-right: 0.45em;
  vertical-align: 0.25em;
}
.key.dashed { border-top-style: dashed; }
.patch {
  display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px;
  background: var(--s); margin-right: 0.45em; vertical-align: -0.05em;
}
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
.c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
.c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.s0 { --s: var(--s0); } .s1 { --s: var(--s1); } .s2 { --s: var(--s2); }

svg { display: block; width: 100%; max-width: 40rem; height: auto; margin: 0.5rem auto 0; }
svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .bar-label, svg .bar-value { fill: var(--ink); }
svg .strong { font-weight: 700; }
svg .axis { stroke: var(--soft); fill: none; }
svg .grid { stroke: var(--rule); fill: none; }
svg .line {
  fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round;
  stroke-linecap: round;
}
svg .dashed { stroke-dasharray: 5 5; }
svg .faint { stroke-width: 1; opacity: 0.3; }
svg .dot { fill: var(--c); }
svg rect { fill: var(--s); }

@media (max-width: 40rem) {
  main { padding: 1.25rem 1rem 2rem; }
  table:not(.cards) th:first-child { position: sticky; left: 0; background: var(--page); }
  tbody th { min-width: 9rem; }
  .cards thead { display: none; }
  .cards, .cards tbody { display: block; }
  .cards tr {
    display: grid; grid-template-columns: 1fr 1fr; gap: 0.15rem 1.25rem; padding: 0.7rem 0;
    border-top: 1px solid var(--rule);
  }
  .cards tbody tr > * { padding: 0; border: 0; }
  .cards th, .cards td:not(.number) { grid-column: 1 / -1; }
  .cards td { color: var(--ink); display: flex; justify-content: space-between; gap: 0.5rem; }
  .cards td.number::before { content: attr(data-title); color: var(--soft); }
  .note { display: inline-block; }
}
@media print {
  :root { --card: #ffffff; }
  main { padding: 0; max-width: none; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  body { font-size: 12px; }
}
)css";

}  // namespace lowmem::metrics
