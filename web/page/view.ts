import type { FileInfo } from "../src/index.js";

const STEPS = [1 / 16, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 1.5, 2, 3, 4, 6, 8, 12, 16];

/** A canvas in a view that scrolls, with a zoom. */
export class View {
  private zoom = 1;
  private isFitted = true;
  private size = { width: 1, height: 1 };
  private name = "picture";

  constructor(
    private readonly view: HTMLElement,
    private readonly canvas: HTMLCanvasElement,
    private readonly output: HTMLElement,
  ) {
    view.addEventListener("keydown", (event) => this.key(event));
    view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    new ResizeObserver(() => this.isFitted && this.fit()).observe(view);
    this.drag();
  }

  /** Shows an image of the picture, which may be a smaller one. */
  show(image: ImageData, info: FileInfo, name: string): void {
    const isNew = name !== this.name || this.size.width !== info.width || this.size.height !== info.height;
    this.name = name;
    this.size = { width: info.width, height: info.height };
    this.canvas.width = image.width;
    this.canvas.height = image.height;
    this.canvas.setAttribute("aria-label", `${name}, ${info.width} by ${info.height} pixels`);
    this.canvas.getContext("2d", { colorSpace: info.colours.space })!.putImageData(image, 0, 0);
    if (isNew || this.isFitted) this.fit();
    else this.apply();
  }

  fit(): void {
    this.isFitted = true;
    const { clientWidth, clientHeight } = this.view;
    this.zoom = Math.min(1, clientWidth / this.size.width, clientHeight / this.size.height) || 1;
    this.apply();
  }

  zoomTo(zoom: number, x = 0.5, y = 0.5): void {
    const { view } = this;
    this.isFitted = false;
    // what is seen at (x, y) of the view stays there
    const [left, top] = [x * view.clientWidth, y * view.clientHeight];
    const [across, down] = [(view.scrollLeft + left) / this.zoom, (view.scrollTop + top) / this.zoom];
    this.zoom = zoom;
    this.apply();
    view.scrollTo(across * zoom - left, down * zoom - top);
  }

  step(direction: 1 | -1, x?: number, y?: number): void {
    const near = 1.001;
    const next =
      direction > 0
        ? STEPS.find((step) => step > this.zoom * near)
        : STEPS.findLast((step) => step * near < this.zoom);
    if (next) this.zoomTo(next, x, y);
  }

  save(): void {
    this.canvas.toBlob((blob) => {
      if (!blob) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${this.name.replace(/\.vitc$/, "")}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }

  private apply(): void {
    const { canvas, zoom } = this;
    canvas.style.width = `${this.size.width * zoom}px`;
    canvas.style.height = `${this.size.height * zoom}px`;
    canvas.classList.toggle("large", zoom >= 2 && canvas.width === this.size.width);
    this.output.textContent = `${Math.round(100 * zoom)} %`;
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const work: Record<string, () => void> = {
      "+": () => this.step(1),
      "=": () => this.step(1),
      "-": () => this.step(-1),
      "0": () => this.fit(),
      "1": () => this.zoomTo(1),
    };
    const found = work[event.key];
    if (!found) return;
    event.preventDefault();
    found();
  }

  private wheel(event: WheelEvent): void {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = this.view.getBoundingClientRect();
    this.step(event.deltaY < 0 ? 1 : -1, (event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
  }

  private drag(): void {
    const { view } = this;
    view.addEventListener("pointerdown", (down) => {
      if (down.pointerType !== "mouse" || down.button || down.target !== this.canvas) return;
      down.preventDefault();
      view.focus({ preventScroll: true });
      view.setPointerCapture(down.pointerId);
      const [left, top] = [view.scrollLeft, view.scrollTop];
      const move = (event: PointerEvent) =>
        view.scrollTo(left + down.clientX - event.clientX, top + down.clientY - event.clientY);
      view.addEventListener("pointermove", move);
      view.addEventListener("lostpointercapture", () => view.removeEventListener("pointermove", move), { once: true });
    });
  }
}
