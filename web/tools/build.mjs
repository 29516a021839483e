// Builds dist/: the library, its worker and kernels, the custom element, the page, and the models.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(web, "dist");
const MODELS = ["swin", "swin-ssimulacra2", "swin-ssimulacra2-2", "swin-ssimulacra2-3", "swin-ms-ssim-2", "swin-ms-ssim-3"];
const IDENTITY = 16; // hexadecimal digits of a hash by which files name weights

function assemble(out, ...flags) {
  const compiler = join(web, "node_modules", "assemblyscript", "bin", "asc.js");
  const options = ["-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--enable", "simd", "--use", "abort="];
  execFileSync(process.execPath, [compiler, "assembly/index.ts", ...options, ...flags, "--outFile", out], {
    cwd: web,
    stdio: ["ignore", "ignore", "inherit"],
  });
}

/** models/: each model's weights as gzip makes them, a third smaller, and models.json, which says which they are. */
function packModels(weights, models) {
  const folder = join(dist, "models");
  mkdirSync(folder, { recursive: true });
  /** Writes a file of weights under a name that holds its hash, so that none in a cache goes stale. */
  const pack = (source, sha256, name) => {
    const data = readFileSync(source);
    if (createHash("sha256").update(data).digest("hex") !== sha256) throw new Error(`${source}: is not that of config.json`);
    const file = `${name}-${sha256.slice(0, IDENTITY)}.bin`;
    writeFileSync(join(folder, file), gzipSync(data, { level: 9 }));
    return file;
  };
  const list = {};
  for (const name of models) {
    const source = join(weights, name);
    const { sha256, context, synthesis, enhancements = [] } = JSON.parse(readFileSync(join(source, "config.json"), "utf8"));
    const file = pack(join(source, "model.safetensors"), sha256, name);
    const { low_scales, conditional, flags } = context;
    const packed = enhancements.map((hash, k) => {
      const stem = `enhancement-${k + 1}`;
      return { file: pack(join(source, `${stem}.safetensors`), hash, `${name}-${stem}`), sha256: hash };
    });
    const more = packed.length ? { enhancements: packed } : {};
    list[sha256.slice(0, IDENTITY)] = { name, file, context: { low_scales, conditional, flags }, synthesis, ...more };
  }
  writeFileSync(join(folder, "models.json"), `${JSON.stringify(list, null, 1)}\n`);
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
const threads = ["--enable", "threads", "--sharedMemory", "--initialMemory", "1", "--maximumMemory", "65536"];
const relaxed = ["--enable", "relaxed-simd"];
assemble("dist/kernels.wasm");
assemble("dist/kernels-threads.wasm", ...threads);
assemble("dist/kernels-relaxed.wasm", ...relaxed);
assemble("dist/kernels-relaxed-threads.wasm", ...relaxed, ...threads);
await build({
  absWorkingDir: web,
  entryPoints: {
    vitcodec: "src/index.ts",
    worker: "src/worker.ts",
    "vitc-img": "src/element.ts",
    app: "page/app.ts",
  },
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  chunkNames: "chunk-[hash]",
  logLevel: "warning",
});
const compiler = join(web, "node_modules", "typescript", "bin", "tsc");
execFileSync(process.execPath, [compiler, "-p", "tsconfig.types.json"], { cwd: web, stdio: "inherit" });
await build({
  absWorkingDir: web,
  entryPoints: ["src/core.ts"],
  outfile: "build/core.mjs", // for the tests
  bundle: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});
for (const name of readdirSync(join(web, "page"))) if (/\.(html|css|svg)$/.test(name)) cpSync(join(web, "page", name), join(dist, name));
/** gallery/: the page of docs/gallery, with the library's place beside it. */
function copyGallery(source) {
  cpSync(source, join(dist, "gallery"), { recursive: true });
  const page = join(dist, "gallery", "index.html");
  writeFileSync(page, readFileSync(page, "utf8").replace("../../web/dist/", "../"));
}

// what `vitcodec view --web` shows, and a wheel that is built afterwards holds
const inside = join(web, "..", "vitcodec", "web");
rmSync(inside, { recursive: true, force: true });
mkdirSync(inside);
for (const name of readdirSync(dist)) {
  if (/\.(html|css|svg|js|wasm)$/.test(name)) cpSync(join(dist, name), join(inside, name));
}
const weights = process.env.VITCODEC_WEIGHTS ?? join(web, "..", "weights");
if (existsSync(weights)) packModels(weights, MODELS);
else console.warn(`${weights}: not there; dist/ has no models`);
copyGallery(join(web, "..", "docs", "gallery"));
