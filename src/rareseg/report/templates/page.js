"use strict";
(() => {
  const root = document.documentElement;
  const plots = [...document.querySelectorAll(".plot")];
  const colour = (name) => getComputedStyle(root).getPropertyValue("--chart-" + name).trim();

  // Colours in figures are tokens, so that light and dark come from the style sheet alone.
  const themed = (node) => {
    if (typeof node === "string" && node.startsWith("token:")) return colour(node.slice(6));
    if (Array.isArray(node)) return node.map(themed);
    if (node && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, themed(value)]));
    return node;
  };

  // Four megabytes of drawing library are read when the first figure is: the page opens without.
  const load = () => {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
  };

  const draw = (element) => {
    load();
    const figure = themed(JSON.parse(document.getElementById(element.dataset.figure).textContent));
    const axis = {
      gridcolor: colour("grid"), zeroline: false, linecolor: colour("grid"), showline: true,
      fixedrange: true, automargin: true, tickfont: { size: 11.5 }, tickangle: 0, title: { standoff: 8, font: { size: 12.5 } },
    };
    const merged = (own) => ({ ...axis, ...own, title: { ...axis.title, ...(own && own.title) } });
    const layout = {
      ...figure.layout,
      xaxis: merged(figure.layout.xaxis), yaxis: merged(figure.layout.yaxis),
      margin: { l: 44, r: 12, t: 20, b: 36 }, hovermode: "closest", showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("ink") },
      hoverlabel: { font: { size: 12.5 } },
    };
    // The last trace is where the reader's own cut lies.
    if (Explorer.marked(element.dataset.figure))
      figure.data.push({
        type: "scatter", mode: "markers", x: [null], y: [null], hoverinfo: "skip",
        marker: { color: "rgba(0,0,0,0)", size: 15, symbol: "circle", line: { width: 3, color: colour("ink") } },
      });
    Plotly.react(element, figure.data, layout, { displayModeBar: false, responsive: true });
    element.dataset.drawn = "yes";
    Explorer.follow(element);
  };

  // A curve is drawn when it comes near the screen: the page opens at once, however many there are.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "400px" });
  plots.forEach((element) => watcher.observe(element));
  const redraw = () => plots.filter((element) => element.dataset.drawn).forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => plots.forEach(draw));

  // Regions are tabs; without this script they stand below each other.
  const list = document.querySelector('[role="tablist"]');
  if (list) {
    const tabs = [...list.querySelectorAll('[role="tab"]')];
    const show = (chosen) => {
      for (const tab of tabs) {
        const on = tab === chosen;
        tab.setAttribute("aria-selected", String(on));
        tab.tabIndex = on ? 0 : -1;
        for (const id of tab.getAttribute("aria-controls").split(" "))
          document.getElementById(id).hidden = !on;
      }
    };
    list.hidden = false;
    tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => show(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(index + step + tabs.length) % tabs.length];
        show(next);
        next.focus();
        event.preventDefault();
      });
    });
    show(tabs[0]);
  }

  for (const button of document.querySelectorAll(".enlarge")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const large = button.closest(".picture").classList.toggle("large");
      button.setAttribute("aria-pressed", String(large));
    });
  }

  // Tables sort by the column that is clicked; what is undefined stays last.
  const sort = (head) => {
    const table = head.closest("table");
    const column = head.cellIndex;
    const numeric = head.classList.contains("number");
    const rising = head.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows].sort((first, second) => {
      const [a, b] = [key(first), key(second)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
      return rising ? order : -order;
    });
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  };
  for (const button of document.querySelectorAll(".cases th button"))
    button.addEventListener("click", () => sort(button.closest("th")));

  // Pictures by what went wrong, by stratum, object size and name.
  for (const filters of document.querySelectorAll("[data-gallery]")) {
    const pictures = [...filters.nextElementSibling.querySelectorAll(".picture")];
    const wanted = Object.fromEntries(
      [...filters.querySelectorAll("[data-filter]")].map((one) => [one.dataset.filter, one]));
    const apply = () => {
      let left = 0;
      for (const picture of pictures) {
        const { dataset } = picture;
        const small = wanted.smallest.value === "" ||
          (dataset.smallest !== "" && Number(dataset.smallest) <= Number(wanted.smallest.value));
        const on = small && (!wanted.why.value || dataset.why === wanted.why.value) &&
          (!wanted.stratum.value || dataset.stratum === wanted.stratum.value) &&
          dataset.name.toLowerCase().includes(wanted.name.value.toLowerCase());
        picture.hidden = !on;
        left += on;
      }
      filters.querySelector('[role="status"]').textContent = `${left} of ${pictures.length} shown`;
    };
    filters.hidden = pictures.length < 3;
    Object.values(wanted).forEach((one) => one.addEventListener("input", apply));
  }

  // The table of cases: narrowed by name, and saved as it stands.
  for (const filters of document.querySelectorAll("[data-table]")) {
    const table = filters.nextElementSibling.querySelector("table");
    const wanted = filters.querySelector("input");
    filters.hidden = false;
    wanted.addEventListener("input", () => {
      for (const row of table.tBodies[0].rows) {
        const names = [...row.cells].slice(0, 2).map((cell) => cell.textContent).join(" ");
        row.hidden = !names.toLowerCase().includes(wanted.value.toLowerCase());
      }
    });
    filters.querySelector("[data-save]").addEventListener("click", () => {
      const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
      const value = (cell) => quoted(cell.dataset.key ?? cell.textContent.trim());
      const rows = [table.tHead.rows[0], ...[...table.tBodies[0].rows].filter((row) => !row.hidden)];
      const text = rows.map((row) => [...row.cells].map(value).join(",")).join("\n") + "\n";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      link.download = "cases.csv";
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  Explorer.start();
})();
