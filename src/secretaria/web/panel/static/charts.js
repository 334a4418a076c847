// Draws the trend chart from the data beside it. Every string a person reads comes ready from the server; the canvas
// gets heights only. Live updates rewrite the data element, and the chart follows it in place.
"use strict";
(() => {
  const canvas = document.getElementById("grafico");
  const source = document.getElementById("grafico-dados");
  if (!canvas || !source || !window.Chart) return;
  const box = document.getElementById("grafico-caixa");
  const tip = document.getElementById("grafico-dica");
  const spoken = document.getElementById("grafico-ponto");
  const HATCH_PX = 6;
  const TIP_GAP_PX = 12;
  const POINTS_MAX = 62;
  let data = JSON.parse(source.textContent);
  let colors = {};
  let hatch = null;
  let chart = null;
  let pinned = -1;

  // The tokens are light-dark() pairs: only a used colour is resolved.
  const token = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    box.append(probe);
    const color = getComputedStyle(probe).color;
    probe.remove();
    return color;
  };

  const readColors = () => {
    const names = ["bar", "compare", "border", "border-strong", "text-3", "surface"];
    colors = Object.fromEntries(names.map((name) => [name, token(name)]));
    const tile = document.createElement("canvas");
    tile.width = tile.height = HATCH_PX;
    const pen = tile.getContext("2d");
    pen.fillStyle = colors.surface;
    pen.fillRect(0, 0, HATCH_PX, HATCH_PX);
    pen.strokeStyle = colors.bar;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (const shift of [-HATCH_PX, 0, HATCH_PX]) {
      pen.moveTo(shift, HATCH_PX);
      pen.lineTo(shift + HATCH_PX, 0);
    }
    pen.stroke();
    hatch = canvas.getContext("2d").createPattern(tile, "repeat");
  };

  const isOpen = (index) => index === data.unfinished;

  const ours = () => {
    if (data.kind === "bar")
      return {
        type: "bar",
        data: data.values,
        backgroundColor: (point) => (isOpen(point.dataIndex) ? hatch : colors.bar),
        borderColor: colors.bar,
        borderWidth: (point) => (isOpen(point.dataIndex) ? 1 : 0),
        categoryPercentage: 0.9,
        barPercentage: 0.8,
        order: 2,
      };
    return {
      type: "line",
      data: data.values,
      borderColor: colors.bar,
      borderWidth: 2,
      spanGaps: false,
      pointRadius: data.values.length > POINTS_MAX ? 0 : 3,
      pointHoverRadius: 5,
      pointBackgroundColor: (point) => (isOpen(point.dataIndex) ? colors.surface : colors.bar),
      pointBorderColor: colors.bar,
      segment: { borderDash: (at) => (isOpen(at.p1DataIndex) ? [4, 3] : undefined) },
      order: 2,
    };
  };

  const earlier = () => ({
    type: "line",
    data: data.earlier,
    borderColor: colors.compare,
    borderWidth: 2,
    borderDash: [2, 3],
    pointRadius: data.labels.length === 1 ? 4 : 0,
    pointHoverRadius: 3,
    pointBackgroundColor: colors.compare,
    spanGaps: false,
    order: 1,
  });

  // Dots alone are lost on a column: a wider line of the ground's colour lies under them.
  const halo = () => ({ ...earlier(), borderColor: colors.surface, borderDash: [], borderWidth: 5, pointRadius: 0, pointHoverRadius: 0, order: 1.5 });

  const datasets = () => (data.earlier ? [ours(), earlier(), halo()] : [ours()]);
  const font = () => ({ family: getComputedStyle(document.body).fontFamily, size: 12 });

  const scales = () => ({
    x: {
      grid: { display: false },
      border: { color: colors["border-strong"] },
      ticks: { color: colors["text-3"], font: font(), maxRotation: 0, autoSkip: true, autoSkipPadding: 12 },
    },
    y: {
      min: 0,
      max: data.ticks.at(-1)[0],
      grid: { color: colors.border, drawTicks: false },
      border: { display: false },
      afterBuildTicks: (axis) => {
        axis.ticks = data.ticks.map(([value, label]) => ({ value, label }));
      },
      ticks: {
        color: colors["text-3"],
        font: font(),
        padding: 8,
        autoSkip: false,
        callback: (value, index) => data.ticks[index]?.[1] ?? "",
      },
    },
  });

  const line = (text, name) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    if (name) paragraph.className = name;
    return paragraph;
  };

  const sentences = (index) => {
    const found = [[data.names[index], "when"], [data.texts[index], "value"]];
    if (data.earlier && data.earlierTexts[index]) found.push([`${data.earlierName}: ${data.earlierTexts[index]}`, ""]);
    if (data.changes[index]) found.push([data.changes[index], ""]);
    if (data.states[index]) found.push([data.states[index], "when"]);
    return found;
  };

  const hide = () => {
    tip.hidden = true;
    pinned = -1;
    chart.setActiveElements([]);
    chart.update("none");
  };

  const place = (index) => {
    const point = chart.getDatasetMeta(0).data[index];
    if (!point) return;
    tip.replaceChildren(...sentences(index).map(([text, name]) => line(text, name)));
    tip.hidden = false;
    const room = box.clientWidth - tip.offsetWidth;
    const right = point.x + TIP_GAP_PX;
    const left = right <= room ? right : point.x - TIP_GAP_PX - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(left, room))}px`;
    tip.style.top = "0px";
  };

  const walkTo = (index) => {
    pinned = Math.max(0, Math.min(index, data.labels.length - 1));
    chart.setActiveElements(chart.data.datasets.map((_, number) => ({ datasetIndex: number, index: pinned })));
    chart.update("none");
    place(pinned);
    spoken.textContent = sentences(pinned).map(([text]) => text).join(", ");
  };

  const draw = () => {
    readColors();
    chart?.destroy();
    chart = new Chart(canvas, {
      data: { labels: data.labels, datasets: datasets() },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        onHover: (_event, active) => {
          if (active.length && active[0].index !== pinned) place((pinned = active[0].index));
        },
        plugins: { legend: { display: false }, tooltip: { enabled: false } },
        scales: scales(),
      },
    });
    box.dataset.drawn = data.kind;
  };

  // In place: the same canvas, the same axes; nothing flickers and nothing moves but heights.
  const follow = () => {
    const next = JSON.parse(source.textContent);
    const isSameShape = next.kind === data.kind && Boolean(next.earlier) === Boolean(data.earlier);
    data = next;
    if (!isSameShape) return draw();
    chart.data.labels = data.labels;
    chart.data.datasets[0].data = data.values;
    for (const dataset of chart.data.datasets.slice(1)) dataset.data = data.earlier;
    chart.options.scales.y.max = data.ticks.at(-1)[0];
    chart.update("none");
    if (!tip.hidden && pinned >= 0) place(pinned);
  };

  draw();
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: pinned + 1, ArrowLeft: pinned < 0 ? data.labels.length - 1 : pinned - 1, Home: 0, End: data.labels.length - 1 };
    if (event.key in steps) {
      event.preventDefault();
      walkTo(steps[event.key]);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !tip.hidden) hide();
  });
  canvas.addEventListener("blur", hide);
  box.addEventListener("pointerleave", hide);
  new MutationObserver(follow).observe(source, { childList: true, characterData: true, subtree: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // Rows keep their places while figures move; when the order would be another, a link offers it.
  const order = document.getElementById("quebra-ordem");
  const first = order?.textContent;
  if (order)
    new MutationObserver(() => {
      document.getElementById("reordenar").hidden = order.textContent === first;
    }).observe(order, { childList: true, characterData: true, subtree: true });
})();
