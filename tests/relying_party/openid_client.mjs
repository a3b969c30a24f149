// A client of an OpenID Connect provider: panva's openid-client, with an address at which the browser comes back.
// Arguments: issuer, client, its secret, its redirect address, scope, and the algorithm of
// ID tokens (RS256). Prints the address to open, then the claims.

import { createServer } from 'node:http'
import { once } from 'node:events'
import * as oidc from 'openid-client'

const [issuer, name, secret, home, scope, algorithm = 'RS256'] = process.argv.slice(2)
const metadata = { id_token_signed_response_alg: algorithm }
const config = await oidc.discovery(new URL(issuer), name, metadata, oidc.ClientSecretBasic(secret), {
  execute: [oidc.allowInsecureRequests],
})
const verifier = oidc.randomPKCECodeVerifier()
const expected = { state: oidc.randomState(), nonce: oidc.randomNonce() }
const start = oidc.buildAuthorizationUrl(config, {
  redirect_uri: home,
  scope,
  code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  ...expected,
})
const server = createServer().listen(Number(new URL(home).port), 'localhost')
await once(server, 'listening')
console.log(start.href)
const [request, response] = await once(server, 'request')
response.end('welcome back')
const tokens = await oidc.authorizationCodeGrant(config, new URL(request.url, home), {
  pkceCodeVerifier: verifier,
  expectedState: expected.state,
  expectedNonce: expected.nonce,
  idTokenExpected: true,
})
const { sub } = tokens.claims()
console.log(JSON.stringify(await oidc.fetchUserInfo(config, tokens.access_token, sub)))
process.exit()
