// The budget of the first load: every script the page asks for by itself, compressed.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_KB = 200;
const page = readFileSync("dist/index.html", "utf8");
const scripts = [...page.matchAll(/(?:src|href)="(\/[^"]+\.js)"/g)].map((match) => match[1]);
const sizes = scripts.map((path) => [path, gzipSync(readFileSync(`dist${path}`)).length / 1000]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
for (const [path, size] of sizes) console.log(`${size.toFixed(1).padStart(7)} kB  ${path}`);
console.log(`${total.toFixed(1).padStart(7)} kB of ${BUDGET_KB} kB, first load of script, gzip`);
if (scripts.length === 0 || total > BUDGET_KB) process.exit(1);
