// Damaged files: finding what is intact. The header has to be; of the rest every chunk whose checksum is right is taken.
import { type Chunk, Reader, chunkSize, isCritical } from "./bytes.js";
import {
  type Contents,
  DONE,
  INDEX,
  KNOWN,
  MAX_METADATA,
  METADATA,
  PAYLOADS,
  PIXELS,
  allowedMetadata,
  beforePayloads,
  emptyContents,
  keyOf,
  levelsOf,
  readHead,
  readIndex,
  readMetadata,
} from "./container.js";
import { FormatError, LimitError } from "./errors.js";
import { gridOf } from "./header.js";

// times the file's size that checksums are computed over at most, so that a hostile file cannot make the search endless
const SEARCH = 16;
const PAYLOAD_TYPES = new Set(Object.values(PAYLOADS));

type Found = [Chunk, Uint8Array];

/** What follows the header, looked at from anywhere. Offsets count from there. */
class ChunkSearch {
  private budget: number;

  constructor(
    readonly data: Uint8Array,
    readonly name: string,
  ) {
    this.budget = SEARCH * data.length;
  }

  /** The chunk that seems to begin at a byte, if there is room for it. */
  frame(start: number): Chunk | null {
    if (!(start >= 0 && start < this.data.length)) return null;
    const reader = new Reader(this.data.subarray(start, start + 9), this.name);
    try {
      const type = String.fromCharCode(...reader.read(4));
      const length = reader.varint();
      const size = chunkSize(length);
      if (!/^[A-Za-z]{4}$/.test(type) || start + size > this.data.length) return null;
      return { type, offset: start, length, size };
    } catch {
      return null;
    }
  }

  reader(chunk: Chunk): Reader {
    return new Reader(this.data.subarray(chunk.offset, chunk.offset + chunk.size), this.name);
  }

  /** The chunk's payload, if its checksum is right. */
  payload(chunk: Chunk): Uint8Array | null {
    this.budget -= chunk.size;
    if (this.budget < 0) return null;
    const reader = this.reader(chunk);
    try {
      return reader.payload(reader.chunk());
    } catch {
      return null;
    }
  }

  /** Every intact chunk of a type from a byte on. */
  *all(type: string, start: number): Generator<Found> {
    const [a, b, c, d] = Array.from(type, (letter) => letter.charCodeAt(0));
    const { data } = this;
    while (this.budget > 0) {
      let at = data.indexOf(a!, Math.max(start, 0));
      while (at >= 0 && !(data[at + 1] === b && data[at + 2] === c && data[at + 3] === d)) at = data.indexOf(a!, at + 1);
      if (at < 0) return;
      const chunk = this.frame(at);
      const payload = chunk && this.payload(chunk);
      if (chunk && payload) {
        yield [chunk, payload];
        start = at + chunk.size;
      } else {
        start = at + 1;
      }
    }
  }

  first(type: string, start: number): Found | undefined {
    for (const found of this.all(type, start)) return found;
    return undefined;
  }
}

export interface Salvaged {
  contents: Contents;
  /** What was not received, for people; empty if the file is whole. */
  damage: string[];
}

/** Reads what is intact of a file. finest: as for FileReader. */
export async function salvage(data: Uint8Array, finest: number, name: string): Promise<Salvaged> {
  const reader = new Reader(data, name);
  const [header] = readHead(reader);
  const found: Salvaged = { contents: emptyContents(header), damage: [] };
  const search = new ChunkSearch(reader.read(reader.remaining), name);
  const [start, sizes] = await readFront(search, found);
  if (found.damage.includes(damagedChunk("MASK"))) {
    throw new FormatError(
      `${name}: damaged: nothing can be salvaged, as the mask of erased tokens is; get a complete and undamaged copy`,
    );
  }
  const levels = levelsOf(header);
  const tiles = gridOf(header).count;
  const { intact, end } = sizes.length ? byIndex(search, start, levels, tiles, sizes) : bySearch(search, start, levels, tiles);
  for (const level of levels) {
    if (level !== 0 && level < finest) continue;
    for (let tile = 0; tile < tiles; tile++) {
      const payload = intact.get(keyOf(level, tile));
      if (payload) found.contents.payloads.set(keyOf(level, tile), payload);
      else found.contents.erased.add(keyOf(level, tile));
    }
  }
  if (![...found.contents.payloads.keys()].some((key) => key % 8 === levels[0])) {
    const what = header.lossless ? "pixels are" : "low band is";
    throw new FormatError(
      `${name}: damaged: nothing can be salvaged, as no tile's ${what} intact; get a complete and undamaged copy`,
    );
  }
  if (found.contents.erased.size) found.damage.push(describe(found.contents));
  if (header.more) await readBack(search, start, end, found);
  else if (end < search.data.length && intact.size === levels.length * tiles) found.damage.push(superfluous(search, end));
  return found;
}

/** Where the payloads begin, and the index; empty if there is one tile only or it is lost. */
async function readFront(search: ChunkSearch, found: Salvaged): Promise<[number, number[]]> {
  const { header } = found.contents;
  const last = beforePayloads(header);
  const allowed = allowedMetadata(header, false);
  let position = 0;
  let suspect = -1; // where the first damaged chunk begins
  let chunk: Chunk | null;
  while ((chunk = search.frame(position)) && !PAYLOAD_TYPES.has(chunk.type)) {
    const payload = search.payload(chunk);
    const end = position + chunk.size;
    if (!payload) {
      found.damage.push(damagedChunk(chunk.type));
      if (suspect < 0) suspect = position;
      if (!search.frame(end)) break; // its length is damaged, too
    } else if (chunk.type === last) {
      if (suspect >= 0) await searchMetadata(search, suspect, position, found, allowed);
      return [end, index(search, chunk, found)];
    } else {
      await keep(search, chunk, payload, found, allowed);
    }
    position = end;
  }
  if (chunk && suspect < 0) {
    if (last === INDEX) found.damage.push(`chunk ${INDEX} is missing`);
    return [position, []];
  }
  // a length may be wrong, so that something was passed over: go on from the next chunk that can only be the right one
  if (!found.damage.length) found.damage.push("what stands before the picture is damaged");
  let sizes: number[] = [];
  if (suspect < 0) suspect = position;
  const right = search.first(last, suspect);
  if (right) {
    position = right[0].offset;
    if (last === INDEX) {
      position += right[0].size;
      sizes = index(search, right[0], found);
    }
  } else {
    const first = search.first(PAYLOADS[levelsOf(header)[0]!]!, suspect);
    position = first && position <= first[0].offset ? position : suspect;
  }
  await searchMetadata(search, suspect, position, found, allowed);
  return [position, sizes];
}

/** Reads the metadata behind the picture, and says what is damaged. */
async function readBack(search: ChunkSearch, start: number, position: number, found: Salvaged): Promise<void> {
  const allowed = allowedMetadata(found.contents.header, true);
  let ended = false;
  let chunk: Chunk | null;
  while (!ended && (chunk = search.frame(position))) {
    const payload = search.payload(chunk);
    position += chunk.size;
    if (!payload) {
      if (!PAYLOAD_TYPES.has(chunk.type)) found.damage.push(damagedChunk(chunk.type)); // of those it was said before
    } else if (chunk.type !== DONE) {
      await keep(search, chunk, payload, found, allowed);
    } else {
      if (payload.length) found.damage.push(`chunk ${DONE} is not empty`);
      if (position < search.data.length) found.damage.push(superfluous(search, position));
      ended = true;
    }
  }
  if (!ended) found.damage.push("damaged or cut off after the picture: metadata may be missing");
  if (found.damage.length) await searchMetadata(search, start, search.data.length, found, allowed);
}

/** Keeps the metadata that begin between two places; a damaged length may have passed over them. */
async function searchMetadata(
  search: ChunkSearch,
  start: number,
  end: number,
  found: Salvaged,
  allowed: readonly string[],
): Promise<void> {
  for (const type of METADATA) {
    if (!allowed.includes(type) || found.contents.metadata.has(type)) continue;
    const intact = search.first(type, start);
    if (intact && intact[0].offset < end) await keep(search, ...intact, found, allowed);
  }
}

function index(search: ChunkSearch, chunk: Chunk, found: Salvaged): number[] {
  const reader = search.reader(chunk);
  try {
    return readIndex(reader, reader.chunk(), found.contents.header);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    found.damage.push(damagedChunk(INDEX)); // a right checksum and wrong contents: not by accident
    return [];
  }
}

async function keep(
  search: ChunkSearch,
  chunk: Chunk,
  payload: Uint8Array,
  found: Salvaged,
  allowed: readonly string[],
): Promise<void> {
  const { metadata } = found.contents;
  const { type } = chunk;
  if (!METADATA.includes(type) || metadata.has(type) || !allowed.includes(type)) {
    if (KNOWN.has(type)) {
      found.damage.push(`chunk ${type} at the wrong place: left out`);
    } else if (isCritical(type)) {
      const reader = search.reader(chunk);
      reader.refuse(reader.chunk(), KNOWN);
    }
    return;
  }
  try {
    const limit = MAX_METADATA - [...metadata.values()].reduce((sum, content) => sum + content.length, 0);
    metadata.set(type, await readMetadata(chunk, payload, limit, search.name));
  } catch (error) {
    const large = `chunk ${type} is beyond the limit of metadata: left out`;
    const what = error instanceof LimitError ? large : damagedChunk(type);
    if (!found.damage.includes(what)) found.damage.push(what);
  }
}

interface Intact {
  intact: Map<number, Uint8Array>;
  /** Where the last one ends. */
  end: number;
}

function byIndex(search: ChunkSearch, start: number, levels: number[], tiles: number, sizes: number[]): Intact {
  const intact = new Map<number, Uint8Array>();
  sizes.forEach((size, k) => {
    const level = levels[Math.floor(k / tiles)]!;
    const chunk = search.frame(start);
    if (chunk && chunk.type === PAYLOADS[level] && chunk.length === size) {
      const payload = search.payload(chunk);
      if (payload) intact.set(keyOf(level, k % tiles), payload);
    }
    start += chunkSize(size);
  });
  return { intact, end: start };
}

/** Without an index: a payload's number is known if the level is complete, or nothing is missing before it. */
function bySearch(search: ChunkSearch, start: number, levels: number[], tiles: number): Intact {
  const intact = new Map<number, Uint8Array>();
  for (const level of levels) {
    const chunks = [...search.all(PAYLOADS[level]!, start)];
    const whole = chunks.length === tiles;
    for (const [tile, [chunk, payload]] of chunks.slice(0, tiles).entries()) {
      if (chunk.offset !== start && !whole) break;
      intact.set(keyOf(level, tile), payload);
      start = chunk.offset + chunk.size;
    }
    const last = chunks.at(-1);
    if (last) start = Math.max(start, last[0].offset + last[0].size);
  }
  return { intact, end: start };
}

function superfluous(search: ChunkSearch, end: number): string {
  return `${search.data.length - end} bytes too many at its end`;
}

function damagedChunk(type: string): string {
  return `chunk ${type} is damaged`;
}

function describe({ header, erased }: Contents): string {
  const tiles = gridOf(header).count;
  const parts: string[] = [];
  for (const level of levelsOf(header)) {
    const count = [...erased].filter((key) => key % 8 === level).length;
    if (!count) continue;
    const what = level === 0 ? "the low band" : level < PIXELS ? `the details of level ${level}` : "pixels";
    parts.push(tiles === 1 ? what : `${what} in ${count} of ${tiles} tiles`);
  }
  return `erased: ${parts.join(", ")}`;
}
