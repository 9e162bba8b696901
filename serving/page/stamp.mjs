// Notes which source the built page came from; a test compares it, so that neither goes alone.
// The digest covers the name and content of every file that the build reads.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const top = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"];
const inside = readdirSync("src").filter((name) => !name.endsWith(".test.ts"));
const names = [...top, ...inside.map((name) => `src/${name}`)].sort();
const digest = createHash("sha256");
for (const name of names) {
  const content = readFileSync(name);
  digest.update(`${name} ${content.length}\n`);
  digest.update(content);
}
writeFileSync("built-from.sha256", `${digest.digest("hex")}\n`);
