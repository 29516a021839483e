/**
 * Decodes .vitc pictures, to the same pixels as everywhere.
 *
 *     import { decode } from "./vitcodec.js";
 *     const image = await decode("photo.vitc");           // ImageData
 *     canvas.getContext("2d").putImageData(image, 0, 0);
 */
import type { DecodeOptions, Times } from "./decoder.js";
import { InputError, errorOf } from "./errors.js";
import type { Region } from "./geometry.js";
import type { FileInfo, LevelBytes } from "./info.js";
import type { Pixels } from "./lossy.js";
import type { Reply, Request } from "./messages.js";
import { startWorker } from "./start_worker.js";

export type { DecodeOptions, FileInfo, LevelBytes, Region, Times };
export type { Chunk } from "./bytes.js";
export type { Colours } from "./profiles.js";
export {
  DecodeError,
  FormatError,
  InputError,
  LimitError,
  UnsupportedError,
  UsageError,
  WeightsError,
} from "./errors.js";

/** An address, a file, bytes, or what is still arriving. */
export type Source = string | URL | Blob | ArrayBuffer | ArrayBufferView | Response | ReadableStream<Uint8Array>;

/** A picture. */
export interface DecodedImage {
  image: ImageData;
  /** What the file holds. */
  info: FileInfo;
  /** What to tell people, such as what was damaged. */
  notes: string[];
  /** Seconds that were spent. */
  times: Times & { all: number };
  /** The most bytes of WebAssembly memory that were in use, weights with them. */
  memory: number;
  threads: number;
}

/** A coarser picture of one that is being decoded. */
export interface PreviewImage {
  image: ImageData;
  /** How often it is halved. */
  reduce: number;
  info: FileInfo;
}

/** More options of decodeFile. */
export interface FileOptions extends DecodeOptions {
  /** Called with coarser pictures, while finer levels arrive or are decoded. */
  onPreview?: (preview: PreviewImage) => void;
  /** Stops the work. */
  signal?: AbortSignal;
  /** What messages call the file. */
  name?: string;
}

/** Where the library's files are, and what it may use. */
export interface Settings {
  /** The folder of models.json, models/ beside the library if it is not given. */
  models?: string | URL;
  /** At most so many; 1 for none beside the worker. Others need a page that is isolated (COOP and COEP). */
  threads?: number;
}

let settings: Settings = {};
let client: Client | undefined;

/** Sets where models are and how many threads may be used. Before the first picture. */
export function configure(changes: Settings): void {
  settings = { ...settings, ...changes };
  client?.end();
  client = undefined;
}

/** The picture of a .vitc file. */
export async function decode(source: Source, options: FileOptions = {}): Promise<ImageData> {
  return (await decodeFile(source, options)).image;
}

/** The picture of a .vitc file, and what is known of it. Raises DecodeError. */
export async function decodeFile(source: Source, options: FileOptions = {}): Promise<DecodedImage> {
  options.signal?.throwIfAborted();
  client ??= new Client(settings);
  return client.decode(source, options);
}

interface Waiting {
  resolve(image: DecodedImage): void;
  reject(error: unknown): void;
  preview: ((preview: PreviewImage) => void) | undefined;
  start: number;
}

/** A page's side of the worker. */
class Client {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;

  constructor({ models = "models/", threads = 0 }: Settings) {
    this.worker = startWorker(new URL("worker.js", import.meta.url), "vitcodec");
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      const error = new InputError(`the decoder cannot be started (${event.message || "worker.js cannot be loaded"})`);
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    };
    this.send({ kind: "start", models: new URL(models, import.meta.url).href, threads });
  }

  end(): void {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new InputError("the decoder was set up anew"));
  }

  decode(source: Source, options: FileOptions): Promise<DecodedImage> {
    const { onPreview, signal, name, ...rest } = options;
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, preview: onPreview, start: performance.now() });
      signal?.addEventListener("abort", () => {
        if (!this.waiting.delete(id)) return;
        this.send({ kind: "stop", id, error: "stopped" });
        reject(signal.reason as Error);
      });
      const stream = source instanceof Response ? source.body : source instanceof ReadableStream ? source : null;
      const whole = stream || source instanceof Response ? null : wholeOf(source as Exclude<Source, Response>);
      const request: Request = {
        kind: "decode",
        id,
        source: whole,
        options: rest,
        name: name ?? nameOf(source),
        previews: onPreview !== undefined,
      };
      this.send(request);
      if (whole === null) void this.pump(id, stream, source);
    });
  }

  /** Sends what arrives. */
  private async pump(id: number, stream: ReadableStream<Uint8Array> | null, source: Source): Promise<void> {
    try {
      if (source instanceof Response && !source.ok) {
        throw new Error(`${source.status} ${source.statusText}`);
      }
      const reader = stream?.getReader();
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
        if (done || !this.waiting.has(id)) break;
        this.send({ kind: "part", id, part: value });
      }
      await reader?.cancel();
      this.send({ kind: "part", id, part: null });
    } catch (error) {
      this.send({ kind: "stop", id, error: `${nameOf(source)}: cannot be fetched (${(error as Error).message})` });
    }
  }

  private send(request: Request): void {
    this.worker.postMessage(request);
  }

  private receive(reply: Reply): void {
    const found = this.waiting.get(reply.id);
    if (!found) return;
    if (reply.kind === "preview") {
      const { reduce, info } = reply;
      found.preview?.({ image: imageOf(reply.pixels, info), reduce, info });
      return;
    }
    this.waiting.delete(reply.id);
    if (reply.kind === "error") {
      found.reject(errorOf(reply.name, reply.message));
      return;
    }
    const { info, notes, times, memory, threads } = reply;
    const all = (performance.now() - found.start) / 1000;
    found.resolve({ image: imageOf(reply.pixels, info), info, notes, times: { ...times, all }, memory, threads });
  }
}

function imageOf({ data, width, height }: Pixels, info: FileInfo): ImageData {
  return new ImageData(data, width, height, { colorSpace: info.colours.space });
}

function wholeOf(source: string | URL | Blob | ArrayBuffer | ArrayBufferView | ReadableStream): string | Blob | ArrayBuffer {
  if (typeof source === "string" || source instanceof URL) return new URL(source, document.baseURI).href;
  if (source instanceof Blob || source instanceof ArrayBuffer) return source;
  const { buffer, byteOffset, byteLength } = source as ArrayBufferView;
  return buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
}

/** What a source is called: a file's name, or the last part of an address. */
export function nameOf(source: Source): string {
  if (source instanceof File) return source.name;
  const address = source instanceof Response ? source.url : source instanceof URL ? source.href : source;
  if (typeof address !== "string" || !address) return "the file";
  const path = address.split(/[?#]/)[0]!;
  return decodeURIComponentSafely(path.slice(path.lastIndexOf("/") + 1)) || address;
}

function decodeURIComponentSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
