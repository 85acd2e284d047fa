"use strict";
// Masks of the pictures at any cut: right and wrong filled, missed hollow, small parts ringed.
const Paint = (() => {
  const LONGEST = 400, SMALL = 28, RING = 7, MOST_RINGS = 40;
  const CASING = 1, RIGHT = 2, WRONG = 3, MISSED = 4, RIGHT_FILL = 5, WRONG_FILL = 6;
  const COLOURS = [
    [0, 0, 0, 0], [8, 10, 12, 170], [0, 158, 115, 255], [213, 94, 0, 255], [86, 180, 233, 255],
    [0, 158, 115, 130], [213, 94, 0, 130],
  ];

  const open = async (record) => {
    const { width, height } = record, pixels = width * height;
    const levels = new Uint8Array(await Cuts.unpack(record.levels));
    for (let k = pixels; k < levels.length; k++) levels[k] = (levels[k] + levels[k - pixels]) & 255;
    const reference = new Uint8Array(await Cuts.unpack(record.reference));
    return { ...record, pixels, levels, reference };
  };

  // What became of every pixel: 0 nothing, else RIGHT, WRONG or MISSED.
  const outcomes = (picture, cut, shown) => {
    const found = new Uint8Array(picture.pixels), offset = cut.size * picture.pixels;
    for (let k = 0; k < picture.pixels; k++) {
      const on = shown && picture.levels[offset + k] > cut.threshold;
      if (picture.reference[k]) found[k] = on ? RIGHT : MISSED;
      else if (on) found[k] = WRONG;
    }
    return found;
  };

  const count = (found) => {
    const totals = { right: 0, wrong: 0, missed: 0 };
    for (const one of found)
      if (one === RIGHT) totals.right++;
      else if (one === WRONG) totals.wrong++;
      else if (one === MISSED) totals.missed++;
    return totals;
  };

  // Boxes of 8-connected parts that are easily overlooked, the largest first.
  const smallParts = (found, width, height, scale) => {
    const seen = new Uint8Array(found.length), parts = [];
    for (let start = 0; start < found.length; start++) {
      if (!found[start] || seen[start]) continue;
      const stack = [start], kinds = new Set();
      let [x0, x1, y0, y1, n] = [width, 0, height, 0, 0];
      seen[start] = 1;
      while (stack.length) {
        const k = stack.pop(), x = k % width, y = (k - x) / width;
        kinds.add(found[k]);
        n++;
        [x0, x1, y0, y1] = [Math.min(x0, x), Math.max(x1, x), Math.min(y0, y), Math.max(y1, y)];
        for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++)
          for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
            const next = v * width + u;
            if (found[next] && !seen[next]) { seen[next] = 1; stack.push(next); }
          }
      }
      const side = Math.max(x1 - x0, y1 - y0) + 1;
      if (side * scale < SMALL)
        parts.push({ x: scale * (x0 + x1 + 1) / 2, y: scale * (y0 + y1 + 1) / 2, n,
          radius: scale * side / 2 + RING,
          colour: [RIGHT, WRONG, MISSED].find((kind) => kinds.has(kind)) });
    }
    return parts.sort((a, b) => b.n - a.n).slice(0, MOST_RINGS);
  };

  const paint = (canvas, picture, found) => {
    const scale = Math.max(1, Math.floor(LONGEST / Math.max(picture.width, picture.height)));
    const width = picture.width * scale, height = picture.height * scale;
    const drawn = new Uint8Array(width * height);
    const kind = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0
      : found[Math.floor(y / scale) * picture.width + Math.floor(x / scale)]);
    // A pixel is on the rim where two steps lead out of its part.
    const onRim = (x, y, own) => {
      for (let v = -2; v <= 2; v++)
        for (let u = Math.abs(v) - 2; u <= 2 - Math.abs(v); u++)
          if (kind(x + u, y + v) !== own) return true;
      return false;
    };
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const own = kind(x, y);
        if (!own) continue;
        const rim = onRim(x, y, own);
        drawn[y * width + x] = rim ? own : own === RIGHT ? RIGHT_FILL : own === WRONG ? WRONG_FILL : 0;
      }
    for (const part of smallParts(found, picture.width, picture.height, scale)) {
      const reach = Math.ceil(part.radius) + 1;
      for (let y = Math.max(0, Math.floor(part.y) - reach); y < Math.min(height, part.y + reach); y++)
        for (let x = Math.max(0, Math.floor(part.x) - reach); x < Math.min(width, part.x + reach); x++)
          if (!drawn[y * width + x] &&
              Math.abs(Math.hypot(x + 0.5 - part.x, y + 0.5 - part.y) - part.radius) <= 1)
            drawn[y * width + x] = part.colour;
    }
    const image = new ImageData(width, height);
    for (let k = 0; k < drawn.length; k++) {
      let colour = drawn[k];
      if (!colour) {
        const x = k % width;
        if ((x && drawn[k - 1] > CASING) || (x < width - 1 && drawn[k + 1] > CASING) ||
            drawn[k - width] > CASING || drawn[k + width] > CASING) colour = CASING;
        else continue;
      }
      image.data.set(COLOURS[colour], 4 * k);
    }
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  return { open, outcomes, count, paint };
})();
