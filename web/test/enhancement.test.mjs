// The enhancement of pixels: what files say of it, that damage is refused, and its numbers against plain arithmetic.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Enhancement, ModelSource, Reader, decode, parseHeader } from "../build/core.mjs";
import { fileOf, newHost, newKernels, parts, sha256 } from "./support.mjs";

const [FEATURES, PIXELS] = [25, 12];

let seed = 1;
const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
const between = (low, high) => low + Math.floor(random() * (high - low + 1));

function head(flags, { quality = 50, model = "swin" } = {}) {
  const name = [...model].map((c) => c.charCodeAt(0));
  return Uint8Array.from([70, 50, quality, flags, 1, name.length, ...name, ...(quality ? Array(8).fill(0xab) : [])]);
}

const parsed = (data, version = 1) => parseHeader(new Reader(data, "the file"), version);

test("the header holds its number", () => {
  for (let number = 0; number < 8; number++) {
    const header = parsed(head((number << 3) | 5));
    assert.deepEqual([header.enhancement, header.gray, header.more, header.model], [number, true, true, "swin"]);
  }
  for (const bit of [2, 64, 128]) assert.throws(() => parsed(head(8 | bit)), { name: "UnsupportedError" });
});

test("lossless files have none, nor those of version 0", () => {
  const lossless = { quality: 0, model: "" };
  assert.equal(parsed(head(0, lossless)).enhancement, 0);
  assert.throws(() => parsed(head(8, lossless)), { name: "FormatError", message: /lossless .* enhancement/ });
  assert.equal(parsed(head(2, lossless), 0).enhancement, 0);
  assert.throws(() => parsed(head(2 | 8, lossless), 0), { name: "UnsupportedError", message: /flags 0x0a/ });
});

test("a number that the model does not have is refused, but not where it is not needed", async () => {
  const asked = [];
  const host = await newHost();
  const seen = { ...host, enhancement: async (header) => asked.push(header.enhancement) && null };
  const data = fileOf("unknown-enhancement");
  await assert.rejects(decode(parts(data), {}, seen, "a.vitc"), {
    name: "UnsupportedError",
    message:
      "a.vitc: its pixels need enhancement 7 of model 'swin', which is not among those that a browser can run here; " +
      "use a newer decoder",
  });
  assert.deepEqual(asked.splice(0), [7]);
  await decode(parts(data), { reduce: 1 }, seen);
  assert.deepEqual(asked, []);
  await assert.rejects(decode(parts(data), {}, host), { name: "UnsupportedError" });
});

/** Layers as a safetensors file. */
function packed(layers) {
  const described = { __metadata__: {} };
  const [chunks, at] = [[], { end: 0 }];
  const add = (name, dtype, shape, data) => {
    const bytes = new Uint8Array(data.buffer);
    described[name] = { dtype, shape, data_offsets: [at.end, (at.end += bytes.length)] };
    chunks.push(bytes);
  };
  for (const [name, { weights, shape, biases, shifts, signs }] of Object.entries(layers)) {
    add(`${name}.weight`, "I8", shape, weights);
    add(`${name}.bias`, "I32", [biases.length], biases);
    add(`${name}.shift`, "U8", [shifts.length], shifts);
    add(`${name}.signs`, "U8", [2], Uint8Array.from(signs));
  }
  add("graph", "U8", [5], new Uint8Array(5)); // of ONNX, for others
  const text = new TextEncoder().encode(JSON.stringify(described));
  const size = new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer);
  return new Uint8Array(Buffer.concat([size, text, ...chunks]));
}

function layer(outputs, side, inputs, signs, largest = 64) {
  const count = side * side * inputs;
  const shift = Math.round(Math.log2(largest * Math.sqrt(count))) - 1; // so that some results are clamped
  return {
    weights: Int8Array.from({ length: outputs * count }, () => between(-largest, largest)),
    shape: [outputs, side, side, inputs],
    biases: Int32Array.from({ length: outputs }, () => between(-3000, 3000)),
    shifts: new Uint8Array(outputs).fill(shift),
    signs,
  };
}

function layersOf(width, blocks, side = 3) {
  const found = { enter: layer(width, side, FEATURES, [1, 0]) };
  for (let k = 0; k < blocks; k++) found[`block${k}`] = layer(width, side, width, [0, 1]);
  return { ...found, leave: layer(PIXELS, 1, width, [0, 1], 20) };
}

/** What an enhancement asks of its model. */
function newModel(kernels) {
  const steps = Int32Array.from({ length: 100 }, (_, k) => Math.round(12000 * 0.94 ** k));
  const positions = Int8Array.from({ length: 100 }, (_, k) => 2 * k - 100);
  return { steps, positions: kernels.heap.put(positions), stepTable: kernels.heap.put(steps), numbers: positions };
}

const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

function rounded(sum, shift) {
  const exact = sum / 2 ** shift;
  const floor = Math.floor(exact);
  return floor + (exact - floor > 0.5 || (exact - floor === 0.5 && floor % 2 !== 0) ? 1 : 0);
}

/** The sums of a layer at a site of a map (rows of sites), whose neighbours are all there. */
function sumsAt(map, y, x, { weights, shape: [outputs, side, , inputs], biases, shifts }) {
  return Array.from({ length: outputs }, (_, o) => {
    let sum = biases[o];
    for (let i = 0, k = o * side * side * inputs; i < side; i++) {
      for (let j = 0; j < side; j++) {
        const site = map[y + i][x + j];
        for (let c = 0; c < inputs; c++) sum += site[c] * weights[k++];
      }
    }
    return rounded(sum, shifts[o]);
  });
}

/** A map of h x w sites. */
const made = (h, w, site) => Array.from({ length: h }, (_, y) => Array.from({ length: w }, (_, x) => site(y, x)));

/**
 * The pixels of docs/format.md, of a part. pixel: of a plane, anywhere; qualityOf: of a site of 2x2 pixels, counted from
 * the part's corner.
 */
function plain(layers, { steps, numbers }, pixel, qualityOf, height, width) {
  const reach = Object.values(layers).reduce((sum, { shape }) => sum + (shape[1] >> 1), 0);
  const near = (plane, y, x) => clamp(pixel(plane, y, x), -8191, 8191);
  const places = [0, 1, 2, 3].flatMap((place) => [0, 1, 2].map((plane) => [plane, place >> 1, place & 1]));
  let map = made(height / 2 + 2 * reach, width / 2 + 2 * reach, (row, column) => {
    const [y, x] = [row - reach, column - reach];
    const quality = qualityOf(y, x);
    const step = steps[quality - 1];
    const factor = Math.floor((2 ** 27 + Math.floor((25 * step) / 2)) / (25 * step));
    const limit = Math.floor((129 * 2 ** 20) / factor);
    const pixels = places.map(([plane, i, j]) => near(plane, 2 * y + i, 2 * x + j));
    const contrasts = places.map(([plane, i, j], k) => {
      let difference = 25 * pixels[k];
      for (let a = -2; a <= 2; a++) for (let b = -2; b <= 2; b++) difference -= near(plane, 2 * y + i + a, 2 * x + j + b);
      return Math.floor((clamp(difference, -limit, limit) * factor + 2 ** 19) / 2 ** 20);
    });
    const own = [...pixels.map((p) => Math.floor((p + 32) / 64)), ...contrasts];
    return [...own.map((value) => clamp(value, -128, 127)), numbers[quality - 1]];
  });
  for (const [name, each] of Object.entries(layers)) {
    if (name === "leave") break;
    const [from, side] = [map, each.shape[1]];
    map = made(from.length - side + 1, from[0].length - side + 1, (y, x) => {
      const sums = sumsAt(from, y, x, each);
      if (name === "enter") return sums.map((sum) => clamp(sum, 0, 255));
      const own = from[y + (side >> 1)][x + (side >> 1)];
      return sums.map((sum, c) => clamp(own[c] + clamp(sum, -128, 127), 0, 255));
    });
  }
  const out = new Int32Array(3 * height * width);
  map.forEach((sites, y) => sites.forEach((_, x) => {
    const step = steps[qualityOf(y, x) - 1];
    const limit = Math.floor(2 ** 29 / step);
    const sums = sumsAt(map, y, x, layers.leave);
    places.forEach(([plane, i, j], k) => {
      const added = Math.floor((clamp(sums[k], -limit, limit) * step + 2048) / 4096);
      out[(plane * height + 2 * y + i) * width + 2 * x + j] = pixel(plane, 2 * y + i, 2 * x + j) + added;
    });
  }));
  return out;
}

// parts in pixels; the picture has 64x48 of these, or is as high as it is said
const NETWORKS = [
  { width: 16, blocks: 2, part: { top: 16, left: 16, height: 16, width: 32 }, whole: false },
  { width: 64, blocks: 6, part: { top: 0, left: 16, height: 16, width: 16 }, whole: true },
  { width: 12, blocks: 0, part: { top: 0, left: 0, height: 32, width: 64 }, whole: true },
  { width: 5, blocks: 1, side: 5, part: { top: 16, left: 0, height: 16, width: 64 }, whole: false },
  { width: 8, blocks: 1, part: { top: 0, left: 0, height: 528, width: 16 }, rows: 528, whole: true }, // several strips
];

test("its numbers are those of plain arithmetic", async () => {
  const kernels = await newKernels();
  const { heap } = kernels;
  const model = newModel(kernels);
  for (const { width, blocks, side, part, whole, rows = 48 } of NETWORKS) {
    const columns = rows > 48 ? 16 : 64;
    const layers = layersOf(width, blocks, side);
    const enhancement = new Enhancement(packed(layers), "x", model, kernels);
    const picture = Int32Array.from({ length: 3 * rows * columns }, () => (random() < 0.02 ? 60000 : between(-5000, 5000)));
    const grid = { rows: rows / 16, columns: columns / 16 };
    const sites = Uint8Array.from({ length: grid.rows * grid.columns }, (_, k) => (whole ? 40 : 1 + ((37 * k) % 100)));
    const [y0, x0] = [part.top, part.left];
    const inside = (n, size) => clamp(n, 0, size - 1);
    const pixel = (plane, y, x) =>
      picture[(plane * rows + inside(y0 + y, rows)) * columns + inside(x0 + x, columns)];
    const qualityOf = (y, x) => {
      const row = inside(Math.floor((y0 + 2 * y) / 16), grid.rows);
      return sites[row * grid.columns + inside(Math.floor((x0 + 2 * x) / 16), grid.columns)];
    };
    const wanted = plain(layers, model, pixel, qualityOf, part.height, part.width);
    const before = heap.inUse;
    const [planes, qualities] = [heap.put(picture), heap.put(sites)];
    const own = { at: qualities, ...grid };
    const at = enhancement.apply({ at: planes, height: rows, width: columns }, part, own, y0 / 2, x0 / 2);
    const found = heap.words(at, wanted.length).slice();
    assert.deepEqual(found, wanted, `width ${width}, ${blocks} blocks`);
    heap.release(at, qualities);
    assert.equal(heap.inUse, before);
    const changed = wanted.filter((value, k) => {
      const [plane, place] = [Math.floor(k / part.height / part.width), k % (part.height * part.width)];
      return value !== pixel(plane, Math.floor(place / part.width), place % part.width);
    });
    assert.ok(changed.length > wanted.length / 2);
  }
});

test("layers of another network, and damaged ones, are refused", async () => {
  const kernels = await newKernels();
  const model = newModel(kernels);
  const good = layersOf(8, 1);
  const refused = (data, message) =>
    assert.throws(() => new Enhancement(data, "e.bin", model, kernels), { name: "WeightsError", message });
  const without = (name) => packed(Object.fromEntries(Object.entries(good).filter(([key]) => key !== name)));
  const other = (name, layer) => packed({ ...good, [name]: layer });
  const used = kernels.heap.inUse;
  refused(without("leave"), /^e\.bin: its layers/);
  refused(without("enter"), /its layers/);
  refused(other("block2", good.block0), /its layers/);
  refused(other("leave", layer(PIXELS, 1, 9, [0, 1])), /its layers/);
  refused(other("leave", layer(PIXELS, 3, 8, [0, 1])), /its layers/);
  refused(other("leave", layer(13, 1, 8, [0, 1])), /its layers/);
  refused(other("enter", layer(8, 3, FEATURES, [0, 0])), /its layers/);
  refused(other("enter", layer(8, 3, 24, [1, 0])), /its layers/);
  refused(other("block0", layer(8, 3, 8, [0, 0])), /its layers/);
  refused(other("block0", layer(8, 3, 1, [0, 1])), /its layers/); // every channel by itself
  refused(packed(layersOf(8, 7)), /its layers/); // sees too far
  refused(other("enter", layer(8, 2, FEATURES, [1, 0])), /of a kind/);
  refused(other("enter", { ...good.enter, shape: [8, 9, FEATURES] }), /of a kind/);
  refused(other("block0", { ...good.block0, weights: good.block0.weights.map(() => 65) }), /not an exact/);
  refused(other("block0", { ...good.block0, shifts: new Uint8Array(8).fill(25) }), /not an exact/);
  refused(other("block0", { ...good.block0, biases: new Int32Array(8).fill(1 << 24) }), /not an exact/);
  refused(packed(good).subarray(0, 2000), /damaged/);
  refused(new Uint8Array(100), /damaged/);
  refused(new Uint8Array(3), /damaged/);
  assert.equal(kernels.heap.inUse, used);
});

test("its file is fetched, and checked as a whole", async (t) => {
  const [data, base] = [packed(layersOf(8, 1)), new URL("http://localhost/models/")];
  const hash = sha256(data);
  const damaged = data.slice();
  damaged[damaged.length - 20] ^= 1;
  const list = {
    ab: { name: "swin", file: "a.bin", enhancements: ["one.bin", "two.bin"].map((file) => ({ file, sha256: hash })) },
    cd: { name: "other", file: "b.bin" },
  };
  const served = { "models.json": JSON.stringify(list), "one.bin": gzipSync(data), "two.bin": damaged };
  t.mock.method(globalThis, "fetch", async (url) => new Response(served[String(url).slice(base.href.length)]));
  globalThis.location ??= base;
  const source = new ModelSource(base);
  const found = await source.enhancement({ weights: "ab", enhancement: 1 });
  assert.deepEqual([sha256(found.data), found.name], [hash, "one.bin"]);
  const other = source.enhancement({ weights: "ab", enhancement: 2 });
  await assert.rejects(other, { name: "WeightsError", message: /two\.bin: SHA-256/ });
  for (const [weights, enhancement] of [["ab", 3], ["cd", 1], ["ef", 1]]) {
    assert.equal(await source.enhancement({ weights, enhancement }), null);
  }
});
