"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const hidden = new Set();
  const redraw = [];

  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    redraw.forEach((draw) => draw());
  });
  dark.addEventListener("change", () => redraw.forEach((draw) => draw()));

  const charts = [];
  document.querySelectorAll(".chip").forEach((chip, place) => chip.addEventListener("click", () => {
    const show = hidden.delete(place);
    if (!show) hidden.add(place);
    chip.setAttribute("aria-pressed", String(show));
    document.querySelectorAll(".series.s" + chip.dataset.look).forEach((element) => {
      element.style.opacity = show ? "" : "0.06";
    });
    charts.forEach((chart) => chart.plot && chart.plot.setSeries(place + 1, { show }));
  }));

  const source = document.getElementById("timeline");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const metric = document.getElementById("metric");
  const group = document.getElementById("group");

  const size = (value) => {
    if (value == null) return "–";
    for (const [power, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
      if (value >= power) return +(value / power).toPrecision(3) + " " + unit;
    }
    return +value.toPrecision(3) + " B";
  };
  // Ticks in one unit, with as many digits as the one that needs most.
  function sizes(ticks) {
    const most = Math.max(...ticks.map(Math.abs));
    const [power, unit] = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]].find(([p]) => most >= p) || [1, "B"];
    return even(ticks.map((v) => v / power)).map((text, i) => (ticks[i] ? text + " " + unit : "0"));
  }
  const share = (value) => (value == null ? "–" : value.toFixed(4));

  // A kind of vertical axis: linear; by logarithm over more than 10 times; or, with zeros, asinh.
  function distribution(columns, bytes) {
    const values = columns.flat().filter((value) => value != null);
    const positive = values.filter((value) => value > 0);
    if (!bytes || !positive.length) return {};
    const low = positive.reduce((a, b) => Math.min(a, b));
    const high = positive.reduce((a, b) => Math.max(a, b));
    if (high <= 10 * low) return {};
    if (positive.length < values.length) return { distr: 4, asinh: low };
    return { distr: 3, range: (plot, least, most) => [least / 1.4, most * 1.4] };
  }

  // Ticks of a logarithmic axis: powers of ten, with 2 and 5 between where there are few.
  function decades(plot, axis, low, high) {
    const steps = high > 300 * low ? [1] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      ticks.push(...steps.map((step) => step * 10 ** power));
    }
    return ticks.filter((tick) => tick >= low && tick <= high);
  }

  // As many digits for every tick as the one that needs most.
  function even(ticks) {
    const digits = Math.max(...ticks.map((v) => (String(+v.toFixed(5)).split(".")[1] || "").length));
    return ticks.map((v) => v.toFixed(digits));
  }

  // Dashes by which series of about the same values are drawn by turns, so that all are seen.
  function turns(columns) {
    const values = columns.flat().filter((value) => value != null);
    const near = 0.004 * (Math.max(...values) - Math.min(...values));
    const alike = (a, b) => a.every((value, i) => (value == null ? b[i] == null
      : b[i] != null && Math.abs(value - b[i]) <= Math.max(near, 0.004 * Math.abs(value))));
    return columns.map((column, index) => {
      const bundle = columns.map((_, i) => i).filter((i) => alike(column, columns[i]));
      if (bundle.length < 2 || column.every((value) => value == null)) return data.dashes[index];
      const turn = bundle.indexOf(index);
      return turn ? [0, 7 * turn, 7, 7 * (bundle.length - 1 - turn)] : [7, 7 * (bundle.length - 1)];
    });
  }

  function shadeDrift(plot) {
    const box = plot.bbox;
    plot.ctx.save();
    plot.ctx.fillStyle = color("--muted");
    for (const [round, part] of data.drift) {
      const left = plot.valToPos(round - 0.5, "x", true);
      const right = Math.max(plot.valToPos(round + 0.5, "x", true), left + 2);
      if (right < box.left || left > box.left + box.width) continue;
      plot.ctx.globalAlpha = 0.1 + 0.2 * part;
      const start = Math.max(left, box.left);
      plot.ctx.fillRect(start, box.top, Math.min(right, box.left + box.width) - start, box.height);
    }
    plot.ctx.restore();
  }

  function draw(chart) {
    if (chart.plot) chart.plot.destroy();
    const chosen = data.groups[Number(group.value)];
    const key = chart.bytes ? "bytes" : metric.value;
    const given = data.labels.map((label) => chosen.series[label][key]);
    const silent = given.map((values) => chart.bytes && values.every((v) => !v));
    const columns = given.map((values, i) => (silent[i] ? values.map(() => null) : values));
    const scale = distribution(columns, chart.bytes);
    const dashes = turns(columns);
    const repeated = (index) => data.looks[index] >= 8;
    const paint = data.looks.map((look) => color("--s" + (look % 8)));
    // At rest the legend shows the last round.
    const format = chart.bytes ? size : share;
    const axis = {
      stroke: color("--muted"), grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false },
      font: "12px " + getComputedStyle(document.body).fontFamily,
    };
    chart.plot = new uPlot({
      width: chart.element.clientWidth,
      height: 250,
      cursor: { sync: { key: "rounds" }, points: { size: 7 } },
      scales: { x: { time: false }, y: scale },
      axes: [
        { ...axis, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
        {
          ...axis, size: 62,
          ...(scale.distr === 3 ? { splits: decades, filter: (_, ticks) => ticks } : {}),
          values: (_, ticks) => (!chart.bytes ? even(ticks)
            : scale.distr ? ticks.map((v) => (v == null ? "" : size(v))) : sizes(ticks)),
        },
      ],
      series: [
        { label: "round", value: (_, v, i, at) => String(at == null ? chosen.rounds.at(-1) : v) },
        ...data.labels.map((label, index) => ({
          label, stroke: paint[index], width: 1.8, show: !hidden.has(index), dash: dashes[index],
          points: { show: chosen.rounds.length <= 40, size: 5, fill: paint[index] },
          value: (_, v, i, at) => (silent[index] ? "0 B" : format(at == null ? columns[index].at(-1) : v)),
        })),
      ],
      legend: { markers: {
        width: (plot, i) => (i && repeated(i - 1) ? 3 : 0), stroke: (plot, i) => paint[i - 1],
        dash: (plot, i) => (i && data.looks[i - 1] >= 16 ? "dotted" : "solid"),
        fill: (plot, i) => (i && !repeated(i - 1) ? paint[i - 1] : "transparent"),
      } },
      hooks: { drawClear: [shadeDrift] },
    }, [chosen.rounds, ...columns], chart.element);
  }

  charts.push({ element: document.getElementById("chart-accuracy"), bytes: false });
  charts.push({ element: document.getElementById("chart-bytes"), bytes: true });
  const all = () => charts.forEach(draw);
  redraw.push(all);
  metric.addEventListener("change", () => draw(charts[0]));
  group.addEventListener("change", all);
  all();
  new ResizeObserver(() => charts.forEach((chart) => {
    const width = chart.element.clientWidth;
    if (width !== chart.plot.width) chart.plot.setSize({ width, height: 250 });
  })).observe(charts[0].element);
})();
