// Asks another body for an item over the information provision network, and prints the answer:
//   node ask.js DIR URL ADDRESS_NUMBER PROVIDER REQUESTER_KIND LAW AFFAIR PROVIDER_KIND ITEM
// DIR is the directory that `kazashi network system add BODY --out DIR` has written.
"use strict";

const { readFileSync } = require("node:fs");
const { request } = require("node:https");
const { join } = require("node:path");

const [directory, url, address_number, provider, ...purpose] = process.argv.slice(2);
const names = ["requester", "law", "affair", "provider", "item"];
if (purpose.length !== names.length) {
  console.error("node ask.js DIR URL ADDRESS_NUMBER PROVIDER REQUESTER_KIND LAW AFFAIR PROVIDER_KIND ITEM");
  process.exit(2);
}
const question = {
  address_number,
  provider,
  purpose: Object.fromEntries(names.map((name, place) => [name, purpose[place]])),
};
const file = (name) => readFileSync(join(directory, name));
const options = {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  cert: file("system.pem"),
  key: file("system.key"),
  ca: file("authority.pem"),
};

const sent = request(new URL("/v1/ask?wait=10", url), options, async (response) => {
  let text = "";
  for await (const chunk of response) text += chunk;
  const reply = JSON.parse(text);
  if (response.statusCode !== 200) {
    console.error(`${reply.denial}: ${reply.error}`);
    process.exitCode = 1;
  } else if (reply.stage === "answered") {
    console.log(`${reply.item}: ${reply.content ?? "no copy"} (${reply.rule})`);
  } else {
    console.log(`process ${reply.process} is ${reply.stage}: ${reply.words || reply.rule}`);
    process.exitCode = 1;
  }
});
sent.on("error", (error) => {
  console.error(`${url} does not respond: ${error.message}`);
  process.exitCode = 1;
});
sent.end(JSON.stringify(question));
