// What a page and its worker say to each other.
import type { DecodeOptions, Times } from "./decoder.js";
import type { FileInfo } from "./info.js";
import type { HelperStart } from "./kernels.js";
import type { Pixels } from "./lossy.js";

/** From the page. */
export type Request =
  | { kind: "start"; models: string; threads: number }
  | { kind: "decode"; id: number; source: string | Blob | ArrayBuffer | null; options: DecodeOptions; name: string; previews: boolean }
  /** A part of a source that is null; null: it has ended. */
  | { kind: "part"; id: number; part: Uint8Array | null }
  /** Such a source failed, or the picture is not wanted any more. */
  | { kind: "stop"; id: number; error: string }
  | { kind: "help"; start: HelperStart };

/** From the worker. */
export type Reply =
  | { kind: "preview"; id: number; pixels: Pixels; reduce: number; info: FileInfo }
  | { kind: "done"; id: number; pixels: Pixels; info: FileInfo; notes: string[]; times: Times; memory: number; threads: number }
  | { kind: "error"; id: number; name: string; message: string };
