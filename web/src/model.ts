import { WeightsError } from "./errors.js";
import type { Address } from "./heap.js";
import { hex } from "./header.js";
import type { Kernels } from "./kernels.js";
import { type Layer, type Tensor, keepLayer, layerNames, parseTensors, readLayer, unknownKind } from "./layers.js";
import { sha256 } from "./sha256.js";

/** What config.json says of a model, as far as a decoder needs it. */
export interface ModelConfig {
  context: { low_scales: number; conditional: number; flags: boolean };
  synthesis: { blocks: [number, number]; wide: number; middle: number; shifts: number[] };
}

/** A network of the context model: enter, residual blocks, leave. */
export interface RowNetwork {
  enter: Layer;
  residuals: number;
  /** Addresses of the residual blocks' layers. */
  layers: Address;
  leave: Layer | undefined;
}

const [SHAPES, MEANS, NARROW_SCALES, SCALES] = [3, 24, 20, 64];
const TABLE_BYTES = 4 + 4 * 65;
const FLAG_TABLE_BYTES = 4 + 4 * 3;
const FLAG_CLASSES = 96;
const OFFSET_TABLE = [1, 3, 9, 27, 81, 27, 9, 3, 1];
const TOP = 255;
const FRACTION = 16;
const FILTER_SIZES = [24, 12, 12];

/** Pairs of bytes for numbers from -zero to zero. */
export interface LookUp {
  at: Address;
  zero: number;
}

/** A model of integers, in the kernels' memory. */
export class Model {
  readonly networks = new Map<string, RowNetwork>();
  readonly synthesis = new Map<string, Layer>();
  readonly features: Uint8Array;
  readonly baseScales: Int16Array;
  readonly steps: Int32Array;
  readonly filterThresholds: Int32Array | undefined;
  readonly filterWeights: Int8Array | undefined;
  /** For decoded integers, and for numbers in sixteenths. */
  readonly values: LookUp;
  readonly sixteenths: LookUp;
  readonly valueTables: Address;
  readonly flagTables: Address;
  readonly offsetTable: Address;
  readonly bypass: Address;
  readonly gains: Address;
  readonly stepTable: Address;
  readonly positions: Address;
  readonly logs: Address;
  /** Sites around each that the synthesis' middle sees at most. */
  readonly reach: number;
  readonly lookUps: Record<"values" | "sixteenths", Uint16Array>;
  private readonly tensors: Map<string, Tensor>;

  constructor(
    data: Uint8Array,
    readonly config: ModelConfig,
    private readonly kernels: Kernels,
  ) {
    if (!config.context.flags) throw new WeightsError("a model without block flags is not of format 1");
    const { heap } = kernels;
    const tensors = (this.tensors = parseTensors(data));
    const bands = [100, 5, 9];
    this.features = this.numbers("coding.features", "U8", [100, 16]);
    const scales = this.numbers("coding.base_scales", "I16", bands);
    this.baseScales = new Int16Array(scales.buffer);
    const thresholds = new Int32Array(this.numbers("coding.thresholds", "I32", [TOP]).buffer);
    this.lookUps = { values: lookUp(thresholds, FRACTION), sixteenths: lookUp(thresholds, 1) };
    const kept = (pairs: Uint16Array) => ({ at: heap.put(pairs), zero: (pairs.length - 1) / 2 });
    this.values = kept(this.lookUps.values);
    this.sixteenths = kept(this.lookUps.sixteenths);
    this.valueTables = this.makeValueTables();
    this.flagTables = this.makeFlagTables();
    this.offsetTable = this.makeTables([OFFSET_TABLE], TABLE_BYTES);
    this.bypass = heap.put(bypassBits());
    this.gains = heap.put(this.numbers("dequantiser.gains", "I32", bands));
    this.steps = new Int32Array(this.numbers("dequantiser.steps", "I32", [100]).buffer);
    if (this.steps.some((step) => step < 1)) throw new WeightsError("a quantisation step is zero");
    this.stepTable = heap.put(this.steps);
    // with the zero point that the network's input has as a byte without sign
    this.positions = heap.put(this.numbers("dequantiser.positions", "U8", [100]).map((position) => position - 128));
    const logs = new Int32Array(this.numbers("dequantiser.logs", "I32", [65536]).buffer);
    if (logs.some((log) => log < 0 || log > 127)) throw new WeightsError("a logarithm is out of range");
    this.logs = heap.put(Int8Array.from(logs));
    if (tensors.has("filter.weights")) {
      this.filterThresholds = new Int32Array(this.numbers("filter.thresholds", "I32", [100]).buffer);
      const count = FILTER_SIZES.reduce((a, b) => a + b);
      this.filterWeights = new Int8Array(this.numbers("filter.weights", "I8", [100, count]).buffer);
      if (this.filterThresholds.some((t) => t < 1 || t > 8191)) throw new WeightsError("a filter's threshold is out of range");
      if (this.filterWeights.some((weight) => weight < -127)) throw new WeightsError("a filter's weight is out of range");
    }
    this.makeNetworks();
    this.reach = [...this.synthesis]
      .filter(([name]) => name.startsWith("middle.") || name.startsWith("dense."))
      .reduce((sum, [, layer]) => sum + (layer.side >> 1), 0);
    tensors.clear();
  }

  network(name: string): RowNetwork {
    const found = this.networks.get(name);
    if (!found) throw new WeightsError(`network ${name} is missing; the weights are damaged`);
    return found;
  }

  layer(name: string): Layer {
    const found = this.synthesis.get(name);
    if (!found) throw new WeightsError(`layer ${name} is missing; the weights are damaged`);
    return found;
  }

  private numbers(name: string, dtype: string, shape: readonly number[]): Uint8Array {
    const tensor = this.tensors.get(name);
    if (!tensor || tensor.dtype !== dtype || String(tensor.shape) !== String(shape)) {
      throw new WeightsError(`table ${name} is not there or of another size; the weights are damaged`);
    }
    return tensor.data;
  }

  private makeTables(frequencies: readonly (readonly number[])[], bytes: number): Address {
    const { heap, exports } = this.kernels;
    const [at, row] = [heap.alloc(frequencies.length * bytes), heap.alloc(2 * 64)];
    frequencies.forEach((counts, k) => {
      new Uint16Array(heap.memory.buffer, row, counts.length).set(counts);
      exports.makeTable(row, counts.length, at + k * bytes);
    });
    heap.release(row);
    return at;
  }

  private makeValueTables(): Address {
    const own = (name: string, scales: number, size: number) =>
      new Uint16Array(this.numbers(name, "U16", [SHAPES!, MEANS!, scales, size]).buffer);
    const narrow = own("coding.narrow", NARROW_SCALES!, 16);
    const wide = own("coding.wide", SCALES! - NARROW_SCALES!, 64);
    const rows: number[][] = [];
    for (let k = 0; k < SHAPES! * MEANS!; k++) {
      for (let index = 0; index < SCALES!; index++) {
        const [table, size, row] =
          index < NARROW_SCALES!
            ? [narrow, 16, k * NARROW_SCALES! + index]
            : [wide, 64, k * (SCALES! - NARROW_SCALES!) + index - NARROW_SCALES!];
        rows.push(Array.from(table.subarray(row * size, (row + 1) * size)));
      }
    }
    return this.makeTables(rows, TABLE_BYTES);
  }

  private makeFlagTables(): Address {
    const set = new Uint16Array(this.numbers("coding.flags", "U16", [FLAG_CLASSES]).buffer);
    return this.makeTables(Array.from(set, (f) => [65535 - f, f]), FLAG_TABLE_BYTES);
  }

  private makeNetworks(): void {
    const names = layerNames(this.tensors);
    const context = new Map<string, Map<string, string>>();
    for (const name of names) {
      if (name.startsWith("synthesis.")) {
        this.synthesis.set(name.slice(10), this.makeLayer(name, /\.output|^synthesis\.output/.test(name)));
      }
      const match = /^context\.(.+?)\.(enter|leave|\d+\.(?:expand|reduce))$/.exec(name);
      if (match) context.set(match[1]!, (context.get(match[1]!) ?? new Map<string, string>()).set(match[2]!, name));
    }
    for (const [network, layers] of context) {
      const make = (part: string) => layers.has(part) ? this.makeLayer(layers.get(part)!, part === "leave") : undefined;
      const blocks: Address[] = [];
      for (let k = 0; layers.has(`${k}.expand`); k++) {
        for (const part of ["expand", "reduce"]) {
          const layer = make(`${k}.${part}`);
          if (!layer) throw new WeightsError(`network ${network}: a part is missing; the weights are damaged`);
          blocks.push(layer.at);
        }
      }
      const enter = make("enter");
      if (!enter) throw new WeightsError(`network ${network}: a part is missing; the weights are damaged`);
      this.networks.set(network, {
        enter,
        residuals: blocks.length / 2,
        layers: this.kernels.heap.put(Int32Array.from(blocks)),
        leave: make("leave"),
      });
    }
  }

  private makeLayer(name: string, sums: boolean): Layer {
    const layer = readLayer(this.tensors, name);
    if (layer.side > 1 && !(layer.isSeparate && layer.outputs % 8 === 0 && layer.signedInput && layer.signedOutput)) {
      throw unknownKind(name);
    }
    return keepLayer(this.kernels, layer, sums);
  }
}

/** Pairs of bytes: how many thresholds are at most a number in such a unit, and at most its negative. */
function lookUp(thresholds: Int32Array, unit: number): Uint16Array {
  const limit = Math.ceil(thresholds.at(-1)! / unit);
  const pairs = new Uint16Array(2 * limit + 1);
  let level = 0;
  for (let x = 0; x <= limit; x++) {
    while (level < TOP && thresholds[level]! <= x * unit) level++;
    pairs[limit + x]! |= level;
    pairs[limit - x]! |= level << 8;
  }
  return pairs;
}

/** Scale index -> how many of a value's lowest bits are equally probable. */
function bypassBits(): Uint8Array {
  return Uint8Array.from({ length: SCALES! }, (_, i) => Math.max(0, Math.ceil((-3 + (10 * i) / 63) / Math.LN2 - 2)));
}

/** Throws unless data have a hash that begins with `identity`, in hexadecimal digits. */
export async function checkWeights(data: Uint8Array, identity: string, name: string): Promise<void> {
  const found = hex(await sha256(data)).slice(0, identity.length);
  if (found !== identity) {
    const [is, wanted] = [found, identity].map((digits) => digits.slice(0, 16));
    throw new WeightsError(`${name}: SHA-256 begins with ${is}, not ${wanted}: not the weights that the file needs`);
  }
}
