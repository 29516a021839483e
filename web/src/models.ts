// Weights: fetched once, checked, kept in the browser's cache.
import { inflate } from "./bytes.js";
import { WeightsError } from "./errors.js";
import type { Header } from "./header.js";
import { type ModelConfig, checkWeights } from "./model.js";

const CACHE = "vitcodec-models-1";
const MAX_BYTES = 1 << 28;
const LOCAL = /^(localhost|127\.0\.0\.1|\[::1\])$/;
const GZIP = [0x1f, 0x8b];

/** What models.json says of a model. */
interface Listed extends ModelConfig {
  name: string;
  /** The file of its weights, beside models.json: model.safetensors, as it is or as gzip makes it. */
  file: string;
  /** Those of its enhancements, the first of which is number 1, and the SHA-256 of what is in them. */
  enhancements?: { file: string; sha256: string }[];
}

/** A model's weights, as a file names them. */
export interface Weights {
  data: Uint8Array;
  config: ModelConfig;
}

/** The file of an enhancement. */
export interface EnhancementFile {
  data: Uint8Array;
  name: string;
}

/** models.json: by the first 8 bytes of the weights' hash, in hexadecimal digits. */
type List = Record<string, Listed>;

/** Where models come from. base: the folder of models.json. */
export class ModelSource {
  private list: Promise<List> | undefined;

  constructor(private readonly base: URL) {}

  /** The weights that a file needs. */
  async weights(header: Header): Promise<Weights> {
    const found = (await this.read())[header.weights];
    if (!found) {
      throw new WeightsError(
        `the file needs model '${header.model}' (${header.weights}), which is not among the models that a browser can run here`,
      );
    }
    return { data: await this.checked(found.file, header.weights), config: found };
  }

  /** The enhancement that a file names; null if the model has none of that number here. */
  async enhancement(header: Header): Promise<EnhancementFile | null> {
    const found = (await this.read())[header.weights]?.enhancements?.[header.enhancement - 1];
    return found ? { data: await this.checked(found.file, found.sha256), name: found.file } : null;
  }

  /** What is in a file, if its SHA-256 begins with `hash`. */
  private async checked(file: string, hash: string): Promise<Uint8Array> {
    const url = new URL(file, this.base);
    const stored = await cached(url);
    const packed = stored[0] === GZIP[0] && stored[1] === GZIP[1];
    const data = packed ? await inflate(stored, MAX_BYTES, "gzip").catch(() => null) : stored;
    if (!data) throw new WeightsError(`${file}: the weights are damaged; load the page again`);
    try {
      await checkWeights(data, hash, file);
    } catch (error) {
      await forget(url);
      throw error;
    }
    return data;
  }

  private read(): Promise<List> {
    this.list ??= fetched(new URL("models.json", this.base)).then((response) => response.json() as Promise<List>);
    this.list.catch(() => (this.list = undefined)); // to be tried again
    return this.list;
  }
}

async function fetched(url: URL): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new WeightsError(`${url}: the model cannot be fetched (${(error as Error).message})`);
  }
  if (!response.ok) throw new WeightsError(`${url}: the model cannot be fetched (${response.status})`);
  return response;
}

/** A file out of the cache, or fetched into it. Names of weights hold their hash, so that none goes stale. */
async function cached(url: URL): Promise<Uint8Array> {
  const cache = await open();
  const kept = await cache?.match(url).catch(() => undefined);
  if (kept) return new Uint8Array(await kept.arrayBuffer());
  const response = await fetched(url);
  const data = new Uint8Array(await response.arrayBuffer());
  // the storage may be full, or forbidden: then the file is fetched again next time
  await cache?.put(url, new Response(data as BodyInit)).catch(() => undefined);
  return data;
}

async function forget(url: URL): Promise<void> {
  await (await open())?.delete(url).catch(() => undefined);
}

/** The cache, where there is one: not on pages from plain http, and none for this machine's own servers, which come and go. */
async function open(): Promise<Cache | undefined> {
  if (LOCAL.test(location.hostname)) return undefined;
  return globalThis.caches?.open(CACHE).catch(() => undefined);
}
