import { type Chunk, Reader, Truncated, VERSION, chunkSize, damaged, inflate, isCritical } from "./bytes.js";
import { FormatError, LimitError, UnsupportedError } from "./errors.js";
import { LEVELS } from "./geometry.js";
import { type Header, MAX_HEAD, checkLimits, gridOf, parseHeader } from "./header.js";

const MAGIC = [0x89, 0x56, 0x54, 0x43, 0x0d, 0x0a, 0x1a, 0x0a];
/** Stands for a level: the pixels of a lossless file. */
export const PIXELS = LEVELS + 1;
export const CODING_ORDER = [0, 4, 3, 2, 1];
export const PAYLOADS: Readonly<Record<number, string>> = { 0: "TOKL", 4: "TOKD", 3: "TOKC", 2: "TOKB", 1: "TOKA", 5: "PIXL" };
const PAYLOAD_TYPES = new Set(Object.values(PAYLOADS));
const FRONT = ["TILQ", "FILT", "iNAM", "cICP", "ALPH", "MASK"];
const BACK = ["iCCP", "dPIX", "eXIF", "xMPD"];
export const METADATA = [...FRONT, ...BACK];
const TOKENS_ONLY = new Set(["MASK", "TILQ", "FILT"]);
const STORED = new Set(["iNAM", "cICP", "dPIX", "ALPH", "FILT"]);
export const [HEAD, INDEX, DONE] = ["HEAD", "INDX", "DONE"] as const;
export const KNOWN: ReadonlySet<string> = new Set([HEAD, INDEX, DONE, ...PAYLOAD_TYPES, ...METADATA]);
export const MAX_METADATA = 64 << 20;

/** A whole file, or a part of it. */
export interface Contents {
  header: Header;
  /** By the type of their chunk, inflated. */
  metadata: Map<string, Uint8Array>;
  /** By keyOf(level, tile). */
  payloads: Map<number, Uint8Array>;
  /** Keys of payloads that are damaged or cut off; only salvage leaves any. */
  erased: Set<number>;
  /** Whether the file ends within what was not wanted. */
  cut: boolean;
  chunks: Chunk[];
}

export function keyOf(level: number, tile: number): number {
  return tile * 8 + level;
}

export function emptyContents(header: Header): Contents {
  return { header, metadata: new Map(), payloads: new Map(), erased: new Set(), cut: false, chunks: [] };
}

/** The levels of a file's payloads, in coding order. */
export function levelsOf(header: Header): number[] {
  return header.lossless ? [PIXELS] : CODING_ORDER;
}

/** The type of the chunk that ends the metadata before the picture. */
export function beforePayloads(header: Header): string {
  return gridOf(header).count > 1 ? INDEX : PAYLOADS[levelsOf(header)[0]!]!;
}

/** The chunks that may stand before a file's picture, or behind it. */
export function allowedMetadata(header: Header, behind: boolean): string[] {
  return behind ? BACK : METADATA.filter((type) => !header.lossless || !TOKENS_ONLY.has(type));
}

/** Signature, version and header. */
export function readHead(reader: Reader): [Header, Chunk] {
  const { name } = reader;
  const magic = reader.read(Math.min(MAGIC.length, reader.remaining));
  const agree = magic.findIndex((byte, k) => byte !== MAGIC[k]);
  if (magic.length < MAGIC.length || agree >= 0) {
    if (agree < 0) throw reader.truncated();
    if (agree >= 4) throw reader.damaged("its line ends were changed, as by a transfer in text mode");
    throw new FormatError(`${name}: not a .vitc file; only files that vitcodec has encoded can be decoded`);
  }
  const version = reader.read(1)[0]!;
  if (version > VERSION) {
    throw new UnsupportedError(`${name}: needs vitcodec >= ${version}.0 for format version ${version}`);
  }
  const chunk = reader.chunk();
  if (chunk.type !== HEAD || chunk.length > MAX_HEAD) throw reader.damaged("it does not begin with a header");
  const header = parseHeader(new Reader(reader.payload(chunk), `${name}: header`), version);
  checkLimits(header, name);
  return [header, chunk];
}

function checkMetadata(size: number, name: string): void {
  if (size > MAX_METADATA) {
    throw new LimitError(`${name}: more than ${MAX_METADATA >> 20} MiB of profile, EXIF, XMP and alpha`);
  }
}

/** The metadata in a chunk's payload, at most `limit` bytes. */
export async function readMetadata(chunk: Chunk, payload: Uint8Array, limit: number, name: string): Promise<Uint8Array> {
  if (STORED.has(chunk.type)) {
    if (payload.length > limit) checkMetadata(MAX_METADATA + 1, name);
    return payload;
  }
  let inflated: Uint8Array | null;
  try {
    inflated = await inflate(payload, limit);
  } catch {
    throw damaged(name, `chunk ${chunk.type} at byte ${chunk.offset} is not one whole zlib stream`);
  }
  if (!inflated) checkMetadata(MAX_METADATA + 1, name);
  return inflated!;
}

/** The sizes of all of a file's payloads, in their order. */
export function readIndex(reader: Reader, chunk: Chunk, header: Header): number[] {
  const count = levelsOf(header).length * gridOf(header).count;
  if (chunk.length < count || chunk.length > 5 * count) {
    throw reader.damaged(`its index of ${chunk.length} bytes cannot hold ${count} sizes`);
  }
  const fields = new Reader(reader.payload(chunk), `${reader.name}: index`);
  const sizes = Array.from({ length: count }, () => fields.varint());
  if (fields.remaining) throw fields.damaged("it is too long");
  return sizes;
}

/**
 * A file that is read chunk by chunk, as far as it has arrived. `advance` goes on after more has come.
 *
 * finest: 1 to 5; detail levels below it are neither read nor checked. tiles: which ones to read, if not all.
 */
export class FileReader {
  contents: Contents | undefined;
  private sizes: number[] = [];
  private first: Chunk | undefined;
  private stage: "head" | "front" | "payloads" | "skip" | "back" | "end" = "head";
  private payload = 0;
  private spent = 0;
  private inflated = 0;
  private count = 0;
  private selection: { finest: number; tiles?: ReadonlySet<number> | undefined } = { finest: 1 };

  constructor(
    readonly reader: Reader,
    /** What is read of a file, when its header is known. */
    private readonly select: (header: Header) => { finest: number; tiles?: ReadonlySet<number> } = () => ({ finest: 1 }),
  ) {}

  get isDone(): boolean {
    return this.stage === "end";
  }

  /** Reads all that is there. whole: whether nothing will follow; then a file that ends early is refused. */
  async advance(whole: boolean): Promise<void> {
    while (this.stage !== "end") {
      const { position } = this.reader;
      const { first } = this;
      try {
        await this.step();
      } catch (error) {
        if (!(error instanceof Truncated)) throw error;
        if (whole) {
          if (this.stage !== "skip" && !(this.stage === "back" && this.skipped)) throw error;
          this.contents!.cut = true;
          this.stage = "end";
          return;
        }
        this.reader.position = position;
        this.first = first;
        return;
      }
    }
  }

  /** Whether nothing of the file is left out, so that its end is known. */
  get readsAll(): boolean {
    return !this.skipped || this.contents!.header.more;
  }

  private get order(): number {
    return levelsOf(this.contents!.header).length * this.count;
  }

  private get wanted(): number {
    const { header } = this.contents!;
    return levelsOf(header).filter((level) => level === 0 || level >= this.selection.finest).length * this.count;
  }

  private get skipped(): boolean {
    return this.wanted < this.order;
  }

  private async step(): Promise<void> {
    if (this.stage === "head") {
      const [header, chunk] = readHead(this.reader);
      this.contents = emptyContents(header);
      this.contents.chunks.push(chunk);
      this.count = gridOf(header).count;
      this.selection = this.select(header);
      this.stage = "front";
    } else if (this.stage === "front") {
      const { header } = this.contents!;
      const last = beforePayloads(header);
      const chunk = await this.metadata(last, false);
      if (!chunk) return;
      if (last === INDEX) {
        this.sizes = readIndex(this.reader, chunk, header);
        this.contents!.chunks.push(chunk);
      } else {
        this.first = chunk;
      }
      this.stage = "payloads";
    } else if (this.stage === "payloads") {
      this.readPayload();
    } else if (this.stage === "skip") {
      this.skip();
    } else {
      await this.back();
    }
  }

  /** Reads one chunk of metadata; gives the chunk of type `last` when it comes, its payload not read. */
  private async metadata(last: string, behind: boolean): Promise<Chunk | null> {
    const { reader } = this;
    const { header, metadata, chunks } = this.contents!;
    const chunk = reader.chunk();
    if (chunk.type === last) return chunk;
    const isKnown = METADATA.includes(chunk.type);
    const misplaced = isKnown && (metadata.has(chunk.type) || !allowedMetadata(header, behind).includes(chunk.type));
    if (misplaced || (!isKnown && isCritical(chunk.type))) reader.refuse(chunk, KNOWN);
    checkMetadata(this.spent + chunk.length, reader.name);
    const payload = reader.payload(chunk);
    this.spent += chunk.length;
    if (isKnown) {
      const content = await readMetadata(chunk, payload, MAX_METADATA - this.inflated, reader.name);
      metadata.set(chunk.type, content);
      this.inflated += content.length;
    }
    chunks.push(chunk);
    return null;
  }

  private readPayload(): void {
    const { reader, contents } = this;
    const { header, payloads, chunks } = contents!;
    if (this.payload === this.wanted) {
      this.stage = this.wanted === this.order ? "back" : header.more ? "skip" : "end";
      return;
    }
    const level = levelsOf(header)[Math.floor(this.payload / this.count)]!;
    const tile = this.payload % this.count;
    const size = this.sizes[this.payload];
    const { tiles } = this.selection;
    if (tiles && !tiles.has(tile) && size !== undefined) {
      reader.skip(chunkSize(size));
      this.payload++;
      return;
    }
    const chunk = this.first ?? reader.chunk();
    if (chunk.type !== PAYLOADS[level]) reader.refuse(chunk, KNOWN);
    if (size !== undefined && size !== chunk.length) {
      throw reader.damaged(
        `chunk ${chunk.type} at byte ${chunk.offset} has ${chunk.length} bytes, the index says ${size}`,
      );
    }
    payloads.set(keyOf(level, tile), reader.payload(chunk));
    this.first = undefined;
    chunks.push(chunk);
    this.payload++;
  }

  /** Goes past a payload that is not wanted. */
  private skip(): void {
    if (this.payload === this.order) {
      this.stage = "back";
      return;
    }
    const size = this.sizes[this.payload];
    if (size !== undefined) {
      this.reader.skip(chunkSize(size));
    } else {
      const chunk = this.reader.chunk();
      const level = levelsOf(this.contents!.header)[Math.floor(this.payload / this.count)]!;
      if (chunk.type !== PAYLOADS[level]) this.reader.refuse(chunk, KNOWN);
      this.reader.skip(chunk.offset + chunk.size - this.reader.position);
    }
    this.payload++;
  }

  private async back(): Promise<void> {
    const { reader, contents } = this;
    if (contents!.header.more) {
      const done = await this.metadata(DONE, true);
      if (!done) return;
      if (done.length) throw reader.damaged(`chunk ${DONE} is not empty`);
      reader.payload(done);
      contents!.chunks.push(done);
    }
    if (reader.remaining) throw reader.damaged(`${reader.remaining} bytes too many at its end`);
    this.stage = "end";
  }
}
