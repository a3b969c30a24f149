// Signs with the card's authentication key through OpenSC's pkcs11-tool, and verifies: node sign.js PIN
"use strict";

const { execFileSync } = require("node:child_process");
const { X509Certificate, verify } = require("node:crypto");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const pin = process.argv[2];
if (!pin) {
  console.error("node sign.js PIN");
  process.exit(2);
}
const work = mkdtempSync(join(tmpdir(), "card-"));
const file = (name) => join(work, name);
const tool = (...options) => execFileSync("pkcs11-tool", ["--slot-index", "0", ...options], { stdio: ["ignore", "pipe", "pipe"] });

try {
  tool("--read-object", "--type", "cert", "--id", "01", "--output-file", file("certificate"));
  const certificate = new X509Certificate(readFileSync(file("certificate")));

  const message = Buffer.from("signed in Node.js");
  writeFileSync(file("message"), message);
  tool("--login", "--pin", pin, "--sign", "--id", "01", "--mechanism", "SHA256-RSA-PKCS",
    "--input-file", file("message"), "--output-file", file("signature"));

  const valid = verify("sha256", message, certificate.publicKey, readFileSync(file("signature")));
  console.log(`${certificate.subject.replace(/\n/g, ", ")}: ${valid}`);
  process.exitCode = valid ? 0 : 1;
} finally {
  rmSync(work, { recursive: true });
}
