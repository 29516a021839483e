// The worker that decodes; started again by itself, it is one of its helper threads.
import { type Host, decode } from "./decoder.js";
import { Enhancement } from "./enhancement.js";
import { DecodeError, InputError } from "./errors.js";
import { type HelperStart, Kernels, help } from "./kernels.js";
import type { Reply, Request } from "./messages.js";
import { Model } from "./model.js";
import { ModelSource } from "./models.js";
import { selfTest } from "./self_test.js";
import { startWorker } from "./start_worker.js";

const scope = self as unknown as DedicatedWorkerGlobalScope;
const MOST_THREADS = 8;
// a module with an instruction of relaxed SIMD: browsers without it refuse it
const RELAXED = Uint8Array.from(
  [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
);

/** Parts of a file that the page sends. */
class Parts implements AsyncIterable<Uint8Array> {
  private readonly parts: (Uint8Array | null)[] = [];
  private error: Error | undefined;
  private wake: () => void = () => undefined;

  add(part: Uint8Array | null): void {
    this.parts.push(part);
    this.wake();
  }

  stop(error: Error): void {
    this.error = error;
    this.wake();
  }

  check(): void {
    if (this.error) throw this.error;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      this.check();
      const part = this.parts.shift();
      if (part === null) return;
      if (part) yield part;
      else await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}

interface Engine {
  kernels: Kernels;
  models: ModelSource;
  /** By the weights' hash. */
  loaded: Map<string, Promise<Model>>;
  /** By that and their number. */
  enhancements: Map<string, Promise<Enhancement | null>>;
}

let engine: Promise<Engine> | undefined;
const running = new Map<number, Parts>();

function send(reply: Reply, transfer: Transferable[] = []): void {
  scope.postMessage(reply, transfer);
}

/** How many threads can be used: others need memory that is shared, which a page has to ask for by its headers. */
function threadsOf(wanted: number): number {
  if (!scope.crossOriginIsolated || typeof SharedArrayBuffer === "undefined") return 1;
  return Math.max(1, Math.min(wanted || MOST_THREADS, MOST_THREADS, navigator.hardwareConcurrency || 1));
}

async function start(models: string, wanted: number): Promise<Engine> {
  const threads = threadsOf(wanted);
  const kinds = WebAssembly.validate(RELAXED) ? ["-relaxed", ""] : [""];
  let kernels: Kernels | undefined;
  let problem: unknown;
  // the first that is exact here; memory that is shared cannot be had everywhere
  for (const count of threads > 1 ? [threads, 1] : [1]) {
    for (const kind of kinds) {
      kernels ??= await kernelsOf(kind, count).catch((error: unknown) => {
        problem ??= error;
        return undefined;
      });
    }
  }
  if (!kernels) throw problem;
  return {
    kernels,
    models: new ModelSource(new URL(models, import.meta.url)),
    loaded: new Map(),
    enhancements: new Map(),
  };
}

/** Kernels of a kind, checked. */
async function kernelsOf(kind: string, threads: number): Promise<Kernels> {
  const file = `kernels${kind}${threads > 1 ? "-threads" : ""}.wasm`;
  const response = await fetch(new URL(file, import.meta.url));
  if (!response.ok) throw new InputError(`${file}: cannot be fetched (${response.status})`);
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const memory = Kernels.memory(threads > 1);
  const kernels = new Kernels(module, memory, threads);
  selfTest(kernels);
  for (let thread = 1; thread < threads; thread++) {
    const helper = startWorker(new URL(import.meta.url), `vitcodec ${thread}`);
    const request: Request = { kind: "help", start: { module, memory, thread } };
    helper.postMessage(request);
  }
  return kernels;
}

async function* partsOf(source: string | Blob | ArrayBuffer, name: string): AsyncGenerator<Uint8Array> {
  if (source instanceof ArrayBuffer) {
    yield new Uint8Array(source);
    return;
  }
  let stream: ReadableStream<Uint8Array>;
  if (source instanceof Blob) {
    stream = source.stream();
  } else {
    const response = await fetch(source).catch((error: Error) => {
      throw new InputError(`${name}: cannot be fetched (${error.message})`);
    });
    if (!response.ok) throw new InputError(`${name}: cannot be fetched (${response.status} ${response.statusText})`);
    stream = response.body!;
  }
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** What was made before, or is now; if that fails it is tried again next time. */
function kept<T>(made: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  let found = made.get(key);
  if (!found) {
    made.set(key, (found = make()));
    found.catch(() => made.delete(key));
  }
  return found;
}

/** Lets messages in between two steps. */
function breath(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

async function run(request: Extract<Request, { kind: "decode" }>): Promise<void> {
  const { id, source, options, name, previews } = request;
  const parts = new Parts();
  running.set(id, parts);
  try {
    const { kernels, models, loaded, enhancements } = await engine!;
    const host: Host = {
      kernels,
      model: (header) =>
        kept(loaded, header.weights, async () => {
          const { data, config } = await models.weights(header);
          return new Model(data, config, kernels);
        }),
      enhancement: (header) =>
        kept(enhancements, `${header.weights} ${header.enhancement}`, async () => {
          const [file, model] = await Promise.all([models.enhancement(header), host.model(header)]);
          return file && new Enhancement(file.data, file.name, model, kernels);
        }),
      async pause() {
        await breath();
        parts.check();
      },
    };
    if (previews) {
      host.preview = ({ pixels, reduce, info }) =>
        send({ kind: "preview", id, pixels, reduce, info }, [pixels.data.buffer]);
    }
    const decoded = await decode(source === null ? parts : partsOf(source, name), options, host, name);
    send({ kind: "done", id, ...decoded, threads: kernels.threads }, [decoded.pixels.data.buffer]);
  } catch (error) {
    const { name: kind, message } = error as Error;
    const said = error instanceof DecodeError ? message : `${name}: cannot be decoded here (${kind}: ${message})`;
    send({ kind: "error", id, name: kind, message: said });
  } finally {
    running.delete(id);
  }
}

scope.onmessage = ({ data }: MessageEvent<Request>) => {
  if (data.kind === "help") help(data.start as HelperStart);
  else if (data.kind === "start") {
    engine = start(data.models, data.threads);
    engine.catch(() => undefined); // each picture says so
  } else if (data.kind === "decode") void run(data);
  else if (data.kind === "part") running.get(data.id)?.add(data.part);
  else running.get(data.id)?.stop(new InputError(data.error));
};
