"use strict";
// The slices of volumes: image, reference and mask follow the slider.
const Stacks = (() => {
  const opened = new Map();
  const of = (key) => {
    if (!opened.has(key))
      opened.set(key, JSON.parse(document.getElementById(`${key}-stack`).textContent));
    return opened.get(key);
  };
  const start = () => {
    for (const place of document.querySelectorAll("[data-stack]")) {
      const key = place.dataset.stack, figure = place.closest("figure");
      const slider = place.querySelector("input"), output = place.querySelector("output");
      const live = figure.querySelector("[data-live]");
      const show = () => {
        const number = Number(slider.value), slice = of(key).slices[number];
        figure.style.setProperty("--image", `url(${slice.image})`);
        const [drawn, painted] = [...figure.querySelectorAll(".panel")].slice(1);
        drawn.querySelector("img").src = slice.reference;
        const still = painted.querySelector("img");
        if (still) still.src = slice.errors;
        output.textContent = slice.plane;
        figure.querySelector(".plane").textContent = `Slice ${slice.plane}. `;
        const [right, wrong, missed] = slice.counts;
        if (still) figure.querySelector(".painted").textContent =
          `${right} right, ${wrong} wrong, ${missed} missed in this slice.`;
        if (live) {
          live.dataset.slice = number;
          live.dispatchEvent(new Event("slice"));
        }
      };
      slider.value = of(key).shown;
      output.textContent = of(key).slices[of(key).shown].plane;
      if (live) live.dataset.slice = of(key).shown;
      slider.addEventListener("input", show);
      place.hidden = false;
    }
  };
  return { of, start };
})();

// The controls of a region's cut, and everything on the page that follows them.
const Explorer = (() => {
  const explorers = new Map(); // by the key of a region's panel
  const LOWEST = 1e-6;

  // As rareseg writes numbers: halves to the even digit, shares with more digits near 0 and 1.
  const fixed = (value, digits) => {
    const scaled = value * 10 ** digits, down = Math.floor(scaled);
    if (scaled - down === 0.5) return ((down % 2 ? down + 1 : down) / 10 ** digits).toFixed(digits);
    return value.toFixed(digits);
  };
  const percent = (share) => {
    const value = 100 * share, distance = Math.min(value, 100 - value);
    if (distance >= 1e-9 && distance < 0.001) return value < 50 ? "<0.001 %" : ">99.999 %";
    let digits = 0;
    if (distance >= 1e-9 && !(value >= 9.95 && distance >= 0.95))
      digits = distance >= 0.095 ? (value < 0.95 ? 2 : 1) : -Math.floor(Math.log10(distance));
    return `${fixed(value, digits).replace(/\.0$/, "")} %`;
  };
  const quantity = (value) => {
    if (value === 0) return "0";
    if (value >= 100) return Math.round(value).toLocaleString("en");
    return fixed(value, value >= 10 ? 1 : value >= 0.01 ? 2 : 1 - Math.floor(Math.log10(value)));
  };
  const score = (value) => fixed(value, 2);
  const whole = (value) => value.toLocaleString("en");
  const digits = (value) => {
    const distance = Math.min(value, 1 - value);
    if (distance <= 0 || value === 0.5) return String(value);
    return fixed(value, Math.max(3, 1 - Math.floor(Math.log10(distance))));
  };

  const FORMS = { score, share: percent, size: quantity, count: quantity };
  const TOTALS = [
    ["All together", null],
    ["True positives", "tp", whole], ["False positives", "fp", whole],
    ["False negatives", "fn", whole], ["True negatives", "tn", whole],
    ["Cost per case", "cost", quantity],
  ];

  const make = async (section) => {
    const key = section.dataset.explorer;
    const opened = await Cuts.open(JSON.parse(document.getElementById(`${key}-explorer`).textContent));
    const { record } = opened;
    const gates = [...new Set([0, ...record.thresholds, ...record.gates, record.chosen.gate])].sort((a, b) => a - b);
    const panel = document.getElementById(key);
    const controls = Object.fromEntries(
      [...section.querySelectorAll("[data-control]")].map((one) => [one.dataset.control, one]));
    const prices = Object.fromEntries(
      [...section.querySelectorAll("[data-cost]")].map((one) => [one.dataset.cost, one]));
    controls.gate.max = gates.length - 1;
    const chosen = {
      threshold: record.chosen.threshold, size: record.chosen.size, gate: record.chosen.gate,
    };
    const half = record.thresholds.indexOf(0.5);
    const self = { key, opened, record, chosen, cut: { ...chosen }, moved: false, plots: new Map() };
    explorers.set(key, self);

    const priced = () => ({
      positive: Number(prices.positive.value), negative: Number(prices.negative.value),
      level: prices.level.value,
    });
    const measured = (cut) => ({ ...Cuts.measure(opened, cut), cost: Cuts.cost(opened, cut, priced()) });
    const isChosen = () => record.chosen.exact && self.cut.threshold === chosen.threshold &&
      self.cut.size === chosen.size && self.cut.gate === chosen.gate;

    const table = section.querySelector(".now tbody");
    const cells = [];
    // Of the measures of the scorecard those that can be counted here.
    const counted = Cuts.measure(opened, chosen);
    const rows = record.measures
      .filter(([, measure]) => measure === null || measure in counted)
      .map(([title, measure, unit]) => [title, measure, measure && FORMS[unit]]);
    for (const [name, measure, form] of [...rows, ...TOTALS]) {
      const row = table.insertRow();
      const head = document.createElement("th");
      head.textContent = name;
      row.append(head);
      if (measure === null) { head.colSpan = 3; head.scope = "rowgroup"; row.className = "stratum"; continue; }
      head.scope = "row";
      row.dataset.measure = measure;
      cells.push({ measure, form, row, here: row.insertCell(), there: row.insertCell() });
    }
    const write = (cell, value, form) => {
      cell.className = "number";
      cell.dataset.value = value === null ? "" : String(value);
      cell.textContent = value === null ? "undefined" : form(value);
    };

    const quoted = (word) => (/^[\w.\/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
    const command = () => {
      const size = record.sizes[self.cut.size];
      return `rareseg tune ${quoted(record.run)} --region ${quoted(record.region)} ` +
        `--threshold ${record.thresholds[self.cut.threshold]}` +
        (size ? ` --smallest-component ${quoted(record.sizeNames[self.cut.size])}` : "") +
        (self.cut.gate > 0 ? ` --gate ${self.cut.gate}` : "");
    };

    // Where flagging every image, or none, costs no more than any cut.
    const trivial = ({ silent, price }) => {
      if (silent) return `Predicting nothing is cheapest: ${quantity(price)} per case.`;
      const { nNegative, nCases } = self.here, { level, positive } = priced();
      const everything = (positive * nNegative) / nCases;
      return level === "image" && everything <= price + 1e-9
        ? `Flagging every image is cheapest: ${quantity(everything)} per case.` : "";
    };

    const pictures = [...panel.querySelectorAll("[data-live]")].map((place) => ({
      place, caption: place.closest("figure").querySelector(".painted"), near: false,
    }));
    // A photograph has one record, a volume one for each slice; each is opened when it is needed.
    const records = new Map();
    const recordOf = (picture) => {
      const { live, slice } = picture.place.dataset;
      const name = slice === undefined ? live : `${live} ${slice}`;
      if (!records.has(name))
        records.set(name, Paint.open(slice === undefined
          ? JSON.parse(document.getElementById(live).textContent)
          : Stacks.of(live).slices[Number(slice)].live));
      return records.get(name);
    };
    const repaint = async (picture) => {
      if (!picture.near || !self.moved) return;
      const content = await recordOf(picture);
      const shown = record.imageScores[content.case] >= self.cut.gate;
      const found = Paint.outcomes(content, self.cut, shown);
      let canvas = picture.place.querySelector("canvas");
      if (!canvas) {
        const still = picture.place.querySelector("img");
        canvas = document.createElement("canvas");
        canvas.setAttribute("role", "img");
        still.replaceWith(canvas);
      }
      Paint.paint(canvas, content, found);
      const totals = Paint.count(found);
      const one = Cuts.cases(opened, self.cut)[content.case];
      const ofCase = one.stratum !== "positive" ? ""
        : `Dice ${score((2 * one.tp) / (2 * one.tp + one.fp + one.fn))}, recall ${score(one.tp / (one.tp + one.fn))}. `;
      const said = `${ofCase}${whole(totals.right)} right, ${whole(totals.wrong)} wrong, ${whole(totals.missed)} missed, as shown.`;
      canvas.setAttribute("aria-label", `Prediction for ${record.cases[content.case]}: ${said}`);
      Object.assign(canvas.dataset, totals);
      picture.caption.textContent = said;
    };
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const picture = pictures.find((one) => one.place === entry.target);
        picture.near = entry.isIntersecting;
        repaint(picture);
      }
    }, { rootMargin: "200px" });
    for (const picture of pictures) {
      watcher.observe(picture.place);
      picture.place.addEventListener("slice", () => repaint(picture));
    }

    const status = section.querySelector('[role="status"]');
    let saying = 0;
    const say = (text) => { clearTimeout(saying); saying = setTimeout(() => { status.textContent = text; }, 400); };

    const update = () => {
      const { threshold, size, gate } = self.cut;
      const shown = {
        threshold: digits(record.thresholds[threshold]),
        size: record.sizes[size] ? record.sizeNames[size] : "any",
        gate: gate > 0 ? digits(gate) : "none",
      };
      for (const [name, control] of Object.entries(controls)) {
        control.value = name === "gate" ? gates.indexOf(gate) : self.cut[name];
        control.setAttribute("aria-valuetext", shown[name]);
        control.previousElementSibling.querySelector("output").textContent = shown[name];
      }
      self.here = measured(self.cut);
      const there = measured(chosen);
      for (const { measure, form, row, here, there: beside } of cells) {
        write(here, self.here[measure], form);
        write(beside, there[measure], form);
        row.classList.toggle("changed", here.dataset.value !== beside.dataset.value);
      }
      const guarantee = section.querySelector(".guarantee");
      const covered = isChosen();
      guarantee.classList.toggle("uncovered", Boolean(record.guarantee) && !covered);
      guarantee.textContent = !record.guarantee ? ""
        : covered ? record.guarantee
          : "No guarantee covers this cut: the one that was made is about the chosen point alone.";
      section.querySelector(".command").textContent = command();
      for (const [plot, place] of self.plots) mark(plot, place);
      pictures.forEach(repaint);
    };
    const move = (change) => {
      Object.assign(self.cut, change);
      self.moved = true;
      update();
      const here = self.here;
      say(`Threshold ${digits(record.thresholds[self.cut.threshold])}: ` +
        (here.dice === null ? "" : `dice ${score(here.dice)}, `) +
        (here.false_alarm === null ? "" : `false alarms ${percent(here.false_alarm)}, `) +
        (here.object_recall === null ? "" : `objects found ${percent(here.object_recall)}`));
    };

    controls.threshold.addEventListener("input", () => move({ threshold: Number(controls.threshold.value) }));
    controls.size.addEventListener("input", () => move({ size: Number(controls.size.value) }));
    controls.gate.addEventListener("input", () => move({ gate: gates[Number(controls.gate.value)] }));
    Object.values(prices).forEach((one) => one.addEventListener("input", update));
    for (const button of section.querySelectorAll("[data-jump]"))
      button.addEventListener("click", () => {
        if (button.dataset.jump === "half") move({ threshold: half, size: 0, gate: 0 });
        else if (button.dataset.jump === "chosen") move({ ...chosen });
        else {
          const best = Cuts.cheapest(opened, priced());
          if (best && !best.silent)
            move({ threshold: best.threshold, size: best.size, gate: best.gate });
          section.querySelector(".cheapest").textContent = best === null ? "No case is positive."
            : trivial(best);
        }
      });
    section.querySelector("[data-copy]").addEventListener("click", async (event) => {
      const text = section.querySelector(".command");
      try {
        await navigator.clipboard.writeText(text.textContent);
        event.target.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(text); // where the browser keeps the clipboard to itself
        event.target.textContent = "selected: copy it";
      }
      setTimeout(() => { event.target.textContent = "copy as command"; }, 1500);
    });
    section.hidden = false;
    update();
  };

  // Where the cut lies on a figure; null where it has no place there.
  const place = (self, name, lowest) => {
    const here = self.here;
    if (name === "threshold") {
      const p = Math.min(1 - LOWEST, Math.max(LOWEST, self.record.thresholds[self.cut.threshold]));
      return { x: Math.log10(p / (1 - p)), y: here.dice ?? (here.false_alarm === null ? null : 1 - here.false_alarm) };
    }
    if (name === "precision_recall") return { x: here.truePositiveRate, y: here.pooledPrecision };
    if (name === "roc")
      return { x: here.falsePositiveRate === null ? null : Math.log10(Math.max(here.falsePositiveRate, 10 ** lowest)),
        y: here.truePositiveRate };
    if (name === "froc") return { x: here.false_positive_components, y: here.object_recall };
    return null;
  };

  const mark = (plot, at) => {
    const [key, name] = at;
    const self = explorers.get(key);
    const range = plot.layout && plot.layout.xaxis && plot.layout.xaxis.range;
    const spot = place(self, name, range ? range[0] : -7);
    const on = self.moved && spot && spot.x !== null && spot.y !== null;
    plot.dataset.here = on ? JSON.stringify(spot) : "";
    Plotly.restyle(plot, { x: [[on ? spot.x : null]], y: [[on ? spot.y : null]] }, [plot.data.length - 1]);
  };

  // Called by whoever has drawn a figure, whose last trace is the mark.
  const follow = (plot) => {
    const cut = plot.dataset.figure.match(/^(region-\d+)-(threshold|precision_recall|roc|froc)$/);
    const self = cut && explorers.get(cut[1]);
    if (!self) return;
    self.plots.set(plot, [cut[1], cut[2]]);
    mark(plot, [cut[1], cut[2]]);
  };
  const marked = (figure) => /^region-\d+-(threshold|precision_recall|roc|froc)$/.test(figure);

  const start = async () => {
    Stacks.start();
    if (typeof DecompressionStream === "undefined") return; // an old browser keeps the still page
    for (const section of document.querySelectorAll("[data-explorer]")) await make(section);
    document.querySelectorAll('.plot[data-drawn="yes"]').forEach(follow);
    document.documentElement.dataset.explorers = "ready";
  };

  return { start, follow, marked };
})();
