// The synthesis, a network of integers in three parts, on maps of an area (docs/format.md, "Networks").
import { type Area } from "./geometry.js";
import type { Address } from "./heap.js";
import type { Kernels } from "./kernels.js";
import type { Layer } from "./layers.js";
import type { Model } from "./model.js";

const LEAST = 64; // sites of a map that a thread takes

export class Synthesis {
  constructor(
    private readonly kernels: Kernels,
    private readonly model: Model,
  ) {}

  /** Inputs at strides 4, 8 and 16, which it releases -> features there, before the middle. */
  down(inputs: readonly [Address, Address, Address], area: Area): [Address, Address, Address] {
    const { heap } = this.kernels;
    const [h, w] = [area.h, area.w];
    const h4 = this.product("input4", inputs[0], 16 * h * w);
    heap.release(inputs[0]);
    this.gatedRow("down4", h4, 4 * h, 4 * w, 0);
    const h8 = this.joined(inputs[1], "input8", h4, "to8", 2 * h, 2 * w);
    this.gatedRow("down8", h8, 2 * h, 2 * w, this.blocks[0]);
    const h16 = this.joined(inputs[2], "input16", h8, "to16", h, w);
    return [h4, h8, h16];
  }

  /** Features at stride 16, in place. */
  middle(h16: Address, area: Area): void {
    const { wide, middle } = this.model.config.synthesis;
    const first = this.blocks[0] + this.blocks[1];
    for (let k = 0; k < wide + middle; k++) {
      this.gated(`middle.${k}`, h16, area.h, area.w, first + k);
      if (k < wide) {
        const layers = [this.layer(`dense.${k}.up`).at, this.layer(`dense.${k}.down`).at];
        this.kernels.run("runDense", area.h * area.w, [h16, ...layers], LEAST);
      }
    }
  }

  /** Features at strides 4, 8 and 16, which it releases -> sums there. */
  up(h4: Address, h8: Address, h16: Address, area: Area): [Address, Address, Address] {
    const { heap } = this.kernels;
    const [h, w] = [area.h, area.w];
    const { wide, middle } = this.model.config.synthesis;
    const [four, eight] = this.blocks;
    const first = four + eight + wide + middle;
    this.spread("from16", h16, h8, h, w);
    this.gatedRow("up8", h8, 2 * h, 2 * w, first);
    this.spread("from8", h8, h4, 2 * h, 2 * w);
    this.gatedRow("up4", h4, 4 * h, 4 * w, first + eight);
    const c4 = this.product("output4", h4, 16 * h * w);
    const c8 = this.product("output8", h8, 4 * h * w);
    const c16 = this.product("output16", h16, h * w);
    heap.release(h4, h8, h16);
    return [c4, c8, c16];
  }

  /** Words of a row of a layer's sums. */
  pitch(name: string): number {
    return Math.ceil(this.layer(name).outputs / 8) * 8;
  }

  private get blocks(): [number, number] {
    return this.model.config.synthesis.blocks;
  }

  private layer(name: string): Layer {
    return this.model.layer(name);
  }

  private product(name: string, x: Address, sites: number): Address {
    const layer = this.layer(name);
    const each = name.startsWith("output") ? 4 * this.pitch(name) : layer.outputs;
    const out = this.kernels.heap.alloc(sites * each);
    this.kernels.run("runProduct", sites, [x, layer.at, out], LEAST);
    return out;
  }

  /** add(inner(x), outer(space to depth(finer))); x is released. h, w: of x. */
  private joined(x: Address, inner: string, finer: Address, outer: string, h: number, w: number): Address {
    const { kernels } = this;
    const { heap } = kernels;
    const a = this.product(inner, x, h * w);
    heap.release(x);
    const bytes = this.layer(outer).inputs / 4;
    const blocks = heap.alloc(4 * bytes * h * w);
    kernels.run("runSpaceToDepth", h, [finer, blocks, bytes, w], Math.ceil(1024 / w));
    const b = this.product(outer, blocks, h * w);
    kernels.run("runAdd", h * w, [a, b, a, this.layer(outer).outputs], 1024);
    heap.release(blocks, b);
    return a;
  }

  /** finer = add(finer, depth to space(layer(x))). h, w: of x. */
  private spread(name: string, x: Address, finer: Address, h: number, w: number): void {
    const { kernels } = this;
    const { heap } = kernels;
    const a = this.product(name, x, h * w);
    const bytes = this.layer(name).outputs / 4;
    const b = heap.alloc(4 * bytes * h * w);
    kernels.run("runDepthToSpace", h, [a, b, bytes, w], Math.ceil(1024 / w));
    kernels.run("runAdd", 4 * h * w, [finer, b, finer, bytes], 1024);
    heap.release(a, b);
  }

  private gatedRow(part: string, x: Address, h: number, w: number, first: number): void {
    const count = this.blocks[part.endsWith("4") ? 0 : 1];
    for (let k = 0; k < count; k++) this.gated(`${part}.${k}`, x, h, w, first + k);
  }

  private gated(name: string, x: Address, h: number, w: number, k: number): void {
    const { kernels } = this;
    const part = (layer: string) => this.layer(`${name}.${layer}`).at;
    const y = kernels.heap.alloc(h * w * this.layer(`${name}.mix`).outputs);
    kernels.run("runChannelwise", h, [x, part("mix"), y, h, w], Math.ceil(256 / w));
    const shift = this.model.config.synthesis.shifts[k]!;
    kernels.run("runGated", h * w, [x, y, part("gate"), part("value"), part("down"), shift], LEAST);
    kernels.heap.release(y);
  }
}
