// The tensors of a safetensors file, and the layers of small integers among them, checked (docs/format.md, "Model").
import { WeightsError } from "./errors.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";
import { type LayerNumbers, SUMS, putLayer } from "./packing.js";

/** Of a safetensors file. */
export interface Tensor {
  shape: number[];
  dtype: string;
  data: Uint8Array;
}

/** A layer's numbers, as a file has them. */
export interface ReadLayer extends Omit<LayerNumbers, "kind"> {
  isSeparate: boolean;
  /** 0 or 1. */
  signedOutput: number;
}

/** A layer in the kernels' memory. */
export interface Layer {
  /** Of its descriptor. */
  at: Address;
  inputs: number;
  outputs: number;
  side: number;
}

const [WEIGHT_LIMIT, SHIFT_LIMIT, SUM_LIMIT] = [64, 24, 2 ** 24];
const [MAX_INPUTS, MAX_OUTPUTS] = [4096, 2048];
const ITEM: Record<string, number> = { U8: 1, I8: 1, U16: 2, I16: 2, I32: 4, F32: 4 };

export function parseTensors(data: Uint8Array): Map<string, Tensor> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const size = Number(view.getBigUint64(0, true));
  const described = JSON.parse(new TextDecoder().decode(data.subarray(8, 8 + size))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Tensor>();
  for (const [name, tensor] of Object.entries(described)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets: [start, end] } = tensor;
    const bytes = data.slice(8 + size + start, 8 + size + end); // a copy, so that it is aligned
    const count = shape.reduce((product, n) => product * n, 1);
    if (bytes.length !== count * (ITEM[dtype] ?? NaN)) throw new WeightsError(`tensor ${name}: the weights are damaged`);
    tensors.set(name, { dtype, shape, data: bytes });
  }
  return tensors;
}

/** The names of the layers among tensors. */
export function layerNames(tensors: ReadonlyMap<string, Tensor>): string[] {
  return [...tensors.keys()].filter((name) => name.endsWith(".signs")).map((name) => name.slice(0, -6));
}

export function unknownKind(name: string): WeightsError {
  return new WeightsError(`layer ${name}: of a kind that this decoder does not know; use a newer one`);
}

/** A layer within all limits. */
export function readLayer(tensors: ReadonlyMap<string, Tensor>, name: string): ReadLayer {
  const part = (what: string, dtype: string, dimensions: number) => {
    const found = tensors.get(`${name}.${what}`);
    if (!found) throw new WeightsError(`layer ${name}: a part is missing; the weights are damaged`);
    if (found.dtype !== dtype || found.shape.length !== dimensions) throw unknownKind(name);
    return found;
  };
  const weight = part("weight", "I8", 4);
  const [outputs, side, across, inputs] = weight.shape as [number, number, number, number];
  const weights = new Int8Array(weight.data.buffer);
  const biases = new Int32Array(part("bias", "I32", 1).data.buffer);
  const shifts = part("shift", "U8", 1).data;
  const signs = Array.from(part("signs", "U8", 1).data, (sign) => (sign ? 1 : 0));
  const isSeparate = inputs === 1 && side > 1 && outputs > 1;
  const fits =
    side === across && side % 2 === 1 && biases.length === outputs && shifts.length === outputs &&
    signs.length === 2 && outputs <= MAX_OUTPUTS! && side * side * inputs <= MAX_INPUTS!;
  if (!fits) throw unknownKind(name);
  const [signedInput, signedOutput] = signs as [number, number];
  checkSums(name, weights, biases, shifts, !!signedInput);
  const numbers = { weights, biases, shifts, inputs: isSeparate ? outputs : inputs, outputs, side };
  return { ...numbers, isSeparate, signedInput, signedOutput };
}

/** A layer as the kernels take it. sums: whether what it gives stays whole numbers. */
export function keepLayer(kernels: Kernels, layer: ReadLayer, sums: boolean): Layer {
  const { inputs, outputs, side } = layer;
  // of all channels together it is a product of matrices, whose rows are neighbourhoods
  const isProduct = side > 1 && !layer.isSeparate;
  const numbers = { ...layer, kind: sums ? SUMS : layer.signedOutput };
  const at = putLayer(kernels, isProduct ? { ...numbers, inputs: side * side * inputs, side: 1 } : numbers);
  return { at, inputs, outputs, side };
}

/** Throws unless all sums stay below 2^24, so that they are exact in any order and precision. */
function checkSums(name: string, weights: Int8Array, biases: Int32Array, shifts: Uint8Array, signed: boolean): void {
  const [each, largest] = [weights.length / biases.length, signed ? 128 : 255];
  let fine = shifts.every((shift) => shift <= SHIFT_LIMIT!);
  for (let output = 0; output < biases.length && fine; output++) {
    let sum = 0;
    for (let k = output * each; k < (output + 1) * each; k++) {
      const magnitude = Math.abs(weights[k]!);
      fine &&= magnitude <= WEIGHT_LIMIT!;
      sum += magnitude;
    }
    fine &&= largest * sum + Math.abs(biases[output]!) < SUM_LIMIT!;
  }
  if (!fine) throw new WeightsError(`layer ${name}: not an exact integer layer; the weights are damaged`);
}
