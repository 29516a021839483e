// A static server for the page and its tests: node tools/serve.mjs [PORT] [FOLDER].
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".vitc": "image/x-vitcodec",
  ".avif": "image/avif",
};
// what lets a page share memory among threads
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

function file(path) {
  try {
    const found = statSync(path);
    return found.isDirectory() ? file(join(path, "index.html")) : { path, size: found.size };
  } catch {
    return null;
  }
}

/** Serves folders by the path that they are under. isolated: whether pages may use threads. Resolves to the server. */
export function serve(folders, { port = 0, isolated = true } = {}) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const under = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    const found = under && !path.includes("..") && file(join(folders[under], path.slice(under.length)));
    if (!found) {
      response.writeHead(404, { "Content-Type": "text/plain" }).end("not found\n");
      return;
    }
    const headers = {
      "Content-Type": TYPES[extname(found.path)] ?? "application/octet-stream",
      "Content-Length": found.size,
      "Access-Control-Allow-Origin": "*",
      "Cross-Origin-Resource-Policy": "cross-origin",
      "Cache-Control": "no-cache",
      ...(isolated ? ISOLATED : {}),
    };
    response.writeHead(200, headers);
    createReadStream(found.path).pipe(response);
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const dist = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
  const [port = "8080", folder = dist] = process.argv.slice(2);
  const server = await serve({ "/": folder }, { port: Number(port) });
  console.log(`http://localhost:${server.address().port}/`);
}
