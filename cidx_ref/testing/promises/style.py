"""The style sheet of the page (`page`)."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  --paper: #fff; --ink: #1c2230; --soft: #5b6475; --line: #e2e5eb; --card: #f8f9fb; --code: #eef0f4;
  --broken: #c22738; --excused: #94610a; --kept: #177a45; --not-tried: #8a3fb3; --not-offered: #6b7484;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171d; --ink: #e4e7ec; --soft: #9aa4b4; --line: #2c323d; --card: #1b1f27; --code: #242a34;
    --broken: #ff7a85; --excused: #e3b04b; --kept: #5fce94; --not-tried: #cf96f0; --not-offered: #98a2b3;
  }
}
* { box-sizing: border-box; }
html { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; }
body { margin: 0; }
main { max-width: 58rem; margin: 0 auto; padding: 2.5rem 1.25rem 1rem; }
.broken { --of: var(--broken); } .excused { --of: var(--excused); } .kept { --of: var(--kept); }
.not-tried { --of: var(--not-tried); } .not-offered { --of: var(--not-offered); }
a { color: inherit; text-decoration: none; }
a:hover { text-decoration: underline; }
h1, h2, h3, h4, p, ul, dl { margin: 0; padding: 0; }
ul { list-style: none; }
code, pre, h1 { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.kicker { color: var(--soft); font-size: .85rem; letter-spacing: .06em; text-transform: uppercase; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
.sentence { margin: .9rem 0 1.1rem; font-size: 1.35rem; font-weight: 600; color: var(--of);
  line-height: 1.3; text-wrap: balance; }
.warn { margin: 0 0 .8rem; padding: .5rem .8rem; border-left: 4px solid var(--excused);
  background: var(--card); }
.bar { display: flex; gap: 2px; height: .65rem; border-radius: .35rem; overflow: hidden; }
.bar i { background: var(--of); min-width: 4px; }
.bar i.not-offered { opacity: .45; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: .6rem 0 1.2rem; }
.legend li::before { content: ""; display: inline-block; width: .65em; height: .65em;
  margin-right: .45em; border-radius: 2px; background: var(--of); }
.facts { display: flex; flex-wrap: wrap; gap: .35rem 1.75rem; padding: .8rem 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: .875rem; }
.facts dt { display: inline; color: var(--soft); margin-right: .4em; }
.facts dd { display: inline; margin: 0; }
section { margin-top: 2.4rem; }
h2 { font-size: 1.2rem; color: var(--of); }
h2 small { font-size: .9rem; font-weight: 400; color: var(--soft); }
.meaning { color: var(--soft); font-size: .9rem; margin-bottom: .8rem; }
article { padding: .85rem 1.1rem; margin: .65rem 0; border: 1px solid var(--line);
  border-left: 4px solid var(--of); border-radius: .4rem; background: var(--card); }
article:target, .missing:target { outline: 2px solid var(--of); }
h3 { display: flex; align-items: baseline; gap: .75rem; font-size: 1rem; }
.badge { margin-left: auto; font-size: .8rem; font-weight: 600; color: var(--of); white-space: nowrap; }
.promise { color: var(--soft); font-size: .92rem; }
.words { margin-top: .35rem; overflow-wrap: anywhere; }
.broken .words, .not-tried .words { font-weight: 600; }
.figures { display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; margin-top: .45rem; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
.figures .above b { color: var(--broken); }
.gauge { display: inline-block; width: 4.5rem; height: .45rem; border-radius: .25rem; overflow: hidden;
  background: var(--line); vertical-align: middle; }
.gauge i { display: block; height: 100%; background: var(--kept); }
.above .gauge i { background: var(--broken); }
h4 { margin-top: .8rem; font-size: .8rem; font-weight: 600; color: var(--soft); }
pre { margin: .25rem 0 0; padding: .6rem .8rem; border-radius: .35rem; background: var(--code);
  font-size: .82rem; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere; }
.trace { max-height: 26rem; overflow: auto; }
.replay::before { content: "$ "; color: var(--soft); user-select: none; }
.checks { margin-top: .55rem; color: var(--soft); font-size: .8rem; overflow-wrap: anywhere; }
article.kept { display: grid; grid-template-columns: 5.5rem 1fr auto; column-gap: .75rem; margin: 0;
  padding: .55rem 0; border: 0; border-bottom: 1px solid var(--line); border-radius: 0; background: none; }
.kept h3 { display: contents; }
.kept h3 a { grid-column: 1; grid-row: 1; }
.kept .badge { grid-column: 3; grid-row: 1; }
.kept p, .kept ul { grid-column: 2; margin-top: .1rem; }
.kept .words { font-size: .92rem; color: var(--soft); }
.kept .promise { color: inherit; grid-row: 1; margin: 0; }
.missing { padding: .4rem 0; border-bottom: 1px solid var(--line); font-size: .92rem; }
.missing b { display: inline-block; min-width: 5.5rem; }
.missing em { display: block; padding-left: 5.5rem; font-style: normal; }
.notes { padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .875rem; }
.notes span { white-space: nowrap; }
footer { max-width: 58rem; margin: 0 auto; padding: 1rem 1.25rem 2.5rem; color: var(--soft);
  font-size: .8rem; }
@media (max-width: 34rem) {
  .missing em { padding-left: 0; } h3 { flex-wrap: wrap; }
  article.kept { grid-template-columns: 1fr auto; }
  .kept .badge { grid-column: 2; }
  .kept p, .kept ul { grid-column: 1 / -1; grid-row: auto; }
  .kept .promise { grid-row: 2; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --card: #fff; --code: #f2f2f2;
    --broken: #a3142a; --excused: #7a4d00; --kept: #0d5c32; --not-tried: #6a2490; --not-offered: #555; }
  html { font-size: 11px; }
  main, footer { max-width: none; padding: 0; }
  article, .missing { break-inside: avoid; }
  h2, h4, .meaning { break-after: avoid; }
  .trace { max-height: none; overflow: visible; }
  .bar i, .gauge, .gauge i, .legend li::before { -webkit-print-color-adjust: exact;
    print-color-adjust: exact; }
}
"""
