/** The decoder without workers, for tests. */
export { crc32 } from "./bytes.js";
export { decode } from "./decoder.js";
export { DecodeError } from "./errors.js";
export { Kernels } from "./kernels.js";
export { Model, checkWeights } from "./model.js";
export { selfTest } from "./self_test.js";
export { sha256Here } from "./sha256.js";
