import { DecodeError } from "./errors.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";
import { putLayer } from "./packing.js";

const [INPUTS, OUTPUTS, ROWS] = [96, 64, 1024];
const SIGNED = 1;

/** A small product of matrices with the largest numbers: throws where its result is not what plain arithmetic says. */
export function selfTest(kernels: Kernels): void {
  const blocks = new Set<Address>();
  kernels.heap.within(blocks, () => check(kernels));
  kernels.heap.release(...blocks);
}

function check(kernels: Kernels): void {
  const { heap } = kernels;
  const noise = (k: number) => (Math.imul(k + 1, 0x9e3779b1) >>> 24) & 255;
  const x = Uint8Array.from({ length: ROWS! * INPUTS! }, (_, k) => (k < INPUTS! ? 255 : noise(k)));
  const weights = Int8Array.from({ length: OUTPUTS! * INPUTS! }, (_, k) => (k < INPUTS! ? 64 : (noise(k) >> 1) - 64));
  weights[INPUTS! + 1] = 64; // and the smallest in one row
  weights[INPUTS! + 2] = -64;
  const shift = 9;
  const layer = putLayer(kernels, {
    weights,
    biases: new Int32Array(OUTPUTS!),
    shifts: new Uint8Array(OUTPUTS!).fill(shift),
    inputs: INPUTS!,
    outputs: OUTPUTS!,
    side: 1,
    signedInput: 0,
    kind: SIGNED,
  });
  const out = heap.alloc(ROWS! * OUTPUTS!);
  kernels.run("runProduct", ROWS!, [heap.put(x), layer, out], 64);
  const found = new Int8Array(heap.memory.buffer, out, ROWS! * OUTPUTS!);
  for (let row = 0; row < ROWS!; row += 41) {
    for (let o = 0; o < OUTPUTS!; o++) {
      let sum = 0;
      for (let i = 0; i < INPUTS!; i++) sum += x[row * INPUTS! + i]! * weights[o * INPUTS! + i]!;
      const exact = sum / 2 ** shift;
      const floor = Math.floor(exact);
      const up = exact - floor > 0.5 || (exact - floor === 0.5 && floor % 2 !== 0);
      const wanted = Math.max(-128, Math.min(127, floor + (up ? 1 : 0)));
      if (found[row * OUTPUTS! + o] !== wanted) {
        throw new DecodeError("this browser's arithmetic is not exact: pictures would come out wrong");
      }
    }
  }
}
