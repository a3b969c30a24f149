// Hosts a small card in a slot of Kazashi's reader driver (docs/driver.md): node hostcard.js DIRECTORY/SLOT
"use strict";

const { rmSync } = require("node:fs");
const { createServer } = require("node:net");

const [HELLO, POWER_UP, POWER_DOWN, RESET, TRANSMIT, , , , PROTOCOL, SETTLED] = Array(10).keys();
const REPLY = 0x80, DONE = 0, UNSUPPORTED = 4, VERSION = 1, PRESENT = 1;
const ATR = Buffer.from("3B800181", "hex"); // T=1, no historical bytes
const AID = "F04B415A41534849";
const CONTENTS = Buffer.from("Hello from Node.js");

function card(command) {
  const [, instruction, p1, p2, length] = command; // length of data, or Le
  if (instruction === 0xa4) {
    return Buffer.from(command.subarray(5, 5 + length).toString("hex").toUpperCase() === AID ? "9000" : "6A82", "hex");
  }
  if (instruction === 0xb0) { // Le 00 is 256
    return Buffer.concat([CONTENTS.subarray(p1 * 256 + p2).subarray(0, length || 256), Buffer.from([0x90, 0x00])]);
  }
  return Buffer.from([0x6d, 0x00]);
}

function answer(kind, body) {
  if (kind === HELLO) return [HELLO, VERSION, PRESENT];
  if (kind === POWER_UP || kind === RESET) return [REPLY, DONE, ...ATR];
  if (kind === POWER_DOWN || kind === PROTOCOL) return [REPLY, DONE];
  if (kind === TRANSMIT) return [REPLY, DONE, ...card(body.subarray(1))];
  return kind === SETTLED ? [] : [REPLY, UNSUPPORTED];
}

const server = createServer((driver) => {
  let received = Buffer.alloc(0);
  driver.on("error", () => driver.destroy());
  driver.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
    while (received.length >= 4 && received.length >= 4 + received.readUInt32BE()) {
      const end = 4 + received.readUInt32BE();
      const message = Buffer.from(answer(received[4], received.subarray(5, end)));
      const head = Buffer.alloc(4);
      head.writeUInt32BE(message.length);
      if (message.length) driver.write(Buffer.concat([head, message]));
      received = received.subarray(end);
    }
  });
});
rmSync(process.argv[2], { force: true });
server.listen(process.argv[2], () => console.log("the card is in the reader"));
