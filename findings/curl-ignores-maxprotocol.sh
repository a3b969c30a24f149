#!/bin/sh
# Tool:      curl with OpenSSL 3 (Debian 12: curl 7.88; Debian 13's 8.14 does the same)
# Behaviour: `MaxProtocol` in OpenSSL's configuration does not hold for curl: it negotiates TLS 1.3 where the configuration
#            says TLS 1.2 at most. `openssl s_client` obeys the same file, and curl itself obeys its `MinProtocol` and
#            its `CipherString`. Whoever limits a machine to TLS 1.2, for a token without PSS for example, does not limit
#            curl, and gets "certificate required" from the server.
# Guess:     The section `system_default` is "applied to every SSL_CTX" (config(5)), and curl has no option for TLS
#            versions here, so it has no opinion.
# Remedy:    --tls-max 1.2, in ~/.curlrc as well.
# Seen:      2026-11-30, curl 7.88.1 with OpenSSL 3.0.19: TLSv1.3; openssl s_client: TLSv1.2.
set -eu
directory=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$directory"' EXIT
server=0
cd "$directory"

case $(curl --version) in
  "curl 7.88."*OpenSSL/3.*) ;;
  *) echo "this describes curl 7.88 with OpenSSL 3, and here is: $(curl --version | head -n 1)" >&2; exit 1 ;;
esac
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 30 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost 2> /dev/null
openssl s_server -accept 127.0.0.1:28444 -key key.pem -cert certificate.pem -www -quiet > /dev/null 2>&1 &
server=$!

configuration() { # LINE: a configuration of OpenSSL with one line for all its clients
  printf 'openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\n%s\n' "$1" > openssl.cnf
}
with_curl() { curl -s --cacert certificate.pem "$@" https://localhost:28444/ | sed -n 's/^ *Protocol *: //p'; }
with_openssl() {
  printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -CAfile certificate.pem -connect localhost:28444 2> /dev/null |
    sed -n 's/^ *Protocol *: //p'
}
failed=0
expect() { # WANTED NAME FOUND
  echo "$2: $3"
  [ "$1" = "$3" ] || { echo "CHANGED: expected $1" >&2; failed=1; }
}
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -n "$(with_curl)" ] && break; sleep 0.5; done
export OPENSSL_CONF="$directory/openssl.cnf"
configuration "MaxProtocol = TLSv1.2"
expect TLSv1.2 "openssl s_client" "$(with_openssl)"
expect TLSv1.3 "curl" "$(with_curl)"
expect TLSv1.2 "curl --tls-max 1.2" "$(with_curl --tls-max 1.2)"
configuration "MinProtocol = TLSv1.3"
expect "" "curl --tls-max 1.2 with MinProtocol = TLSv1.3" "$(with_curl --tls-max 1.2)"
configuration "CipherString = ECDHE-RSA-AES128-GCM-SHA256"
cipher=$(curl -s --cacert certificate.pem --tls-max 1.2 https://localhost:28444/ | sed -n 's/^ *Cipher *: //p')
expect ECDHE-RSA-AES128-GCM-SHA256 "curl --tls-max 1.2 with a CipherString" "$cipher"
exit "$failed"
