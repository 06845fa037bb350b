/** What the server and its clients in other languages are held to as well. */

import { readFileSync } from "node:fs";

/** @param {string} name of a file in `spec` */
const read = (name) => JSON.parse(readFileSync(new URL(`../../spec/${name}`, import.meta.url), "utf8"));

export const FRAMES = read("frames.json");

/** @type {{code: number, ends: boolean, onerror: {code: number, description: string} | null}[]} */
export const CLOSES = read("codes.json").closes;
