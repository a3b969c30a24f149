// The questions of benchmarks/interoperability/conversation.py, answered by Node's X509Certificate and its TLS server.
// The server's certificate and key, and the client's key, are the program's arguments.

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import tls from 'node:tls';

const [serverCertificate, serverKey, clientKey] = process.argv.slice(2).map((path) => readFileSync(path));
const pem = (path) => readFileSync(path.replace(/\.der$/, '.pem'));

function judged(certificate, root, lists) {
  return new Promise((resolve) => {
    const server = tls.createServer(
      {
        cert: serverCertificate, key: serverKey, ca: pem(root), crl: lists.map(pem),
        requestCert: true, rejectUnauthorized: false,
      },
      (socket) => {
        socket.end();
        server.close();
        const reason = String(socket.authorizationError);
        resolve(socket.authorized ? 'good' : reason.includes('REVOKED') ? 'revoked' : reason);
      },
    );
    server.listen(0, '127.0.0.1', () => {
      const options = { port: server.address().port, cert: pem(certificate), key: clientKey, rejectUnauthorized: false };
      tls.connect(options).on('error', () => {}).resume();
    });
  });
}

async function answered([word, certificate, root, , lists]) {
  if (word === 'version') return process.versions.node;
  const read = new X509Certificate(readFileSync(certificate));
  if (word === 'serial') return read.serialNumber;
  return judged(certificate, root, lists === '' ? [] : lists.split(','));
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = await answered(line.split('\t'));
  } catch (error) {
    answer = `error: ${error.message}`;
  }
  console.log(answer.replaceAll('\n', ' '));
}
