// Notes which source the built page came from; a test compares it, so that neither goes alone.
// The digest covers the name and content of every file that the build reads.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const top = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"];
const inside = readdirSync("src", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))
  .map((entry) => join(entry.parentPath, entry.name));
const names = [...top, ...inside].sort();
const digest = createHash("sha256");
for (const name of names) {
  const content = readFileSync(name);
  digest.update(`${name} ${content.length}\n`);
  digest.update(content);
}
writeFileSync("built-from.sha256", `${digest.digest("hex")}\n`);
