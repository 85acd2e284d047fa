"use strict";
(() => {
  const start = JSON.parse(document.getElementById("start").textContent);
  const at = (id) => document.getElementById(id);
  const DRAWN = 1, PREDICTED = 2, IGNORED = 4, AFFECTED = 8;
  const LABEL = "#f0e442", PREDICTION = "#56b4e9", CASING = "rgba(8, 10, 12, 0.75)", TINT = 0x48a779cc;
  const OUTERMOST = 64;

  // What the page knows: the item, its slices as bytes, and how they are looked at.
  const state = {
    reviewer: "", item: null, detail: null, plane: 0, channel: 0, low: 0, high: 1, offset: 0,
    scale: 1, x: 0, y: 0, picture: null, outlines: null, asked: 0,
  };
  const slices = new Map();

  // ---- talking to the server: the token travels in a header, which no other page can send
  const ask = async (path, options = {}) => {
    const headers = { "X-Review-Token": start.token, ...(options.body ? { "Content-Type": "application/json" } : {}) };
    const answer = await fetch(path, { ...options, headers, cache: "no-store" });
    if (answer.ok) return answer;
    let sentence = `The server answered ${answer.status}.`;
    try { sentence = (await answer.json()).error || sentence; } catch { /* it was no JSON: the status has to do */ }
    throw new Error(sentence);
  };
  const get = async (path, query) => (await ask(`${path}?${new URLSearchParams(query)}`)).json();
  const post = async (path, content) => (await ask(path, { method: "POST", body: JSON.stringify(content) })).json();
  const filter = () => ({ reviewer: state.reviewer, kind: at("kind").value, shown: at("shown").value });

  const say = (sentence, kind = "") => {
    at("status").textContent = sentence;
    at("status").className = `status ${kind}`;
  };
  const attempt = (work) => async (...given) => {
    try { return await work(...given); } catch (error) {
      const lost = error instanceof TypeError;
      say(lost ? "The server does not answer, so nothing was saved; start `rareseg review` again." : error.message, "bad");
      return undefined;
    }
  };

  // What opens items goes one after the other. A verdict is for what is seen, so that none is taken
  // while something else is about to be shown.
  let turn_of = Promise.resolve(), waiting = 0;
  const busy = (by) => { waiting += by; document.querySelector("main").setAttribute("aria-busy", String(waiting > 0)); };
  const inTurn = (work) => (...given) => {
    busy(1);
    turn_of = turn_of.then(() => work(...given)).finally(() => busy(-1));
    return turn_of;
  };

  // ---- the list, a page at a time
  const showProgress = ({ total, decided, differ }) => {
    at("progress").max = Math.max(1, total);
    at("progress").value = decided;
    const apart = differ ? ` · ${differ} where you and others disagree` : "";
    at("progress-text").textContent = `${decided.toLocaleString("en")} of ${total.toLocaleString("en")} decided${apart}`;
  };
  const part = (name, text) => Object.assign(document.createElement("span"), { className: name, textContent: text });
  const showList = (found) => {
    state.offset = found.offset;
    const many = start.regions.length > 1;
    const rows = found.rows.map((row) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.id = row.id;
      button.append(part("number", `${row.position}`), part("case", row.case));
      button.append(part("kind", `${row.kind}${many ? `, ${row.region}` : ""} · ${row.score.toFixed(2)}`));
      const mine = part("mine", row.mine || "");
      if (row.differs) { mine.classList.add("differs"); mine.textContent = `≠ ${row.mine}`; mine.title = "others said something else"; }
      button.append(mine);
      button.addEventListener("click", () => choose(row.id));
      const line = document.createElement("li");
      line.append(button);
      return line;
    });
    if (!rows.length) rows.push(Object.assign(document.createElement("li"), { className: "empty", textContent: "Nothing here." }));
    at("list").replaceChildren(...rows);
    const last = found.offset + found.rows.length;
    at("page-text").textContent = found.total ? `${(found.offset + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${found.total.toLocaleString("en")}` : "0";
    at("page-back").disabled = found.offset === 0;
    at("page-on").disabled = last >= found.total;
    showProgress(found.progress);
    markCurrent();
    return found;
  };
  const markCurrent = () => {
    for (const button of at("list").querySelectorAll("button")) {
      const on = button.dataset.id === state.item;
      button.toggleAttribute("aria-current", on);
      if (!on) continue;
      button.setAttribute("aria-current", "true");
      // The list alone moves; the page stays where the reader is.
      const row = button.getBoundingClientRect(), box = at("list").getBoundingClientRect();
      at("list").scrollTop += Math.max(0, row.bottom - box.bottom) - Math.max(0, box.top - row.top);
    }
  };
  const list = async (query) => {
    const found = showList(await get("/api/items", { ...filter(), ...query }));
    await showAgreement();
    return found;
  };
  const showAgreement = async () => {
    const found = await get("/api/agreement", {});
    const number = (value) => (typeof value === "number" ? value.toFixed(2) : `undefined (${value.undefined})`);
    at("agreement").textContent = found.reviewers.length < 2
      ? "Shown when a second reviewer has decided."
      : `${found.reviewers.join(", ")}: ${found.n_items} item${found.n_items === 1 ? "" : "s"} decided by all; the same was said of ${typeof found.share === "number" ? `${(100 * found.share).toFixed(0)} %` : number(found.share)}; ${found.method} ${number(found.kappa)}.`;
  };

  // ---- one item
  const counts = (held) => Object.entries(held).map(([name, n]) => `${name} ${n.toLocaleString("en")}`).join(", ") || "nothing";
  const open = attempt(async (id) => {
    const mine = ++state.asked;
    at("wait").hidden = false;
    const detail = await get("/api/item", { id, reviewer: state.reviewer }).finally(() => { if (mine === state.asked) at("wait").hidden = true; });
    if (mine !== state.asked) return;
    const other = state.item !== id;
    if (other) slices.clear();
    state.item = id;
    state.detail = detail;
    const { item, case: shown } = detail;
    sessionStorage.setItem("item", id);
    at("item-title").textContent = `${item.kind[0].toUpperCase()}${item.kind.slice(1)} in ${item.case_id}`;
    const where = [`${item.position.toLocaleString("en")} of ${start.total.toLocaleString("en")}`, `region ${item.region}`, `score ${item.score.toFixed(2)}`, `${shown.role} case`];
    if (item.group) where.push(`group ${item.group}`);
    if (item.aside) where.push("mining had set voxels of it aside");
    at("item-where").textContent = where.join(" · ");
    const careful = shown.role === "test" ? " A test case: accepting a prediction moves the truth towards this model." : "";
    at("item-reason").textContent = item.reason + careful;
    at("fact-drawn").textContent = counts(shown.drawn);
    at("fact-predicted").textContent = counts(shown.predicted);
    at("fact-changes").textContent = `${shown.changes.toLocaleString("en")} voxels`;
    at("fact-by").textContent = shown.by;
    showVerdict();
    if (other) {
      say("");
      at("note").value = detail.mine ? detail.mine.note : "";
      state.plane = shown.plane;
      const names = shown.channels.map((channel) => channel.name).join();
      if (at("channel").dataset.names !== names) {
        at("channel").dataset.names = names;
        at("channel").replaceChildren(...shown.channels.map((channel, index) => new Option(channel.name, index)));
        state.channel = 0;
      }
      at("channel-tool").hidden = shown.channels.length < 2;
      at("slice-tool").hidden = shown.shape[0] < 2;
      at("slice").max = shown.shape[0] - 1;
      resetWindow();
      await showSlice();
      zoomTo(item.kind === "worst case" ? null : item.box);
    }
    if (at("list").querySelector(`[data-id="${CSS.escape(id)}"]`)) markCurrent(); else await list({ around: id });
    lookAhead();
  });
  const choose = inTurn((id) => open(id));
  // The next item's case is read and predicted while this one is looked at.
  const lookAhead = attempt(async () => {
    const { id } = await get("/api/neighbour", { ...filter(), item: state.item });
    if (id) await get("/api/item", { id, reviewer: state.reviewer });
  });
  const showVerdict = () => {
    const { mine, was, others, n_others: many } = state.detail;
    for (const button of document.querySelectorAll("[data-verdict]"))
      button.setAttribute("aria-pressed", String(mine !== null && button.dataset.verdict === mine.verdict));
    const told = others.map((one) => `${one.reviewer} said “${one.verdict}”${one.note ? ` (${one.note})` : ""}`).join(" · ");
    at("others").textContent = was ? `You said “${was.verdict}” of an earlier prediction; decide anew.`
      : mine === null && many ? `${many} other${many > 1 ? "s have" : " has"} decided; shown after you did.` : told;
  };
  const step = inTurn(attempt(async (back) => {
    const { id } = await get("/api/neighbour", { ...filter(), item: state.item || "", ...(back ? { back: "yes" } : {}) });
    if (id) { await open(id); return true; }
    say(back ? "This is the first item of the list." : "This was the last item of the list.");
    return false;
  }));
  const decide = (verdict) => {
    if (waiting) say("Not saved: the next item was about to be shown."); else if (state.item) saveVerdict(verdict);
  };
  const saveVerdict = inTurn(attempt(async (verdict) => {
    const { id: item, position, kind } = { ...state.detail.item };
    const saved = await post("/api/decisions", { item, reviewer: state.reviewer, verdict, note: at("note").value });
    showProgress(saved.progress);
    const { id } = await get("/api/neighbour", { ...filter(), item });
    await list({ around: id || item });
    await (id ? open(id) : open(item));
    say(`Saved: ${verdict}, for item ${position} (${kind}).${id ? "" : " This was the last item of the list."}`, "good");
  }));
  const undo = inTurn(attempt(async () => {
    const { item, progress } = await post("/api/undo", { reviewer: state.reviewer });
    showProgress(progress);
    if (item) {
      await list({ around: item });
      await open(item);
    }
    say(item ? "Your last decision was taken back." : "There is no decision of yours to take back.", item ? "good" : "");
  }));

  // ---- the slice: pixels through the window, outlines as paths along the voxels' edges
  const channel = () => state.detail.case.channels[state.channel];
  const load = async (plane) => {
    const key = `${plane}/${state.channel}`;
    if (!slices.has(key)) {
      if (slices.size > 24) slices.delete(slices.keys().next().value);
      const query = new URLSearchParams({ item: state.item, plane, channel: channel().number });
      slices.set(key, ask(`/api/plane?${query}`).then((answer) => answer.arrayBuffer()));
      slices.get(key).catch(() => slices.delete(key));
    }
    return slices.get(key);
  };
  const showSlice = attempt(async () => {
    const { item, plane } = state;
    const bytes = await load(plane);
    if (item !== state.item || plane !== state.plane) return;
    const { height, width } = state.detail.case.frame;
    const masks = new Uint8Array(bytes, bytes.byteLength - height * width);
    state.bytes = bytes;
    state.tint = tint(masks);
    state.outlines = { label: outline(masks, DRAWN), prediction: outline(masks, PREDICTED), ignored: outline(masks, IGNORED) };
    const planes = state.detail.case.shape[0];
    at("slice").value = plane;
    at("slice-value").textContent = `${plane + 1} of ${planes}`;
    const held = (bit) => masks.reduce((sum, value) => sum + ((value & bit) !== 0), 0).toLocaleString("en");
    at("picture").setAttribute("aria-label", `${state.detail.item.case_id}, slice ${plane + 1} of ${planes}: ${held(DRAWN)} pixels drawn, ${held(PREDICTED)} predicted as ${state.detail.item.region}`);
    paintPixels();
    if (planes > 1) for (const near of [plane - 1, plane + 1]) if (near >= 0 && near < planes) load(near).catch(() => {});
  });
  const paintPixels = () => {
    const { height, width } = state.detail.case.frame, { kind, low, high } = channel();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d"), data = context.createImageData(width, height), to = new Uint32Array(data.data.buffer);
    const deep = kind === "grey16", levels = deep ? 65536 : 256, table = new Uint8ClampedArray(levels);
    const first = deep ? low : 0, size = deep ? (high - low) / 65535 : 1, span = Math.max(1e-12, state.high - state.low);
    for (let k = 0; k < levels; k++) table[k] = (255 * (first + k * size - state.low)) / span;
    const n = height * width;
    if (kind === "rgb8") {
      const from = new Uint8Array(state.bytes, 0, 3 * n);
      for (let k = 0, j = 0; k < n; k++, j += 3) to[k] = 0xff000000 | (table[from[j + 2]] << 16) | (table[from[j + 1]] << 8) | table[from[j]];
    } else {
      const from = deep ? new Uint16Array(state.bytes.slice(0, 2 * n)) : new Uint8Array(state.bytes, 0, n);
      for (let k = 0; k < n; k++) { const grey = table[from[k]]; to[k] = 0xff000000 | (grey << 16) | (grey << 8) | grey; }
    }
    context.putImageData(data, 0, 0);
    state.picture = canvas;
    draw();
  };
  const tint = (masks) => {
    const { height, width } = state.detail.case.frame, canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d"), data = context.createImageData(width, height), to = new Uint32Array(data.data.buffer);
    for (let k = 0; k < masks.length; k++) if (masks[k] & AFFECTED) to[k] = TINT;
    context.putImageData(data, 0, 0);
    return canvas;
  };
  const outline = (masks, bit) => {
    const { height, width } = state.detail.case.frame, path = new Path2D();
    const on = (y, x) => y >= 0 && x >= 0 && y < height && x < width && (masks[y * width + x] & bit) !== 0;
    for (let y = 0; y <= height; y++) // horizontal edges, neighbours joined
      for (let x = 0, from = -1; x <= width; x++) {
        const edge = x < width && on(y, x) !== on(y - 1, x);
        if (edge && from < 0) from = x;
        if (!edge && from >= 0) { path.moveTo(from, y); path.lineTo(x, y); from = -1; }
      }
    for (let x = 0; x <= width; x++)
      for (let y = 0, from = -1; y <= height; y++) {
        const edge = y < height && on(y, x) !== on(y, x - 1);
        if (edge && from < 0) from = y;
        if (!edge && from >= 0) { path.moveTo(x, from); path.lineTo(x, y); from = -1; }
      }
    return path;
  };
  const aspect = () => { const [, y, x] = state.detail.case.spacing; return y > 0 && x > 0 ? y / x : 1; };
  const draw = () => {
    const canvas = at("picture"), box = at("stage").getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    if (!state.picture) return;
    const sx = state.scale * ratio, sy = sx * aspect();
    context.setTransform(sx, 0, 0, sy, wide / 2 - state.x * sx, high / 2 - state.y * sy);
    context.imageSmoothingEnabled = state.scale < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(state.picture, 0, 0);
    if (at("show-frame").checked) context.drawImage(state.tint, 0, 0);
    const pixel = ratio / sx, { label, prediction, ignored } = state.outlines;
    const lines = [[ignored, "#98a2aa", 1, [2, 3]]];
    if (at("show-label").checked) lines.push([label, LABEL, 2, []]);
    if (at("show-prediction").checked) lines.push([prediction, PREDICTION, 2, [6, 4]]);
    const { item, case: shown } = state.detail, [[z0, z1], [y0, y1], [x0, x1]] = item.box, { frame } = shown;
    if (at("show-frame").checked && item.kind !== "worst case" && state.plane >= z0 && state.plane < z1) {
      const path = new Path2D(), margin = 4 * pixel;
      path.rect((x0 - frame.x) / frame.step - margin, (y0 - frame.y) / frame.step - margin, (x1 - x0) / frame.step + 2 * margin, (y1 - y0) / frame.step + 2 * margin);
      lines.push([path, "#ffffff", 1.2, [2, 3]]);
    }
    const stroke = (path, colour, width, dash) => {
      context.setLineDash(dash.map((length) => length * pixel));
      context.strokeStyle = colour;
      context.lineWidth = width * pixel;
      context.stroke(path);
    };
    // Dark edges first: where label and prediction run together, both colours are seen.
    for (const [path, , width] of lines) stroke(path, CASING, width + 2, []);
    for (const line of lines) stroke(...line);
    at("zoom-value").textContent = `${state.scale >= 10 ? state.scale.toFixed(0) : state.scale.toFixed(1)}×`;
  };
  const zoomTo = (box) => {
    const { frame } = state.detail.case, stage = at("stage").getBoundingClientRect();
    let [y0, y1, x0, x1] = [0, frame.height, 0, frame.width];
    if (box) {
      const [, [a, b], [c, d]] = box, room = Math.max(12, 1.2 * Math.max(b - a, d - c)) / frame.step;
      [y0, y1] = [(a - frame.y) / frame.step - room, (b - frame.y) / frame.step + room];
      [x0, x1] = [(c - frame.x) / frame.step - room, (d - frame.x) / frame.step + room];
    }
    [state.x, state.y] = [(x0 + x1) / 2, (y0 + y1) / 2];
    state.scale = Math.min(OUTERMOST, stage.width / Math.max(1, x1 - x0), stage.height / Math.max(1, (y1 - y0) * aspect()));
    // No more black beside the picture than there has to be.
    const within = (centre, length, seen) => (length <= seen ? length / 2 : Math.min(length - seen / 2, Math.max(seen / 2, centre)));
    state.x = within(state.x, frame.width, stage.width / state.scale);
    state.y = within(state.y, frame.height, stage.height / state.scale / aspect());
    draw();
  };
  const zoom = (factor, at_x = null, at_y = null) => {
    if (!state.picture) return;
    const scale = Math.min(OUTERMOST, Math.max(0.02, state.scale * factor));
    if (at_x !== null) { // the point under the pointer stays where it is
      state.x += at_x / state.scale - at_x / scale;
      state.y += (at_y / state.scale - at_y / scale) / aspect();
    }
    state.scale = scale;
    draw();
  };
  const pan = (dx, dy) => { state.x += dx / state.scale; state.y += dy / state.scale / aspect(); draw(); };
  const turn = (by) => {
    const planes = state.detail.case.shape[0], plane = Math.min(planes - 1, Math.max(0, state.plane + by));
    if (plane !== state.plane) { state.plane = plane; showSlice(); }
  };

  // ---- window and level
  const short = (value) => (Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3));
  const showWindow = () => {
    const { low, high } = channel(), whole = high - low || 1, level = (state.low + state.high) / 2, width = state.high - state.low;
    at("level").value = (1000 * (level - low)) / whole;
    at("window").value = (1000 * width) / whole;
    at("level-value").textContent = short(level);
    at("window-value").textContent = short(width);
  };
  const setWindow = (level, width) => {
    const { low, high } = channel(), whole = high - low || 1;
    const kept = Math.min(whole, Math.max(whole / 1000, width)), centre = Math.min(high, Math.max(low, level));
    [state.low, state.high] = [centre - kept / 2, centre + kept / 2];
    showWindow();
    if (state.bytes && state.picture) paintPixels();
  };
  const resetWindow = () => { const own = channel(); [state.low, state.high] = [own.from, own.to]; showWindow(); };
  const setChannel = attempt(async (index) => {
    state.channel = index;
    at("channel").value = index;
    resetWindow();
    await showSlice();
  });
  const shiftWindow = (level, width) => {
    const { low, high } = channel(), now = state.high - state.low;
    setWindow((state.low + state.high) / 2 + level * now, now * width);
  };
  const slid = () => {
    const { low, high } = channel(), whole = high - low || 1;
    setWindow(low + (at("level").value / 1000) * whole, (at("window").value / 1000) * whole);
  };

  // ---- pointer
  const stage = at("picture"), pointers = new Map();
  stage.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, event); stage.setPointerCapture(event.pointerId); });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before || !state.detail) return;
    const others = [...pointers.values()].filter((other) => other.pointerId !== event.pointerId);
    if (others.length) {
      const far = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      zoom(far(event) / Math.max(1, far(before)));
    } else pan(before.clientX - event.clientX, before.clientY - event.clientY);
    pointers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!state.detail) return;
    const box = stage.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
  }, { passive: false });
  new ResizeObserver(() => { if (state.detail) draw(); }).observe(at("stage"));

  // ---- keys
  const toggle = (id) => { at(id).checked = !at(id).checked; draw(); };
  const keys = {
    n: () => step(false), p: () => step(true), u: undo,
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => zoomTo(null), z: () => zoomTo(state.detail.item.box),
    l: () => toggle("show-label"), r: () => toggle("show-prediction"), f: () => toggle("show-frame"),
    ",": () => shiftWindow(-0.05, 1), ".": () => shiftWindow(0.05, 1), ";": () => shiftWindow(0, 0.9), "'": () => shiftWindow(0, 1 / 0.9),
    w: () => { resetWindow(); paintPixels(); },
    c: () => setChannel((state.channel + 1) % state.detail.case.channels.length),
    m: () => at("note").focus(), k: () => at("kind").focus(), s: () => at("shown").focus(),
    "?": () => at("help").showModal(),
  };
  start.verdicts.forEach((verdict, index) => { keys[index + 1] = () => decide(verdict); });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = event.target;
    if (event.key === "Escape" && target.matches("input, select")) { stage.focus(); return; }
    if (target.matches('input[type="text"], select')) return;
    if (!state.detail) return;
    const arrow = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (arrow) {
      if (target.matches('input[type="range"]')) return;
      const flat = state.detail.case.shape[0] < 2;
      if (event.shiftKey || (flat && target === stage)) pan(40 * arrow[0], 40 * arrow[1]);
      else if (!flat) turn(event.key === "ArrowUp" || event.key === "ArrowRight" ? 1 : -1);
      else return;
      event.preventDefault();
      return;
    }
    if (!at("keys-on").checked && event.key !== "?") return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act && !event.repeat || act && "+-=,.;'".includes(event.key)) { event.preventDefault(); act(); }
  });

  // ---- controls
  const on = (id, name, work) => at(id).addEventListener(name, work);
  on("next", "click", () => step(false)); on("previous", "click", () => step(true)); on("undo", "click", undo);
  on("zoom-in", "click", () => zoom(1.25)); on("zoom-out", "click", () => zoom(0.8));
  on("zoom-fit", "click", () => zoomTo(null)); on("zoom-item", "click", () => zoomTo(state.detail.item.box));
  for (const id of ["show-label", "show-prediction", "show-frame"]) on(id, "change", draw);
  for (const id of ["level", "window"]) on(id, "input", slid);
  on("slice", "input", () => turn(Number(at("slice").value) - state.plane));
  on("channel", "change", () => setChannel(Number(at("channel").value)));
  on("page-back", "click", attempt(() => list({ offset: Math.max(0, state.offset - 50) })));
  on("page-on", "click", attempt(() => list({ offset: state.offset + 50 })));
  for (const id of ["kind", "shown"]) on(id, "change", inTurn(attempt(async () => {
    const found = await list({ around: state.item || "" });
    if (found.rows.length && !found.rows.some((row) => row.id === state.item)) await open(found.rows[0].id);
  })));
  for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => decide(button.dataset.verdict));
  on("help-open", "click", () => at("help").showModal());

  // ---- who reviews: asked once for each tab, so that two can work beside each other
  const begin = inTurn(attempt(async () => {
    at("who").textContent = `Reviewer: ${state.reviewer}`;
    const last = sessionStorage.getItem("item");
    const found = await list(last ? { around: last } : {});
    if (last && (state.item = null, await get("/api/item", { id: last, reviewer: state.reviewer }).catch(() => null))) await open(last);
    else if (found.rows.length) await open((found.rows.find((row) => !row.mine) || found.rows[0]).id);
    if (document.activeElement === document.body) stage.focus({ preventScroll: true });
  }));
  const askName = () => { at("name").value = state.reviewer; at("name-dialog").showModal(); };
  on("name-form", "submit", () => {
    const name = at("name").value.trim().replace(/\s+/g, " ");
    if (!name) { queueMicrotask(askName); return; }
    state.reviewer = name;
    sessionStorage.setItem("reviewer", name);
    begin();
  });
  on("name-dialog", "cancel", (event) => { if (!state.reviewer) event.preventDefault(); });
  on("change-name", "click", askName);
  state.reviewer = sessionStorage.getItem("reviewer") || start.reviewer;
  if (state.reviewer) begin(); else askName();
})();
