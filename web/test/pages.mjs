// A headless Chromium with a page under a sub-path of a local server, and what went wrong in it.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "../tools/serve.mjs";
import { WEB } from "./support.mjs";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
export const UNDER = "/some/where/";

export class Browser {
  static async start({ isolated = true, folders = {} } = {}) {
    const own = new Browser();
    const executablePath = process.env.CHROMIUM ?? PLACES.find(existsSync);
    if (!executablePath) throw new Error("no Chromium is here; apt-get install chromium, or set CHROMIUM to its path");
    const served = { [UNDER]: join(WEB, "dist"), "/cases/": join(WEB, "test/cases"), ...folders };
    own.server = await serve(served, { isolated });
    own.origin = `http://localhost:${own.server.address().port}`;
    own.profile = mkdtempSync(join(tmpdir(), "vitcodec-chromium-"));
    own.context = await chromium.launchPersistentContext(own.profile, { executablePath, args: ARGUMENTS, headless: true });
    return own;
  }

  /** A new page; `problems` lists what its console and its scripts complain of. */
  async page(path, options = {}) {
    const page = await this.context.newPage();
    const problems = [];
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(String(error)));
    if (options.viewport) await page.setViewportSize(options.viewport);
    if (options.colorScheme) await page.emulateMedia({ colorScheme: options.colorScheme });
    await page.goto(`${this.origin}${path}`);
    return { page, problems };
  }

  async stop() {
    await this.context?.close();
    this.server?.closeAllConnections();
    this.server?.close();
    if (this.profile) rmSync(this.profile, { recursive: true, force: true });
  }
}
