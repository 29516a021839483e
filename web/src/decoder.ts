// One file from its first bytes to its pixels, in whatever thread this runs.
import { Reader, joined } from "./bytes.js";
import { type Contents, FileReader } from "./container.js";
import type { Enhancement } from "./enhancement.js";
import { LimitError, UnsupportedError, UsageError } from "./errors.js";
import { LEVELS, type Region, clipped } from "./geometry.js";
import type { Address } from "./heap.js";
import { type Header, gridOf } from "./header.js";
import { type FileInfo, infoOf } from "./info.js";
import type { Kernels } from "./kernels.js";
import { type Pixels, TokenDecoder, planOf } from "./lossy.js";
import type { Model } from "./model.js";
import { addAlpha, losslessPixels } from "./planes.js";
import { salvage } from "./salvage.js";

/** How a file is decoded. */
export interface DecodeOptions {
  /** How often width and height are halved, 0 to 4; finer levels are not read. */
  reduce?: number;
  /** The part that is decoded, in pixels of the whole picture. */
  region?: Region;
  /** Decode what is intact of a damaged file; `notes` say what is not. */
  salvage?: boolean;
  /** Larger pictures are refused: width x height. */
  maxPixels?: number;
}

/** Seconds that were spent. */
export interface Times {
  /** Until the weights were there. */
  weights: number;
  tokens: number;
  pixels: number;
}

/** A preview of a picture that is being decoded. */
export interface Preview {
  pixels: Pixels;
  /** How often it is halved. */
  reduce: number;
  info: FileInfo;
}

/** A decoded picture. */
export interface Decoded {
  pixels: Pixels;
  info: FileInfo;
  /** What to tell people, such as what was damaged. */
  notes: string[];
  times: Times;
  /** The most bytes of WebAssembly memory that were in use. */
  memory: number;
}

/** What decoding needs of its surroundings. */
export interface Host {
  kernels: Kernels;
  /** The model of a file. */
  model(header: Header): Promise<Model>;
  /** The enhancement of a file's pixels; null if its model has none of that number here. */
  enhancement(header: Header): Promise<Enhancement | null>;
  /** Called with coarser pictures while finer levels are decoded or have not arrived. */
  preview?(preview: Preview): void;
  /** Called before each step; may wait, or throw to stop. */
  pause?(): Promise<void>;
}

const MAX_PIXELS = 2 ** 26; // unless options say otherwise
const FIRST_CAPACITY = 1 << 16;

const now = () => performance.now() / 1000;

function checkOptions({ reduce = 0, region }: DecodeOptions): void {
  if (!Number.isInteger(reduce) || reduce < 0 || reduce > LEVELS) {
    throw new UsageError(`reduce is ${reduce}; give a whole number from 0 to ${LEVELS}`);
  }
  if (region && ![region.x, region.y, region.width, region.height].every(Number.isInteger)) {
    throw new UsageError("region has numbers that are not whole; give x, y, width and height in pixels");
  }
}

/** Bytes that arrive one after another, in one growing array. */
class Arriving {
  private data = new Uint8Array(FIRST_CAPACITY);
  length = 0;

  add(part: Uint8Array): void {
    if (this.length + part.length > this.data.length) {
      const larger = new Uint8Array(Math.max(2 * this.data.length, this.length + part.length));
      larger.set(this.bytes);
      this.data = larger;
    }
    this.data.set(part, this.length);
    this.length += part.length;
  }

  get bytes(): Uint8Array {
    return this.data.subarray(0, this.length);
  }
}

class Session {
  private tokens: TokenDecoder | undefined;
  private model: Promise<Model> | undefined;
  private loaded: Model | undefined;
  private enhancement: Promise<Enhancement> | undefined; // of a file that names one
  private shown = LEVELS + 1; // the finest reduction of which a preview was given
  private readonly start = now();
  private readonly blocks = new Set<Address>(); // of the kernels' memory
  readonly times: Times = { weights: 0, tokens: 0, pixels: 0 };

  constructor(
    private readonly host: Host,
    private readonly options: DecodeOptions,
    private readonly name: string,
  ) {}

  check(header: Header): Region {
    const { width, height } = header;
    const most = this.options.maxPixels ?? MAX_PIXELS;
    if (width * height > most) {
      throw new LimitError(
        `${this.name}: ${width}x${height} is more than ${most.toLocaleString("en")} pixels; raise maxPixels if you trust it`,
      );
    }
    return clipped(this.options.region ?? { x: 0, y: 0, width, height }, width, height);
  }

  /** What is read of a file. Begins to load its model. */
  select(header: Header): { finest: number; tiles?: ReadonlySet<number> } {
    const region = this.check(header);
    const { reduce = 0 } = this.options;
    if (header.lossless) {
      const grid = gridOf(header);
      return this.options.region ? { finest: 1, tiles: new Set(grid.under(grid.touched(region))) } : { finest: 1 };
    }
    this.load(header);
    if (!this.options.region) return { finest: reduce + 1 };
    return { finest: reduce + 1, tiles: new Set(planOf(header, region, reduce, FURTHEST).tiles) };
  }

  load(header: Header): void {
    const loaded = () => (this.times.weights = now() - this.start);
    this.model ??= this.host.model(header).then((model) => {
      loaded();
      return (this.loaded = model);
    });
    this.model.catch(() => undefined); // it is waited for later
    if (!header.enhancement || this.options.reduce) return;
    this.enhancement ??= this.host.enhancement(header).then((found) => {
      loaded();
      if (found) return found;
      throw new UnsupportedError(
        `${this.name}: its pixels need enhancement ${header.enhancement} of model '${header.model}', ` +
          "which is not among those that a browser can run here; use a newer decoder",
      );
    });
    this.enhancement.catch(() => undefined);
  }

  /** Previews of what has arrived, when nothing more will. */
  async showRest(contents: Contents, bytes: number): Promise<void> {
    if (contents.header.lossless || !this.host.preview) return;
    await this.model!;
    await this.advance(contents, bytes, false);
  }

  /** Decodes what is there. whole: whether all is. */
  async advance(contents: Contents, bytes: number, whole: boolean): Promise<void> {
    if (contents.header.lossless) return;
    const model = whole ? await this.model! : this.loaded;
    if (whole) await this.enhancement;
    const isReady = whole || contents.payloads.size > 0; // then all that stands before the picture is there
    if (!model || !isReady) return;
    const region = this.check(contents.header);
    const { reduce = 0 } = this.options;
    const { preview, pause, kernels } = this.host;
    const plan = planOf(contents.header, region, reduce, model.reach);
    const run = <T>(work: () => T) => kernels.heap.within(this.blocks, work);
    const decoder = (this.tokens ??= run(() => new TokenDecoder(kernels, model, contents, plan)));
    for (;;) {
      await pause?.();
      const start = now();
      const more = run(() => decoder.advance());
      this.times.tokens += now() - start;
      const { reached } = decoder;
      if (preview && reached < this.shown && reached > reduce && !contents.erased.size) {
        this.shown = reached;
        const pixels = run(() => decoder.preview(reached));
        await addAlpha(contents, pixels, region, reached);
        preview({ pixels, reduce: reached, info: infoOf(contents, bytes) });
      }
      if (!more) return;
    }
  }

  async finish(contents: Contents, bytes: number): Promise<Decoded> {
    const { header } = contents;
    const { reduce = 0 } = this.options;
    const region = this.check(header);
    await this.host.pause?.();
    const enhancement = (await this.enhancement) ?? null;
    const start = now();
    const { heap } = this.host.kernels;
    const pixels = header.lossless
      ? await losslessPixels(contents, region, reduce)
      : heap.within(this.blocks, () => this.tokens!.pixels(enhancement));
    await addAlpha(contents, pixels, region, reduce);
    this.times.pixels = now() - start;
    const info = infoOf(contents, bytes);
    const notes: string[] = [];
    if (contents.cut) notes.push("the file ends early: its profile, EXIF and XMP are not known");
    if (!info.colours.isExact && !header.gray) notes.push(`its colours are in ${info.colours.name}, shown as if in sRGB`);
    return { pixels, info, notes, times: this.times, memory: this.host.kernels.heap.peak };
  }

  release(): void {
    this.host.kernels.heap.release(...this.blocks);
  }
}

// Sites that the middle of any model may see: which tiles are read is decided before the model is there
const FURTHEST = 64;

/** Decodes a file. source: its bytes as they arrive. name: how messages call it. */
export async function decode(
  source: AsyncIterable<Uint8Array>,
  options: DecodeOptions,
  host: Host,
  name = "the file",
): Promise<Decoded> {
  checkOptions(options);
  const session = new Session(host, options, name);
  try {
    return options.salvage ? await rescue(source, options, session, name) : await read(source, session, name);
  } finally {
    session.release();
  }
}

async function read(source: AsyncIterable<Uint8Array>, session: Session, name: string): Promise<Decoded> {
  const arriving = new Arriving();
  const reader = new Reader(arriving.bytes, name);
  const file = new FileReader(reader, (header) => session.select(header));
  for await (const part of source) {
    arriving.add(part);
    reader.data = arriving.bytes;
    reader.end = arriving.length;
    if (file.isDone) continue; // too many bytes are counted at the end
    await file.advance(false);
    if (file.contents) await session.advance(file.contents, arriving.length, false);
  }
  if (file.isDone && reader.remaining && !file.contents!.cut && file.readsAll) {
    throw reader.damaged(`${reader.remaining} bytes too many at its end`);
  }
  try {
    await file.advance(true);
  } catch (error) {
    // what has arrived is shown before it is said that the rest is missing
    if (file.contents) await session.showRest(file.contents, arriving.length).catch(() => undefined);
    throw error;
  }
  const contents = file.contents!;
  await session.advance(contents, arriving.length, true);
  return session.finish(contents, arriving.length);
}

async function rescue(
  source: AsyncIterable<Uint8Array>,
  options: DecodeOptions,
  session: Session,
  name: string,
): Promise<Decoded> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  const data = joined(parts);
  const { contents, damage } = await salvage(data, (options.reduce ?? 0) + 1, name);
  session.check(contents.header);
  if (!contents.header.lossless) session.load(contents.header);
  await session.advance(contents, data.length, true);
  const decoded = await session.finish(contents, data.length);
  return { ...decoded, notes: [...damage, ...decoded.notes] };
}
