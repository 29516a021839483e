import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";

const COLUMNS = 16; // that are worked on at a time
const LEAST = 4096; // places that a thread takes

/**
 * One level of the inverse wavelet: planes (3, h, w) and details (h, w, 9) -> planes (3, 2h, 2w), the caller's.
 *
 * context: whether details are whole numbers and planes sixteenths, without a clamp, as the context model has them.
 */
export function merge(kernels: Kernels, low: Address, details: Address, h: number, w: number, context: boolean): Address {
  const { heap } = kernels;
  const parts = 3 * Math.ceil(w / COLUMNS);
  const rows = heap.alloc(4 * 3 * 4 * h * w);
  const room = heap.alloc(parts * 4 * COLUMNS * 4 * h);
  kernels.run("runColumns", parts, [low, details, h, w, rows, context ? 1 : 0, room], Math.ceil(LEAST / (COLUMNS * h)));
  const out = heap.alloc(4 * 3 * 4 * h * w);
  kernels.run("runLines", 3 * 2 * h, [rows, 2 * h, w, out], LEAST / w);
  heap.release(rows, room);
  return out;
}

/** (h, w, channels) int32 -> planes, times 2^shift, the caller's. */
export function planar(kernels: Kernels, from: Address, h: number, w: number, channels: number, shift: number): Address {
  const planes = kernels.heap.alloc(4 * channels * h * w);
  kernels.run("runPlanar", h, [from, h, w, channels, planes, shift]);
  return planes;
}
