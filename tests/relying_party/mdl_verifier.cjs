// Verifies a DeviceResponse with @auth0/mdl: response, SessionTranscriptBytes and root are files. Prints JSON.
const { readFileSync } = require("node:fs");
const { Verifier } = require("@auth0/mdl");

const [response, transcript, root] = process.argv.slice(2);
const failed = [];
const onCheck = (check) => { if (check.status === "FAILED") failed.push(check.check); };

new Verifier([readFileSync(root, "utf8")])
  .verify(readFileSync(response), { encodedSessionTranscript: readFileSync(transcript), onCheck })
  .then(({ documents: [document] }) => {
    const spaces = Object.assign({}, ...document.issuerSignedNameSpaces.map((name) => document.getIssuerNameSpace(name)));
    console.log(JSON.stringify({ failed, type: document.docType, elements: Object.keys(spaces).sort() }));
  })
  .catch((error) => console.log(JSON.stringify({ failed: [...failed, error.message], type: null, elements: [] })));
