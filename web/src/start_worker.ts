/** A worker from any origin: another site's script has to be imported by one of the page's own. */
export function startWorker(url: URL, name: string): Worker {
  if (url.origin === location.origin) return new Worker(url, { type: "module", name });
  const script = new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" });
  return new Worker(URL.createObjectURL(script), { type: "module", name });
}
