// The viewer: a file that is dropped, opened or linked with ?src=, coarse to fine.
import { type DecodedImage, type FileInfo, FormatError, type PreviewImage, type Source, decodeFile, nameOf } from "../src/index.js";
import { View } from "./view.js";
import { levelRows, rowsOf, sizeText } from "./facts.js";

const find = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const status = find("status");
const problem = find("problem");
const rescue = find<HTMLButtonElement>("rescue");
const file = find<HTMLInputElement>("file");
const address = find<HTMLInputElement>("address");
const view = new View(find("view"), find<HTMLCanvasElement>("canvas"), find("zoom"));

let running: AbortController | undefined;
let last: { source: Source; name: string } | undefined;

function say(text: string): void {
  status.textContent = text;
}

function showFacts(info: FileInfo, decoded?: DecodedImage): void {
  find("rows").replaceChildren(
    ...rowsOf(info, decoded).flatMap(([what, how]) => {
      const [term, value] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = what;
      value.textContent = how;
      return [term, value];
    }),
  );
  find("levels").replaceChildren(
    ...levelRows(info).map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((text, k) => {
        const cell = document.createElement(k ? "td" : "th");
        if (!k) (cell as HTMLTableCellElement).scope = "row";
        cell.textContent = text;
        row.append(cell);
      });
      return row;
    }),
  );
  find("facts").hidden = false;
}

function showImage({ image, info }: DecodedImage | PreviewImage, name: string): void {
  find("picture").hidden = false;
  view.show(image, info, name);
}

async function show(source: Source, name: string, salvage = false): Promise<void> {
  running?.abort();
  const own = (running = new AbortController());
  if (last?.source !== source) find("picture").hidden = find("facts").hidden = true;
  last = { source, name };
  problem.hidden = rescue.hidden = true;
  document.title = `${name} – vitcodec viewer`;
  say(`${name}: loading…`);
  try {
    const decoded = await decodeFile(source, {
      name,
      salvage,
      signal: own.signal,
      onPreview: (preview) => {
        showImage(preview, name);
        showFacts(preview.info);
        say(`${name}: ${preview.image.width}x${preview.image.height} so far, ${sizeText(preview.info.bytes)} read…`);
      },
    });
    showImage(decoded, name);
    showFacts(decoded.info, decoded);
    const { info, times, notes } = decoded;
    say(`${name}: ${info.width}x${info.height}, ${sizeText(info.bytes)}, decoded in ${times.all.toFixed(2)} s.`);
    if (notes.length) {
      problem.textContent = notes.map((note) => `${name}: ${note}`).join(". ");
      problem.hidden = false;
    }
  } catch (error) {
    if (own.signal.aborted) return;
    say(`${name}: not decoded.`);
    problem.textContent = (error as Error).message;
    problem.hidden = false;
    rescue.hidden = salvage || !(error instanceof FormatError);
  }
}

function showFile(chosen: File | null | undefined): void {
  if (chosen) void show(chosen, chosen.name);
}

function showAddress(text: string): void {
  let url: URL;
  try {
    url = new URL(text, document.baseURI);
  } catch {
    problem.textContent = `'${text}' is not an address`;
    problem.hidden = false;
    return;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:" && url.protocol !== "blob:") {
    problem.textContent = `${url.protocol} addresses cannot be shown; give one that begins with https:`;
    problem.hidden = false;
    return;
  }
  void show(url, nameOf(url));
}

find("open").addEventListener("click", () => file.click());
file.addEventListener("change", () => showFile(file.files?.[0]));
find("link").addEventListener("submit", (event) => {
  event.preventDefault();
  if (address.value) showAddress(address.value);
});
rescue.addEventListener("click", () => last && void show(last.source, last.name, true));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  showFile(event.dataTransfer?.files[0]);
});
document.addEventListener("paste", (event) => showFile(event.clipboardData?.files[0]));

for (const [id, work] of Object.entries({
  in: () => view.step(1),
  out: () => view.step(-1),
  fit: () => view.fit(),
  whole: () => view.zoomTo(1),
  save: () => view.save(),
})) {
  find(id).addEventListener("click", work);
}

const linked = new URLSearchParams(location.search).get("src");
if (linked) {
  address.value = linked;
  showAddress(linked);
}
