// What several tests need: paths, the cases, and the decoder in this thread.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { Enhancement, Kernels, Model, checkWeights, crc32, decode } from "../build/core.mjs";

export const WEB = join(dirname(fileURLToPath(import.meta.url)), "..");
export const CASES = JSON.parse(readFileSync(join(WEB, "test/cases/cases.json"), "utf8"));

/** The bytes of a case's file. */
export function fileOf(name) {
  return new Uint8Array(readFileSync(join(WEB, "test/cases", `${name}.vitc`)));
}

/** A way of cases.json as options of the decoder. */
export function optionsOf({ reduce, region, salvage }) {
  const options = { reduce: reduce ?? 0, salvage: salvage ?? false };
  if (region) options.region = Object.fromEntries(["x", "y", "width", "height"].map((key, k) => [key, region[k]]));
  return options;
}

export function sha256(data) {
  return createHash("sha256").update(data).digest("hex");
}

export async function newKernels(file = process.env.KERNELS ?? "kernels.wasm") {
  const module = await WebAssembly.compile(readFileSync(join(WEB, "dist", file)));
  return new Kernels(module, Kernels.memory(false), 1);
}

/** A decoder's host with the models of dist/. */
export async function newHost() {
  const kernels = await newKernels();
  const list = JSON.parse(readFileSync(join(WEB, "dist/models/models.json"), "utf8"));
  const loaded = new Map();
  const checked = async (file, hash) => {
    const data = new Uint8Array(gunzipSync(readFileSync(join(WEB, "dist/models", file))));
    await checkWeights(data, hash, file);
    return data;
  };
  return {
    kernels,
    async model({ weights }) {
      if (!list[weights]) throw Object.assign(new Error(`no model ${weights}`), { name: "WeightsError" });
      if (!loaded.has(weights)) {
        loaded.set(weights, new Model(await checked(list[weights].file, weights), list[weights], kernels));
      }
      return loaded.get(weights);
    },
    async enhancement({ weights, enhancement }) {
      const found = list[weights]?.enhancements?.[enhancement - 1];
      if (!found) return null;
      const key = `${weights} ${enhancement}`;
      if (!loaded.has(key)) {
        const data = await checked(found.file, found.sha256);
        loaded.set(key, new Enhancement(data, found.file, await this.model({ weights }), kernels));
      }
      return loaded.get(key);
    },
  };
}

/** Parts of bytes, as they come from a network. */
export async function* parts(data, size = data.length || 1) {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

/** What decoding gives, as cases.json has it. */
export async function outcome(data, options, host, size) {
  try {
    const { pixels } = await decode(parts(data, size), options, host);
    return { width: pixels.width, height: pixels.height, sha256: sha256(pixels.data) };
  } catch (error) {
    return { error: error.name };
  }
}

/** A file whose chunks have the checksums of what is in them, as far as they can be told apart. */
export function withChecksums(data) {
  for (let at = 9; at + 9 <= data.length; ) {
    let [start, length, digits] = [at + 4, 0, 0];
    do length += (data[start] & 127) * 2 ** (7 * digits++);
    while (data[start++] > 127 && digits < 5);
    const end = start + length;
    if (end + 4 > data.length) break;
    new DataView(data.buffer).setUint32(end, crc32(data.subarray(at, end)), true);
    at = end + 4;
  }
  return data;
}
