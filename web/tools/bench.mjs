// How long the page takes for a file, and how much memory: node tools/bench.mjs FILE.vitc... In headless Chromium, with
// threads and without, the weights in the browser's cache or not.
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Browser, UNDER } from "../test/pages.mjs";

const files = process.argv.slice(2);
const RUNS = 3;

async function timed(address) {
  const { decodeFile } = await import("./vitcodec.js");
  const found = [];
  for (let k = 0; k < 3; k++) {
    let first = 0;
    const start = performance.now();
    const onPreview = () => (first ||= performance.now() - start);
    const { times, memory, threads, info } = await decodeFile(address, { onPreview });
    found.push({ ...times, first: first / 1000, memory, threads, size: `${info.width}x${info.height}`, bytes: info.bytes });
  }
  return found;
}

for (const isolated of [true, false]) {
  const folder = mkdtempSync(join(tmpdir(), "vitcodec-bench-"));
  for (const file of files) cpSync(file, join(folder, basename(file)));
  const browser = await Browser.start({ isolated, folders: { "/files/": folder } });
  for (const file of files) {
    for (let load = 0; load < RUNS; load++) {
      const { page } = await browser.page(`${UNDER}index.html`);
      const runs = await page.evaluate(timed, `/files/${basename(file)}`);
      for (const [k, run] of runs.entries()) {
        const seconds = ["all", "first", "weights", "tokens", "pixels"].map((key) => `${key} ${run[key].toFixed(2)} s`);
        const when = `load ${load + 1}, picture ${k + 1}`;
        console.log(`${basename(file)} ${run.size}, ${run.bytes} bytes, ${run.threads} thread(s), ${when}: ${seconds.join(", ")}, ${(run.memory / 1e6).toFixed(0)} MB`);
      }
      await page.close();
    }
  }
  await browser.stop();
  rmSync(folder, { recursive: true });
}
