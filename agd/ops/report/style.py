"""The style sheet of the page: light and dark as the reader's system has it, and fit for print."""

STYLE = """
:root { color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --ink: #1b2230; --soft: #5a6475; --line: #dfe3ea; --grid: #e8ebf0;
  --c0: #2f6fd6; --c1: #d9660b; --c2: #158f6b; --c3: #8a4fd0; --c4: #c2306b; --c5: #6f7785;
  --good: #14804a; --fair: #a15c00; --bad: #c02f2f; --good-bg: #e7f5ed; --fair-bg: #fdf1dc; --bad-bg: #fce9e9;
  --box: #8fb4ee; --stripe: #f3f5f9; }
@media screen and (prefers-color-scheme: dark) { :root {
  --page: #0f131a; --card: #171c25; --ink: #e7eaf0; --soft: #a0a9b8; --line: #2b3340; --grid: #262d39;
  --c0: #6ea4ff; --c1: #ff9f4a; --c2: #3fcfa0; --c3: #b891ff; --c4: #ff7aae; --c5: #9aa3b2;
  --good: #4fd08a; --fair: #f2b34c; --bad: #ff8080; --good-bg: #14291f; --fair-bg: #2e2412; --bad-bg: #331a1c;
  --box: #3a66ad; --stripe: #1c222d; } }
* { box-sizing: border-box }
html { scroll-behavior: smooth }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
.frame { display: grid; grid-template-columns: 224px minmax(0, 1fr); max-width: 1480px; margin: 0 auto }
nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow: auto; padding: 26px 8px 26px 22px }
nav b { display: block; margin: 18px 0 4px; font-size: 12px; letter-spacing: .05em; text-transform: uppercase;
  color: var(--soft) }
nav b:first-child { margin-top: 0 }
nav a { display: flex; gap: 8px; align-items: baseline; padding: 3px 8px; border-radius: 6px; color: var(--ink);
  text-decoration: none; font-size: 14px }
nav a:hover, nav a:focus-visible { background: var(--grid) }
nav .marks { margin-left: auto; white-space: nowrap }
main { padding: 26px 24px 60px; min-width: 0 }
header h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere }
header p { margin: 4px 0 20px; color: var(--soft); overflow-wrap: anywhere }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 0 0 26px }
.fact { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px }
.fact dt { color: var(--soft); font-size: 13px }
.fact dd { margin: 2px 0 0; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap }
.fact dd small { display: block; font-size: 12.5px; font-weight: 400; color: var(--soft); white-space: normal }
h2 { margin: 34px 0 12px; font-size: 19px }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px;
  min-width: 0; scroll-margin-top: 12px }
.cards { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px } .wide { grid-column: 1 / -1 }
section > h3 { display: flex; flex-wrap: wrap; gap: 6px 12px; align-items: center; margin: 0; font-size: 16px }
section > p { margin: 4px 0 10px; color: var(--soft); max-width: 78ch; font-size: 14px }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px 32px }
figure { margin: 0; min-width: 0; overflow-x: auto } figure > p { margin: 4px 0; color: var(--soft); font-size: 13px }
figcaption { font-size: 13px; color: var(--soft); font-weight: 600; margin: 2px 0 }
.badge { display: inline-flex; gap: 5px; padding: 1px 9px; border-radius: 99px; font-size: 12.5px; font-weight: 600 }
.pass { color: var(--good) } .warn { color: var(--fair) } .fail { color: var(--bad) }
.badge.pass { background: var(--good-bg) } .badge.warn { background: var(--fair-bg) }
.badge.fail { background: var(--bad-bg) }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0; padding: 0; list-style: none; font-size: 13px;
  color: var(--soft) }
.legend i { display: inline-block; width: 18px; height: 0; border-top: 3px solid; border-radius: 2px; margin-right: 6px;
  vertical-align: middle }
.legend i.dashed { border-top-style: dashed; border-top-width: 2px }
svg.plot { display: block; width: 100%; min-width: 440px; height: auto; font-family: inherit }
.tick { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums } .label { fill: var(--soft);
  font-size: 12.5px }
.grid { stroke: var(--grid) } .axis { stroke: var(--soft); stroke-width: 1 }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round } .dashed { stroke-dasharray: 5 4;
  stroke-width: 1.6 }
.dot, .bar { fill: currentColor } .bar:hover { opacity: .75 } .area { fill: currentColor; fill-opacity: .3;
  stroke: currentColor; stroke-width: 1 }
.c0 { color: var(--c0) } .c1 { color: var(--c1) } .c2 { color: var(--c2) } .c3 { color: var(--c3) }
.c4 { color: var(--c4) } .c5 { color: var(--c5) }
.tip { fill: transparent } .tip:hover { fill: var(--ink); fill-opacity: .08 } .stripe { fill: var(--stripe) }
.zone-good { fill: var(--good); fill-opacity: .08 } .zone-fair { fill: var(--fair); fill-opacity: .09 }
.zone-bad { fill: var(--bad); fill-opacity: .08 }
.box { fill: var(--box); stroke: none } .whisker { fill: none; stroke: var(--soft); stroke-width: 1 }
.median { fill: none; stroke: var(--ink); stroke-width: 1.8 }
details { margin-top: 8px; font-size: 13.5px } summary { cursor: pointer; color: var(--soft) }
.scroll { overflow: auto; max-height: 640px; margin-top: 6px } details .scroll { max-height: 380px }
section div + p { margin: 10px 0 0; color: var(--soft) }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums }
th, td { padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 600 } thead th { position: sticky; top: 0; background: var(--card) }
th:first-child, td:first-child, .words { text-align: left }
td.words.long { white-space: normal; overflow-wrap: anywhere; min-width: 14ch }
tbody th { color: var(--ink); font-weight: 400 }
.meter { display: inline-block; width: 130px; height: 9px; border-radius: 5px; background: var(--grid);
  vertical-align: middle; overflow: hidden } .meter i { display: block; height: 100%; background: var(--c0) }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12.5px }
footer { color: var(--soft); font-size: 13px; margin-top: 26px }
@media (max-width: 1180px) { .cards, .pair { grid-template-columns: minmax(0, 1fr) } }
@media (max-width: 900px) { .frame { display: block } nav { display: none } main { padding: 18px 14px 40px } }
@media print { nav { display: none } .frame { display: block } body { background: #fff; font-size: 11px }
  main { padding: 0 } section, .fact { break-inside: avoid; border-color: #ccc }
  .cards, .pair { grid-template-columns: 1fr 1fr } svg.plot { min-width: 0 }
  details:not([open]) { display: none } .scroll { max-height: none }
  .badge, .bar, .box, .area, .meter i, .zone-good, .zone-fair, .zone-bad { print-color-adjust: exact } }
"""
