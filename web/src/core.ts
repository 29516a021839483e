/** The decoder without workers, for tests. */
export { Reader, crc32 } from "./bytes.js";
export { decode } from "./decoder.js";
export { Enhancement } from "./enhancement.js";
export { DecodeError } from "./errors.js";
export { parseHeader } from "./header.js";
export { Kernels } from "./kernels.js";
export { Model, checkWeights } from "./model.js";
export { ModelSource } from "./models.js";
export { selfTest } from "./self_test.js";
export { sha256Here } from "./sha256.js";
