// What a file holds.
import type { Chunk } from "./bytes.js";
import { type Contents, PAYLOADS, levelsOf } from "./container.js";
import { gridOf } from "./header.js";
import { type Colours, coloursOf } from "./profiles.js";

/** Bytes of a level's payloads, all tiles together. Level 0 is the low band, 5 the pixels of a lossless file. */
export interface LevelBytes {
  level: number;
  bytes: number;
}

/** What a file holds, as far as it was read. */
export interface FileInfo {
  width: number;
  height: number;
  gray: boolean;
  lossless: boolean;
  /** 1 to 100; 0 in a lossless file. */
  quality: number;
  /** The lowest and highest quality of tiles, where they have their own. */
  tileQualities: [number, number] | null;
  model: string;
  weights: string;
  tile: number;
  tiles: number;
  alpha: boolean;
  colours: Colours;
  /** Dots per inch across and down, if they are stated. */
  dpi: [number, number] | null;
  /** Bytes of the file. */
  bytes: number;
  levelBytes: LevelBytes[];
  /** Bytes of metadata, by the type of their chunk. */
  metadata: Record<string, number>;
  chunks: Chunk[];
}

/** bytes: of the file, as far as it has arrived. */
export function infoOf(contents: Contents, bytes: number): FileInfo {
  const { header, metadata, chunks } = contents;
  const { width, height, gray, lossless, quality, model, weights, tile } = header;
  const levelBytes = levelsOf(header).map((level) => ({
    level,
    bytes: chunks.reduce((sum, chunk) => sum + (chunk.type === PAYLOADS[level] ? chunk.length : 0), 0),
  }));
  const own = metadata.get("TILQ");
  return {
    ...{ width, height, gray, lossless, quality, model, weights, tile },
    tiles: gridOf(header).count,
    tileQualities: own?.length ? [Math.min(...own), Math.max(...own)] : null,
    alpha: metadata.has("ALPH"),
    colours: coloursOf(metadata),
    dpi: dpiOf(metadata.get("dPIX")),
    bytes,
    levelBytes,
    metadata: Object.fromEntries([...metadata].map(([type, content]) => [type, content.length])),
    chunks,
  };
}

function dpiOf(packed: Uint8Array | undefined): [number, number] | null {
  if (packed?.length !== 8) return null;
  const view = new DataView(packed.buffer, packed.byteOffset);
  return [view.getFloat32(0, true), view.getFloat32(4, true)];
}
