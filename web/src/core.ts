/** The decoder without workers, for tests. */
export { decode } from "./decoder.js";
export { Kernels } from "./kernels.js";
export { Model, checkWeights } from "./model.js";
export { selfTest } from "./self_test.js";
export { sha256Here } from "./sha256.js";
