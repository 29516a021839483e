/**
 * <vitc-img src="photo.vitc" alt="A cat"></vitc-img>: an image in a page, coarse to fine.
 *
 * Attributes: src, alt, loading="lazy", reduce="0" to "4", salvage. Events: preview, load, error (its `error` says what
 * happened). Parts for CSS: picture, error. It is as large as the picture unless CSS says otherwise.
 */
import { type DecodedImage, type FileInfo, type PreviewImage, decodeFile } from "./index.js";

const STYLE = `
:host { display: inline-block; width: var(--vitc-width, auto); max-width: 100%; vertical-align: bottom }
:host([hidden]) { display: none }
canvas { display: block; width: 100%; height: 100%; object-fit: inherit; object-position: inherit; border-radius: inherit }
canvas[hidden], span[hidden] { display: none }
span { display: inline-block; padding: 0.5em; border: 1px solid; font: inherit; overflow-wrap: anywhere }
`;

export class VitcImage extends HTMLElement {
  static readonly observedAttributes = ["src", "alt", "reduce", "salvage"];
  /** What the file holds, once that is known. */
  info: FileInfo | null = null;
  /** Whether the last picture is there, or was given up. */
  complete = true;
  private readonly canvas = document.createElement("canvas");
  private readonly text = document.createElement("span");
  private readonly internals = this.attachInternals();
  private observer: IntersectionObserver | undefined;
  private loading: AbortController | undefined;
  private isNear = false;

  constructor() {
    super();
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.canvas.part.add("picture");
    this.text.part.add("error");
    this.canvas.hidden = this.text.hidden = true;
    this.attachShadow({ mode: "open" }).append(style, this.canvas, this.text);
    this.internals.role = "img";
  }

  get src(): string {
    return this.getAttribute("src") ?? "";
  }

  set src(value: string) {
    this.setAttribute("src", value);
  }

  get alt(): string {
    return this.getAttribute("alt") ?? "";
  }

  set alt(value: string) {
    this.setAttribute("alt", value);
  }

  get naturalWidth(): number {
    return this.info?.width ?? 0;
  }

  get naturalHeight(): number {
    return this.info?.height ?? 0;
  }

  connectedCallback(): void {
    this.isNear = this.getAttribute("loading") !== "lazy";
    if (this.isNear) {
      this.load();
      return;
    }
    this.observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      this.observer?.disconnect();
      this.isNear = true;
      this.load();
    }, { rootMargin: "50%" });
    this.observer.observe(this);
  }

  disconnectedCallback(): void {
    this.observer?.disconnect();
    this.loading?.abort();
  }

  attributeChangedCallback(name: string): void {
    if (name === "alt") {
      this.label();
    } else if (this.isConnected && this.isNear) {
      this.load();
    }
  }

  private label(): void {
    this.internals.role = this.getAttribute("alt") === "" ? "presentation" : "img";
    this.internals.ariaLabel = this.alt || null;
  }

  private load(): void {
    this.loading?.abort();
    this.label();
    if (!this.src) return;
    const loading = (this.loading = new AbortController());
    this.complete = false;
    this.internals.ariaBusy = "true";
    const options = {
      reduce: Number(this.getAttribute("reduce") ?? 0),
      salvage: this.hasAttribute("salvage"),
      signal: loading.signal,
      onPreview: (preview: PreviewImage) => {
        this.show(preview);
        this.dispatchEvent(new CustomEvent("preview", { detail: preview }));
      },
    };
    const done = () => {
      this.complete = true;
      this.internals.ariaBusy = "false";
    };
    decodeFile(this.src, options).then(
      (decoded) => {
        if (loading.signal.aborted) return;
        done();
        this.show(decoded);
        this.dispatchEvent(new CustomEvent("load", { detail: decoded }));
      },
      (error: Error) => {
        if (loading.signal.aborted) return;
        done();
        this.text.textContent = [this.alt, error.message].filter(Boolean).join(" – ");
        this.text.hidden = false;
        this.dispatchEvent(new ErrorEvent("error", { error, message: error.message }));
      },
    );
  }

  private show({ image, info }: DecodedImage | PreviewImage): void {
    this.info = info;
    const { canvas } = this;
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.style.aspectRatio = `${info.width} / ${info.height}`;
    this.style.setProperty("--vitc-width", `${info.width}px`);
    canvas.getContext("2d", { colorSpace: info.colours.space })!.putImageData(image, 0, 0);
    canvas.hidden = false;
    this.text.hidden = true;
  }
}

if (!customElements.get("vitc-img")) customElements.define("vitc-img", VitcImage);

declare global {
  interface HTMLElementTagNameMap {
    "vitc-img": VitcImage;
  }
}
