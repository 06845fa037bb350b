// Writes the scripts. Those that the server serves (contract, A6) are committed: with `--check` nothing is written, it
// fails when one is not what its sources make. With `--dist` it writes what only the package has: the same scripts with
// their source maps, and the license.

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { bundle } from "./bundle.js";

const SCRIPTS = /** @type {const} */ ([
  ["jsapi.js", "iife", "jsapi.js"],
  ["index.js", "esm", "pushline.mjs"],
]);

const served = new URL("../src/pushline/static/", import.meta.url);
const packed = new URL("dist/", import.meta.url);

for (const [entry, format, name] of SCRIPTS) {
  const { code, map } = await bundle(entry, format, name);
  if (process.argv.includes("--dist")) {
    await mkdir(packed, { recursive: true });
    await writeFile(new URL(name, packed), `${code}//# sourceMappingURL=${name}.map\n`);
    await writeFile(new URL(`${name}.map`, packed), map);
    continue;
  }
  const path = new URL(name, served);
  const written = await readFile(path, "utf8").catch(() => "");
  if (written === code) continue;
  if (process.argv.includes("--check")) {
    console.error(`stale: src/pushline/static/${name}; run \`make generate\``);
    process.exitCode = 1;
  } else {
    await writeFile(path, code);
    console.log(`written: src/pushline/static/${name}`);
  }
}

if (process.argv.includes("--dist")) {
  await copyFile(new URL("../LICENSE", import.meta.url), new URL("LICENSE", import.meta.url));
}
