// Makes one script of the sources: esbuild joins them, terser makes them small.

import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const LICENSE = "/*! Pushline, MIT License */";

/**
 * The properties that get a short name. These objects never leave the script; what programs, browsers, servers and the
 * storage of the page know by name is not in here, as far as the script uses it: a lock of theirs may have a `release`,
 * too. A name that is missing costs a few bytes, nothing else.
 */
const INTERNAL = [
  // the machine
  ..."refreshed receive closed returned wake shown leaving gone tick deadline".split(" "),
  // ladder, manners, refresh, memory
  ..."begin down opened trial take postpone verdict moment refuse ended lasted".split(" "),
  ..."able endsAt stale known expiring ask succeeded failed ladder manners memory".split(" "),
  // the transports over HTTP
  ..."hold release over asking give submit finish watchVisibility".split(" "),
  // the environment
  ..."address pageId beacon slot storage servers visible base pageAddress watch report".split(" "),
];

/** @type {import("terser").MinifyOptions} */
const SMALL = {
  ecma: 2020,
  module: true,
  compress: { passes: 3, keep_fargs: false, pure_getters: true, unsafe_arrows: true, unsafe_methods: true },
  mangle: { properties: { builtins: true, regex: new RegExp(`^(${INTERNAL.join("|")})$`) } },
  format: { comments: false, preamble: LICENSE },
};

/**
 * The same sources give the same bytes: nothing depends on the time, the machine or the folder.
 *
 * @param {string} entry in `src`
 * @param {"iife" | "esm"} format
 * @param {string} name of the script; its map has the name and `.map`
 * @returns {Promise<{code: string, map: string}>}
 */
export async function bundle(entry, format, name) {
  const { outputFiles } = await build({
    absWorkingDir: HERE,
    entryPoints: [`src/${entry}`],
    bundle: true,
    charset: "utf8",
    minifySyntax: true,
    target: "es2022",
    format,
    sourcemap: "external",
    outfile: `dist/${name}`,
    write: false,
  });
  const [map, script] = outputFiles;
  const { code, map: small } = await minify(script.text, {
    ...SMALL,
    sourceMap: { content: map.text, filename: name, includeSources: true },
  });
  return { code: `${code}\n`, map: String(small) };
}
