// Text files of one folder. Never reads anything outside it, whatever a path or a symbolic link says.

import { readFileSync, realpathSync, statSync } from "node:fs";
import { resolve, sep } from "node:path";

const MOST_BYTES = 1 << 20;

/** What is at a path: nothing, a text, or what is not to be read (a folder, over 1 MiB, not UTF-8, out of root). */
export function read(root: string, path: string): "missing" | "opaque" | { text: string } {
  try {
    const real = realpathSync(resolve(root, path));
    const stat = statSync(real);
    if (!real.startsWith(realpathSync(root) + sep) || !stat.isFile() || stat.size > MOST_BYTES) return "opaque";
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readFileSync(real)) };
  } catch (error) {
    const gone = ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
    return gone ? "missing" : "opaque";
  }
}
