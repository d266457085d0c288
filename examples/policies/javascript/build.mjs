// Makes build/policy.wasm of policy.js. With every feature of WASI disabled the component imports nothing, so the
// host can keep a snapshot of it.

import { componentize } from "@bytecodealliance/componentize-js";
import { mkdir, readFile, writeFile } from "node:fs/promises";

const { component } = await componentize(await readFile("policy.js", "utf8"), {
  witPath: "wit",
  worldName: "policy-engine",
  disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
});
await mkdir("build", { recursive: true });
await writeFile("build/policy.wasm", component);
