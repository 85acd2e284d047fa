"use strict";
// Numbers at any cut, from the counts that the page carries: what rareseg itself counts there.
const Cuts = (() => {
  const KINDS = 4; // true positives, false positives, lesions found, false components

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
  const cases = (opened, cut) => opened.record.cases.map((id, i) => {
    const { inside, voxels, lesions, groups, voxelSizes } = opened.record;
    const [tp, fp, found, falseComponents] = [0, 1, 2, 3].map((kind) => at(opened, kind, i, cut));
    return {
      id, tp, fp, fn: inside[i] - tp, tn: voxels[i] - inside[i] - fp, found, falseComponents,
      lesions: lesions[i], voxels: voxels[i], group: groups[i], size: fp * voxelSizes[i],
      stratum: voxels[i] === 0 ? "ignored" : inside[i] > 0 ? "positive" : "negative",
    };
  });

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
      lesion_recall: ratio(sum("found"), sum("lesions")),
      false_positive_components: mean(counted.map((one) => one.falseComponents)),
      tp: sum("tp"), fp: sum("fp"), fn: sum("fn"), tn: sum("tn"),
      // Pooled with every case of equal weight, as the curves are.
      truePositiveRate: ratio(tp, tp + fn), falsePositiveRate: ratio(fp, fp + tn),
      pooledPrecision: ratio(tp, tp + fp),
    };
  };

  // The mean cost of a case, as `tune --cost-false-positive` counts it.
  const cost = (opened, cut, prices) => {
    const counted = cases(opened, cut).filter((one) => one.stratum !== "ignored");
    return mean(counted.map((one) => {
      if (prices.level === "lesion")
        return prices.positive * one.falseComponents + prices.negative * (one.lesions - one.found);
      if (prices.level === "image")
        return one.stratum === "positive" ? prices.negative * (one.tp === 0)
          : prices.positive * (one.fp > 0);
      return prices.positive * one.fp + prices.negative * one.fn;
    }));
  };

  // The cheapest threshold and size under a gate; of equals the highest threshold.
  const cheapest = (opened, gate, prices) => {
    let best = null;
    for (let size = 0; size < opened.s; size++)
      for (let threshold = opened.t - 1; threshold >= 0; threshold--) {
        const cut = { threshold, size, gate };
        const price = cost(opened, cut, prices);
        if (price !== null && (best === null || price < best.price)) best = { ...cut, price };
      }
    return best;
  };

  return { unpack, open, cases, measure, cost, cheapest };
})();
