// Writes the two scripts that the server serves (contract, A6). The output is committed: it has to be the same bytes
// wherever it is built, so nothing in it depends on the time, the machine or the folder. With `--check` nothing is
// written: it fails when a script is not what its sources make.

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = "../src/pushline/static";

/** @type {import("esbuild").BuildOptions} */
const options = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  charset: "utf8",
  target: "es2022",
  banner: { js: "/*! Pushline, MIT License */" },
};

/** @type {import("esbuild").BuildOptions[]} */
const scripts = [
  { entryPoints: ["src/jsapi.js"], format: "iife", outfile: `${folder}/jsapi.js` },
  { entryPoints: ["src/index.js"], format: "esm", outfile: `${folder}/pushline.mjs` },
];

for (const script of scripts) {
  const { outputFiles } = await build({ ...options, ...script, write: false });
  for (const { path, contents } of outputFiles ?? []) {
    const written = await readFile(path).catch(() => Buffer.of());
    if (written.equals(contents)) continue;
    if (process.argv.includes("--check")) {
      console.error(`stale: ${path}; run \`make generate\``);
      process.exitCode = 1;
    } else {
      await writeFile(path, contents);
      console.log(`written: ${path}`);
    }
  }
}
