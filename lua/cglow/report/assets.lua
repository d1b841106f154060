--- Style and script of the report; they are written into the page, so that it
-- needs nothing else.
-- @module cglow.report.assets
local M = {}

M.style = [[
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1d2126; --soft: #667079; --line: #e2e4e1; --band: #f4f5f2;
  --c1: #1f6fb4; --c2: #cf5512; --c3: #0d8a66; --c4: #9a4fa8; --c5: #a67c00; --c6: #54616d; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --ink: #e4e7e9; --soft: #98a2ab; --line: #2d3338;
  --band: #1d2125; --c1: #62a8e5; --c2: #f08d55; --c3: #45c29b; --c4: #cb8ad8; --c5: #dcb544; --c6: #a9b4be; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p, figure, pre, dl { margin: 0; }
.sub, figcaption, .note { color: var(--soft); }
.sub { margin-top: .35rem; }
p + .scroll, p + .sheets, pre + p, p + pre { margin-top: .6rem; }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.5rem 0 0; }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.facts dd small { font-size: .8rem; color: var(--soft); }
figure + figure, .sheets + .sheets { margin-top: 1.75rem; }
figcaption { font-size: .9rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.5rem;
  margin-top: 1.75rem; }
.pair figure { margin: 0; }
.chart { position: relative; }
.chart.narrow { display: none; }
@media (max-width: 40rem) { .chart.wide { display: none; } .chart.narrow { display: block; margin-top: 0; } }
.chart svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
.chart .grid { stroke: var(--line); }
.chart .tick { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.curve path { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.curve circle { fill: currentColor; }
.curve.faint path { stroke-width: 1.2; opacity: .55; }
.c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; font-size: .85rem; margin: .15rem 0 .35rem; }
.key i { display: inline-block; width: 1.4em; height: 0; border-top: 3px solid currentColor; margin-right: .45em;
  vertical-align: middle; line-height: 0; overflow: hidden; }
.key.faint i { border-top-width: 1.5px; opacity: .7; }
.mark { fill: currentColor; }
.rule { stroke: var(--soft); stroke-dasharray: 3 3; }
.readout { position: absolute; pointer-events: none; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; padding: .35rem .6rem; font-size: .82rem; font-variant-numeric: tabular-nums; white-space: nowrap;
  box-shadow: 0 2px 10px rgba(0, 0, 0, .14); }
.readout b { font-weight: 600; }
.readout div { display: flex; justify-content: space-between; gap: 1rem; }
/* What goes on to the right fades out there, and is not hidden without a sign; the last cells have room for that. */
.scroll { overflow-x: auto; -webkit-mask-image: linear-gradient(to left, transparent, #000 1.5rem);
  mask-image: linear-gradient(to left, transparent, #000 1.5rem); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.text, th.text { text-align: left; }
thead th { color: var(--soft); font-weight: 500; white-space: normal; vertical-align: bottom; }
th:last-child, td:last-child { padding-right: 1.5rem; }
.turned td:first-child { white-space: normal; min-width: 4.6rem; }
@media (max-width: 40rem) { table { font-size: .8rem; } th, td { padding-right: .5rem; } }
tr.best td { background: var(--band); font-weight: 600; }
td.differs { background: var(--band); font-weight: 600; }
.sheet img { display: block; max-width: 100%; min-width: 52rem; height: auto; margin-top: .4rem;
  border-radius: 4px; background: #fff content-box; box-sizing: content-box; padding-right: 1.5rem; }
.slider { display: flex; align-items: center; gap: .8rem; margin-bottom: .6rem; font-size: .9rem; color: var(--soft); }
.slider input { flex: 1; max-width: 22rem; accent-color: var(--c1); }
pre { background: var(--band); border-radius: 6px; padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .85rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
details summary { cursor: pointer; color: var(--soft); font-size: .9rem; margin: .75rem 0 .5rem; }
ul { margin: .5rem 0 0; padding-left: 1.2rem; }
@media print { .slider, .readout { display: none; } }
]]

M.script = [[
"use strict";
(function () {
  var SVG = "http://www.w3.org/2000/svg";

  // The point of a curve that is nearest to a step.
  function nearest(points, step) {
    var low = 0, high = points.length - 1;
    while (high - low > 1) {
      var middle = (low + high) >> 1;
      if (points[middle][0] < step) { low = middle; } else { high = middle; }
    }
    return step - points[low][0] < points[high][0] - step ? points[low] : points[high];
  }

  function make(parent, name, attributes) {
    var node = document.createElementNS(SVG, name);
    Object.keys(attributes).forEach(function (key) { node.setAttribute(key, attributes[key]); });
    parent.appendChild(node);
    return node;
  }

  function text(parent, tag, content, kind) {
    var node = document.createElement(tag);
    node.textContent = content;
    if (kind) { node.className = kind; }
    parent.appendChild(node);
    return node;
  }

  function readout(figure) {
    var data = JSON.parse(figure.getAttribute("data-chart")), box = data.box;
    var svg = figure.querySelector("svg"), out = figure.querySelector(".readout"), rule = null, marks = [];

    function hide() {
      out.hidden = true;
      marks.forEach(function (mark) { mark.remove(); });
      marks = [];
    }

    function show(event) {
      var frame = svg.getBoundingClientRect(), zoom = frame.width / box.width;
      var x = (event.clientX - frame.left) / zoom;
      hide();
      if (x < box.left - 8 || x > box.right + 8) { return; }
      var step = data.last * Math.min(1, Math.max(0, (x - box.left) / (box.right - box.left)));
      var anchor = nearest(data.curves[0].points, step);
      data.curves.forEach(function (curve) {
        var point = nearest(curve.points, step);
        if (Math.abs(point[0] - step) < Math.abs(anchor[0] - step)) { anchor = point; }
      });
      function px(s) { return box.left + (box.right - box.left) * s / data.last; }
      rule = make(svg, "line", {"class": "rule", x1: px(anchor[0]), x2: px(anchor[0]), y1: box.top, y2: box.bottom});
      marks.push(rule);
      out.textContent = "";
      text(out, "b", "step " + Math.round(anchor[0]));
      data.curves.forEach(function (curve) {
        var point = nearest(curve.points, anchor[0]);
        var y = box.top + (box.bottom - box.top) * (data.high - point[1]) / (data.high - data.low);
        if (y >= box.top) {
          marks.push(make(svg, "circle", {"class": "mark c" + curve.colour, cx: px(point[0]), cy: y, r: 4}));
        }
        var row = text(out, "div", "", "c" + curve.colour);
        text(row, "span", curve.name + (point[0] === anchor[0] ? "" : " (step " + Math.round(point[0]) + ")"));
        text(row, "span", Number(point[1].toPrecision(4)));
      });
      out.hidden = false;
      var host = figure.getBoundingClientRect(), left = frame.left - host.left + px(anchor[0]) * zoom + 14;
      if (left + out.offsetWidth > host.width) { left -= out.offsetWidth + 28; }
      out.style.left = Math.max(0, left) + "px";
      out.style.top = (frame.top - host.top + box.top * zoom + 6) + "px";
    }

    svg.addEventListener("pointermove", show);
    svg.addEventListener("pointerdown", show);
    svg.addEventListener("pointerleave", hide);
  }

  // Of the sheets of a run only one is shown; without this script all are.
  function slideshow(host) {
    var sheets = Array.prototype.slice.call(host.querySelectorAll("figure"));
    if (sheets.length < 2) { return; }
    var bar = document.createElement("label"), input = document.createElement("input");
    bar.className = "slider";
    input.type = "range";
    input.min = 0;
    input.max = sheets.length - 1;
    input.value = sheets.length - 1;
    text(bar, "span", "over time");
    bar.appendChild(input);
    host.insertBefore(bar, sheets[0]);
    function show() {
      sheets.forEach(function (sheet, i) { sheet.hidden = i !== Number(input.value); });
    }
    input.addEventListener("input", show);
    show();
  }

  document.querySelectorAll("figure.chart").forEach(readout);
  document.querySelectorAll(".sheets").forEach(slideshow);
}());
]]

return M
