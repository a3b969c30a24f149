// Signs documents with xml-crypto: node sign.js KEY.pem CERTIFICATE.pem FOLDER UNSIGNED.xml ...
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { SignedXml } from "xml-crypto";

const [key, certificate, folder, ...sources] = process.argv.slice(2);
const ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const METHODS = {
  inclusive: "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
  exclusive: "http://www.w3.org/2001/10/xml-exc-c14n#",
};

for (const source of sources) {
  for (const [name, method] of Object.entries(METHODS)) {
    for (const prefix of ["", "ds"]) {
      for (const empty of [true, false]) {
        const signing = new SignedXml({
          privateKey: readFileSync(key),
          publicCert: readFileSync(certificate),
          signatureAlgorithm: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
          canonicalizationAlgorithm: method,
        });
        signing.addReference({
          xpath: "/*",
          transforms: [ENVELOPED, method],
          digestAlgorithm: "http://www.w3.org/2001/04/xmlenc#sha256",
          uri: "",
          isEmptyUri: empty,
        });
        signing.computeSignature(readFileSync(source, "utf8"), { prefix });
        const parts = [basename(source, ".xml"), prefix || "bare", name, empty ? "whole" : "id"];
        writeFileSync(join(folder, `${parts.join("-")}.xml`), signing.getSignedXml());
      }
    }
  }
}
