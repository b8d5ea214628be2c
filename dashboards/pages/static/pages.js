"use strict";
// Draws the figures of a page in the colours of the page, and keeps the page up to date.

const REFRESH_MS = 3000;

function pageColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ink: read("--ink"), line: read("--line"), paper: read("--paper") };
}

// Colours of the figures that are too dark for a dark page, and what stands for them there.
const LIGHTER = { "#2b3038": "#e6e9ee", "#1f5fa8": "#6aa9ee", "#b5392c": "#f08d80", "#2a8c55": "#5cc98c" };

function recolour(figure) {
  if (!matchMedia("(prefers-color-scheme: dark)").matches) return figure;
  const text = JSON.stringify(figure).replace(/#[0-9a-f]{6}/g, (colour) => LIGHTER[colour] || colour);
  return JSON.parse(text);
}

function axisTitle(layout) {
  return JSON.stringify(layout.xaxis?.title ?? "");
}

function paint(layout, element) {
  const { ink, line, paper } = pageColours();
  const isNarrow = element.clientWidth < 600;
  const axis = (given) => ({
    ...given, gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true,
    title: { ...(given.title || {}), font: { size: isNarrow ? 11 : 14 } },
  });
  const axes = Object.fromEntries(
    Object.entries(layout).filter(([name]) => /^[xy]axis/.test(name)).map(([name, given]) => [name, axis(given)]));
  return {
    ...layout, ...axes,
    template: undefined, autosize: true, width: undefined, height: undefined,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...(layout.font || {}), color: ink }, hoverlabel: { bgcolor: paper, font: { color: ink } },
    title: undefined, margin: { l: 60, r: isNarrow ? 12 : 40, t: 20, b: 50 },
    legend: isNarrow ? { orientation: "h", y: -0.25 } : { ...(layout.legend || {}), bgcolor: "rgba(0,0,0,0)" },
    uirevision: axisTitle(layout), // zoom and hidden traces stay when data changes
  };
}

function draw(element, figure) {
  const { data, layout } = recolour(figure);
  return Plotly.react(element, data, paint(layout, element), { displaylogo: false, responsive: true });
}

async function drawFront(element) {
  const axis = document.getElementById("axis");
  let tag = null;
  let drawn = null;
  async function load() {
    const headers = tag === null ? {} : { "If-None-Match": tag };
    const answer = await fetch(`${element.dataset.figure}?x=${encodeURIComponent(axis.value)}`, { headers, cache: "no-store" });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      drawn = await answer.json();
      await draw(element, drawn);
    }
  }
  axis.addEventListener("change", async () => {
    tag = null;
    history.replaceState(null, "", `?x=${encodeURIComponent(axis.value)}`);
    await load();
    await refreshParts();
  });
  await load();
  element.on("plotly_click", (event) => {
    const chosen = event.points.find((point) => point.customdata);
    if (chosen) {
      const [trial, stage] = chosen.customdata;
      window.location.assign(`${element.dataset.trials}/${trial}?stage=${stage}`);
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(element, drawn));
  return load;
}

async function refreshParts() {
  const parts = document.querySelectorAll("[data-refresh]");
  if (parts.length === 0) return;
  const answer = await fetch(window.location.href, { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts) {
    const now = fresh.querySelector(`[data-refresh="${part.dataset.refresh}"]`);
    if (now !== null && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
  }
}

async function start() {
  for (const script of document.querySelectorAll("script.figure")) {
    const figure = JSON.parse(script.textContent);
    const element = script.previousElementSibling;
    await draw(element, figure);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(element, figure));
  }
  const front = document.getElementById("front");
  const load = front === null ? async () => {} : await drawFront(front);
  setInterval(() => {
    if (!document.hidden) Promise.all([load(), refreshParts()]).catch(() => {}); // the server may be away for a while
  }, REFRESH_MS);
}

start();
