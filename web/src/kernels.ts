import { type Address, Heap } from "./heap.js";

/** A kernel that can be shared among threads: it works on a part of what there is, as a descriptor says. */
type Kernel =
  | "runAdd"
  | "runBlockMap"
  | "runChannelwise"
  | "runClamp"
  | "runCoefficients"
  | "runColours"
  | "runColumns"
  | "runContrast"
  | "runContrastMap"
  | "runConvolve"
  | "runCopy"
  | "runCorrect"
  | "runDense"
  | "runDepthToSpace"
  | "runDifference"
  | "runEnhance"
  | "runFilter"
  | "runGated"
  | "runInherit"
  | "runInputs"
  | "runLevels"
  | "runLines"
  | "runMore"
  | "runPixelInputs"
  | "runPlanar"
  | "runProduct"
  | "runPut"
  | "runRows"
  | "runScatter"
  | "runSpaceToDepth"
  | "runStillEmpty"
  | "runValueMap";

/** What assembly/index.ts exports. */
type Exports = Record<Kernel, (start: number, end: number, descriptor: Address) => void> & {
  useScratch(at: Address): void;
  isRelaxed(): number;
  startDecoder(decoder: Address, data: Address, end: Address): void;
  isFinished(decoder: Address): number;
  makeTable(frequencies: Address, count: number, table: Address): void;
  readOffsets(decoder: Address, table: Address, channels: number, offsets: Address): void;
  readFlags(descriptor: Address): void;
  readValues(descriptor: Address): void;
};

const DESCRIPTOR = 256;
const DESCRIPTOR_WORDS = 64;
const SCRATCH = 1 << 20;
const START = 1024; // of the threads' scratch memory
const MAX_PAGES = 65536;
const PARTS = 4; // that each thread finds on average
const UNIT = 32; // kernels work on so many rows at a time, or a multiple of them

// Words of the control block, at CONTROL
export const CONTROL = 64;
export const [JOB, KERNEL, COUNT, GRAIN, NEXT, ACTIVE] = [0, 1, 2, 3, 4, 5];
const CLOSED = 1 << 30; // of NEXT: no job is open

/** What a helper thread needs. */
export interface HelperStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  thread: number;
}

function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory, thread: number): Exports {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const kernels = exports as unknown as Exports;
  kernels.useScratch(START + thread * SCRATCH);
  return kernels;
}

function names(exports: Exports): Kernel[] {
  return Object.keys(exports).filter((name) => name.startsWith("run")) as Kernel[];
}

function work(exports: Exports, kernel: Kernel, control: Int32Array): void {
  const count = control[COUNT]!;
  const grain = control[GRAIN]!;
  for (;;) {
    const start = Atomics.add(control, NEXT!, grain);
    if (start >= count) return;
    exports[kernel](start, Math.min(start + grain, count), DESCRIPTOR);
  }
}

/** What a helper thread does until it is ended: it waits for jobs and takes parts of them. */
export function help({ module, memory, thread }: HelperStart): never {
  const exports = instantiate(module, memory, thread);
  const kernels = names(exports);
  const control = new Int32Array(memory.buffer, CONTROL, 8);
  let seen = 0;
  for (;;) {
    Atomics.wait(control, JOB!, seen);
    seen = Atomics.load(control, JOB!);
    Atomics.add(control, ACTIVE!, 1);
    // a job stays open, and its words stay, as long as a thread is active that found it open
    if (Atomics.load(control, NEXT!) < CLOSED) work(exports, kernels[control[KERNEL]!]!, control);
    Atomics.sub(control, ACTIVE!, 1);
    Atomics.notify(control, ACTIVE!);
  }
}

/** The WebAssembly kernels, on one or more threads, and their memory. */
export class Kernels {
  readonly heap: Heap;
  readonly exports: Exports;
  private readonly order: Map<Kernel, number>;
  private readonly control: Int32Array | undefined;

  constructor(
    readonly module: WebAssembly.Module,
    readonly memory: WebAssembly.Memory,
    readonly threads: number,
  ) {
    const start = START + threads * SCRATCH;
    const missing = Math.ceil((start - memory.buffer.byteLength) / (1 << 16));
    if (missing > 0) memory.grow(missing);
    this.exports = instantiate(module, memory, 0);
    this.order = new Map(names(this.exports).map((name, k) => [name, k]));
    this.heap = new Heap(memory, start);
    if (threads > 1) {
      this.control = new Int32Array(memory.buffer, CONTROL, 8);
      this.control[NEXT!] = CLOSED;
    }
  }

  /** shared: whether other threads can work on the same memory. */
  static memory(shared: boolean): WebAssembly.Memory {
    return new WebAssembly.Memory(shared ? { initial: 1, maximum: MAX_PAGES, shared } : { initial: 1 });
  }

  /** Runs a kernel on 0 to count. least: what a thread takes at least. */
  run(kernel: Kernel, count: number, words: readonly number[], least = 1): void {
    if (count <= 0) return;
    this.heap.words(DESCRIPTOR, DESCRIPTOR_WORDS).set(words);
    const threads = Math.min(this.threads, Math.floor(count / least));
    if (threads < 2) {
      this.exports[kernel](0, count, DESCRIPTOR);
      return;
    }
    const control = this.control!;
    control[KERNEL!] = this.order.get(kernel)!;
    control[COUNT!] = count;
    const grain = Math.ceil(count / (threads * PARTS));
    control[GRAIN!] = grain > UNIT ? Math.ceil(grain / UNIT) * UNIT : grain;
    Atomics.store(control, NEXT!, 0);
    Atomics.add(control, JOB!, 1);
    Atomics.notify(control, JOB!, threads - 1);
    work(this.exports, kernel, control);
    Atomics.store(control, NEXT!, CLOSED);
    for (;;) {
      const active = Atomics.load(control, ACTIVE!);
      if (!active) return;
      Atomics.wait(control, ACTIVE!, active, 1);
    }
  }

  /** Runs a function on a descriptor, in this thread. */
  call(name: "readFlags" | "readValues", words: readonly number[]): void {
    this.heap.words(DESCRIPTOR, DESCRIPTOR_WORDS).set(words);
    this.exports[name](DESCRIPTOR);
  }
}
