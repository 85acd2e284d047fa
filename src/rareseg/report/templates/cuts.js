"use strict";
// Numbers at any cut, from the counts that the page carries: what rareseg itself counts there.
const Cuts = (() => {
  // True and false positives, objects found, false components; one to one: matched, components.
  const KINDS = 6;
  const TIE = 1e-9; // costs and dice that differ by less are equal

  // Arrays travel as zlib in base64.
  const unpack = async (text) => {
    const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  };

  const open = async (record) => {
    const n = record.cases.length, t = record.thresholds.length, s = record.sizes.length;
    const counts = new Int32Array(await unpack(record.counts));
    for (let block = 0; block < KINDS * n; block++)
      for (let k = s; k < t * s; k++) counts[block * t * s + k] += counts[block * t * s + k - s];
    return { record, n, t, s, counts };
  };

  // One number of one case; a case whose image score is below the gate shows nothing.
  const at = (opened, kind, i, cut) =>
    opened.record.imageScores[i] >= cut.gate
      ? opened.counts[((kind * opened.n + i) * opened.t + cut.threshold) * opened.s + cut.size] : 0;

  const mean = (values) => {
    const known = values.filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  };
  const ratio = (a, b) => (b > 0 ? a / b : null);

  // All cases at a cut: their counts, and to which stratum they belong.
  const cases = (opened, cut) => opened.record.cases.map((id, i) => caseAt(opened, i, cut));

  const caseAt = (opened, i, cut) => {
    const { cases: ids, inside, voxels, objects, groups, voxelSizes } = opened.record;
    const [tp, fp, found, falseComponents, matched, components] =
      [0, 1, 2, 3, 4, 5].map((kind) => at(opened, kind, i, cut));
    return {
      id: ids[i], tp, fp, matched, components, fn: inside[i] - tp, tn: voxels[i] - inside[i] - fp, found, falseComponents,
      objects: objects[i], voxels: voxels[i], group: groups[i], size: fp * voxelSizes[i],
      stratum: voxels[i] === 0 ? "ignored" : inside[i] > 0 ? "positive" : "negative",
    };
  };

  const measure = (opened, cut) => {
    const counted = cases(opened, cut).filter((one) => one.stratum !== "ignored");
    const positive = counted.filter((one) => one.stratum === "positive");
    const negative = counted.filter((one) => one.stratum === "negative");
    const sum = (name, from = counted) => from.reduce((total, one) => total + one[name], 0);
    const groups = new Set(negative.map((one) => one.group));
    const alarmed = negative.filter((one) => one.fp > 0);
    const weighed = (name) => counted.reduce((total, one) => total + one[name] / one.voxels, 0);
    const [tp, fp, fn, tn] = ["tp", "fp", "fn", "tn"].map(weighed);
    return {
      nPositive: positive.length, nNegative: negative.length, nCases: counted.length,
      nGroups: groups.size,
      // Under the names of the table of measures.
      dice: mean(positive.map((one) => ratio(2 * one.tp, 2 * one.tp + one.fp + one.fn))),
      iou: mean(positive.map((one) => ratio(one.tp, one.tp + one.fp + one.fn))),
      precision: mean(positive.map((one) => ratio(one.tp, one.tp + one.fp))),
      recall: mean(positive.map((one) => ratio(one.tp, one.tp + one.fn))),
      found: ratio(positive.filter((one) => one.tp > 0).length, positive.length),
      false_alarm: ratio(alarmed.length, negative.length),
      groups_alarmed: ratio(new Set(alarmed.map((one) => one.group)).size, groups.size),
      false_positive_size: mean(negative.map((one) => one.size)),
      object_recall: ratio(sum("found"), sum("objects")),
      false_positive_components: mean(counted.map((one) => one.falseComponents)),
      tp: sum("tp"), fp: sum("fp"), fn: sum("fn"), tn: sum("tn"),
      // Pooled with every case of equal weight, as the curves are.
      truePositiveRate: ratio(tp, tp + fn), falsePositiveRate: ratio(fp, fp + tn),
      pooledPrecision: ratio(tp, tp + fp),
    };
  };

  // What a case costs, as `tune --cost-false-positive` counts it; components match one to one.
  const price = (prices, positive, { tp, fp, fn, matched, components, objects }) => {
    if (prices.level === "object")
      return prices.positive * (components - matched) + prices.negative * (objects - matched);
    if (prices.level === "image")
      return positive ? prices.negative * (tp === 0) : prices.positive * (fp > 0);
    return prices.positive * fp + prices.negative * fn;
  };

  // The mean cost of a case.
  const cost = (opened, cut, prices) =>
    mean(cases(opened, cut).filter((one) => one.stratum !== "ignored")
      .map((one) => price(prices, one.stratum === "positive", one)));

  // Visit every gate, from no case admitted to all: how many are, the sums of cost and of dice at
  // every threshold and size. Admitting one more case adds its change to running sums.
  const sweep = (opened, prices, order, visit) => {
    const { n, t, s, counts, record } = opened, cells = t * s;
    const costs = new Float64Array(cells), dice = new Float64Array(cells);
    const silent = order.map((i) => silentPrice(opened, prices, i));
    costs.fill(silent.reduce((sum, one) => sum + one, 0));
    visit(0, costs, dice);
    order.forEach((i, k) => {
      const inside = record.inside[i], positive = inside > 0, objects = record.objects[i];
      for (let cell = 0; cell < cells; cell++) {
        const [tp, fp, matched, components] =
          [0, 1, 4, 5].map((kind) => counts[(kind * n + i) * cells + cell]);
        const shown = { tp, fp, fn: inside - tp, matched, components, objects };
        costs[cell] += price(prices, positive, shown) - silent[k];
        if (positive) dice[cell] += (2 * tp) / (tp + fp + inside);
      }
      if (k + 1 === order.length || record.imageScores[order[k + 1]] !== record.imageScores[i])
        visit(k + 1, costs, dice);
    });
  };

  const silentPrice = (opened, prices, i) => {
    const { inside, objects } = opened.record;
    return price(prices, inside[i] > 0,
      { tp: 0, fp: 0, fn: inside[i], matched: 0, components: 0, objects: objects[i] });
  };

  // The jackknife's standard error, over groups, of the mean of the cases' costs.
  const standardError = (costs, groups) => {
    const sums = new Map();
    costs.forEach((one, k) => {
      const [sum, size] = sums.get(groups[k]) ?? [0, 0];
      sums.set(groups[k], [sum + one, size + 1]);
    });
    if (sums.size < 2) return 0;
    const total = costs.reduce((sum, one) => sum + one, 0);
    const without = [...sums.values()].map(([sum, size]) => (total - sum) / (costs.length - size));
    const middle = without.reduce((sum, one) => sum + one, 0) / without.length;
    const squares = without.reduce((sum, one) => sum + (one - middle) ** 2, 0);
    return Math.sqrt(((without.length - 1) / without.length) * squares);
  };

  // The widest run of true, counted in bins; of equals the first.
  const widest = (good, bins) => {
    let best = null;
    for (let first = 0; first < good.length; first++) {
      if (!good[first]) continue;
      let last = first;
      while (good[last + 1]) last++;
      if (best === null || bins[last] - bins[first] > bins[best[1]] - bins[best[0]]) best = [first, last];
      first = last;
    }
    return best;
  };

  // The cut that `tune` would choose on these cases for these costs: threshold, size and gate
  // together, of those within one standard error of the least cost the one of most dice. `silent`
  // where predicting nothing costs no more; null where no case is positive.
  const cheapest = (opened, prices) => {
    const { t, s, record } = opened, { imageScores, inside, voxels } = record;
    const order = record.cases.map((_, i) => i).filter((i) => voxels[i] > 0)
      .sort((a, b) => imageScores[b] - imageScores[a] || (record.cases[a] < record.cases[b] ? -1 : 1));
    const positives = order.filter((i) => inside[i] > 0).length;
    if (positives === 0) return null;
    let silent = 0, least = Infinity, at = null;
    sweep(opened, prices, order, (admitted, costs) => {
      if (admitted === 0) { silent = costs[0] / order.length; return; }
      let lowest = 0;
      for (let cell = 1; cell < costs.length; cell++) if (costs[cell] < costs[lowest]) lowest = cell;
      if (costs[lowest] / order.length < least - TIE)
        [least, at] = [costs[lowest] / order.length, { admitted, cell: lowest }];
    });
    if (least > silent - TIE) return { silent: true, price: silent };
    const paid = order.map((i, k) => {
      if (k >= at.admitted) return silentPrice(opened, prices, i);
      const cut = { threshold: Math.floor(at.cell / s), size: at.cell % s, gate: 0 };
      return price(prices, inside[i] > 0, caseAt(opened, i, cut));
    });
    const error = standardError(paid, order.map((i) => record.groups[i]));
    const most = Math.min(least + error + TIE, silent - TIE);
    let best = null, gates = 0;
    sweep(opened, prices, order, (admitted, costs, dice) => {
      if (admitted === 0) return;
      const near = Array.from(costs, (one, cell) =>
        (one / order.length <= most ? dice[cell] / positives : -Infinity));
      const top = near.reduce((highest, one) => Math.max(highest, one), -Infinity);
      const gate = admitted < order.length ? record.gates[gates++] : 0;
      if (best === null || top >= best.top - TIE) best = { top, gate, near };
    });
    // Of sizes with the most dice the first.
    const tops = Array.from({ length: s }, (_, size) =>
      best.near.filter((_, cell) => cell % s === size).reduce((a, b) => Math.max(a, b), -Infinity));
    const size = tops.indexOf(best.top);
    const good = Array.from({ length: t }, (_, k) => best.near[k * s + size] >= best.top - TIE);
    const [first, last] = widest(good, record.bins);
    return { threshold: Math.floor((first + last) / 2), size, gate: best.gate, price: least };
  };

  return { unpack, open, cases, measure, cost, cheapest };
})();
