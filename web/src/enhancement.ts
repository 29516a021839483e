// The enhancement of pixels, a small network of integers that sees the filtered planes (docs/format.md, "From tokens to
// pixels", 7).
import { DecodeError, WeightsError } from "./errors.js";
import { border } from "./filter.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";
import { type Layer, type ReadLayer, keepLayer, layerNames, parseTensors, readLayer } from "./layers.js";
import type { Model } from "./model.js";

const PIXELS = 12; // of a site: 2x2 of three planes
const FEATURES = 2 * PIXELS + 1;
const BOX = 5; // pixels along a side of a pixel's surroundings
const FACTOR_BITS = 20; // of what a contrast is multiplied with, to be in 32nds of a step
const STEP_FACTOR_BITS = 7;
const MOST_REACH = 7; // sites around each that the network may see: with the box, 16 pixels
const ROWS = 128; // rows of sites that are worked on at a time, so that maps stay small
const [LEAST_SITES, LEAST_ROWS] = [256, 4]; // that a thread takes

/** Planes of the colour axes. */
interface Planes {
  at: Address;
  height: number;
  width: number;
}

/** A rectangle of pixels. */
interface Part {
  top: number;
  left: number;
  height: number;
  width: number;
}

/** Qualities, a byte for each site of the picture. */
export interface Qualities {
  at: Address;
  rows: number;
  columns: number;
}

export class Enhancement {
  private readonly layers: Layer[]; // but for the last
  private readonly leave: Layer;
  private readonly sites: number; // around each that the network sees
  private readonly contrasts: Address; // what belongs to each quality

  /** data: of its file. name: how messages call that. */
  constructor(
    data: Uint8Array,
    name: string,
    private readonly model: Model,
    private readonly kernels: Kernels,
  ) {
    const read = layersOf(data, name);
    this.sites = reachOf(read);
    this.layers = read.slice(0, -1).map((layer) => keepLayer(kernels, layer, false));
    this.leave = keepLayer(kernels, read.at(-1)!, true);
    this.contrasts = kernels.heap.put(contrastFactors(model.steps));
  }

  /**
   * A part of planes enhanced, the caller's; the planes are released. They have the pixels that the network sees around
   * the part, 16 at most, or end with the picture: beyond it the last pixel repeats.
   *
   * top, left: of the part in the picture, in sites of 2x2 pixels.
   */
  apply(planes: Planes, part: Part, qualities: Qualities, top: number, left: number): Address {
    const { heap } = this.kernels;
    const out = { at: heap.alloc(PIXELS * part.height * part.width), height: part.height, width: part.width };
    for (let row = 0; 2 * row < part.height; row += ROWS) {
      const height = Math.min(2 * ROWS, part.height - 2 * row);
      const strip = { ...part, top: part.top + 2 * row, height };
      this.strip(planes, strip, [qualities.at, qualities.rows, qualities.columns], top + row, left, out, 2 * row);
    }
    heap.release(planes.at);
    return out.at;
  }

  /** A part whose maps are held at a time. line: where it goes in `out`. */
  private strip(
    planes: Planes,
    part: Part,
    qualities: readonly number[],
    top: number,
    left: number,
    out: Planes,
    line: number,
  ): void {
    const { kernels, model, sites: n } = this;
    const { heap } = kernels;
    const reach = 2 * n + (BOX >> 1);
    const [rows, columns] = [part.height + 2 * reach, part.width + 2 * reach];
    const around = heap.alloc(PIXELS * rows * columns);
    for (let k = 0; k < 3; k++) {
      const from = planes.at + 4 * k * planes.height * planes.width;
      const to = around + 4 * k * rows * columns;
      border(kernels, from, planes, to, part.top - reach, part.left - reach, rows, columns);
    }
    let [h, w] = [part.height / 2 + 2 * n, part.width / 2 + 2 * n];
    let map = heap.alloc(h * w * FEATURES);
    const inputs = [around, rows, columns, map, this.contrasts, model.positions, ...qualities, top - n, left - n];
    kernels.run("runPixelInputs", h, inputs, LEAST_ROWS);
    this.layers.forEach((layer, k) => {
      const { inputs, outputs, side, at } = layer;
      const [from, pitch] = [map, w];
      h -= side - 1;
      w -= side - 1;
      map = heap.alloc(h * w * outputs);
      // all but the first are added to what they see
      kernels.run("runConvolve", h * w, [from, pitch, inputs, side, at, map, w, k ? 1 : 0], LEAST_SITES);
      heap.release(from);
    });
    const to = out.at + 4 * line * out.width;
    const words = [map, w, this.leave.at, around, reach, rows, columns, to, out.height, out.width, model.stepTable];
    kernels.run("runEnhance", h, [...words, ...qualities, top, left], LEAST_ROWS);
    heap.release(around, map);
  }
}

/** The layers in order, checked. */
function layersOf(data: Uint8Array, name: string): ReadLayer[] {
  let layers: ReadLayer[];
  try {
    const tensors = parseTensors(data);
    const found = layerNames(tensors);
    const names = ["enter", ...found.slice(2).map((_, k) => `block${k}`), "leave"];
    layers = names.every((layer) => found.includes(layer)) ? names.map((layer) => readLayer(tensors, layer)) : [];
  } catch (error) {
    if (error instanceof DecodeError) throw new WeightsError(`${name}: ${error.message}`);
    throw new WeightsError(`${name}: the enhancement is damaged (${(error as Error).message}); load the page again`);
  }
  if (!layers.length || !fits(layers) || reachOf(layers) > MOST_REACH) {
    throw new WeightsError(`${name}: its layers are not those of an enhancement that this decoder knows; use a newer one`);
  }
  return layers;
}

/** Whether each layer takes what the one before it gives. */
function fits(layers: readonly ReadLayer[]): boolean {
  const width = layers[0]!.outputs;
  return layers.every(({ inputs, outputs, side, isSeparate, signedInput, signedOutput }, k) => {
    if (isSeparate) return false;
    if (k === 0) return inputs === FEATURES && !!signedInput && !signedOutput;
    if (inputs !== width || signedInput) return false;
    return k < layers.length - 1 ? outputs === width && !!signedOutput : outputs === PIXELS && side === 1;
  });
}

/** How many sites around each its result depends on. */
function reachOf(layers: readonly ReadLayer[]): number {
  return layers.reduce((sum, layer) => sum + (layer.side >> 1), 0);
}

/**
 * Of each quality, what takes a contrast, BOX^2 times a difference of pixels, to 32nds of a step, and the contrasts
 * beyond which that is clamped anyway.
 */
function contrastFactors(steps: Int32Array): Int32Array {
  return Int32Array.from({ length: 2 * steps.length }, (_, k) => {
    const divisor = BOX ** 2 * steps[k >> 1]!;
    const factor = Math.floor((2 ** (FACTOR_BITS + STEP_FACTOR_BITS) + Math.floor(divisor / 2)) / divisor);
    return k & 1 ? Math.floor((129 * 2 ** FACTOR_BITS) / factor) : factor;
  });
}
