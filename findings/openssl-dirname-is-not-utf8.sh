#!/bin/sh
# Tool:      OpenSSL 3.0 (Debian 12: 3.0.x), `openssl req -x509` with a configuration file
# Behaviour: With `utf8 = yes` the subject's Japanese names are right, and those of a `dirName:` in subjectAltName (or in
#            issuerAltName, or in a distribution point) are not: each byte of the UTF-8 text is taken for one character
#            of Latin-1 and encoded again, without a word. The certificate holds "æ\x9e¶" for 架.
# Guess:     `utf8 = yes` ("field values are to be interpreted as UTF-8 strings") is about the whole request.
# Remedy:    Make such a name with a library, or give the extension's DER (`subjectAltName = DER:...`).
# Seen:      2026-11-29, OpenSSL 3.0: subject right; dirName twice as long as it should be.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

case $(openssl version) in
  "OpenSSL 3.0."*) ;;
  *) echo "this describes OpenSSL 3.0, and here is: $(openssl version)" >&2; exit 1 ;;
esac

cat > request.cnf <<'EOF'
[req]
prompt = no
utf8 = yes
string_mask = utf8only
distinguished_name = name
x509_extensions = extensions
[name]
C = JP
O = 架空
[extensions]
subjectAltName = dirName:name
EOF
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 30 -config request.cnf 2>/dev/null

subject=$(openssl x509 -in certificate.pem -noout -subject -nameopt RFC2253)
other=$(openssl x509 -in certificate.pem -noout -ext subjectAltName | grep DirName:)
echo "$subject"
echo "$other"
case $subject in *'O=\E6\9E\B6\E7\A9\BA'*) ;; *) echo "CHANGED: the subject is not right" >&2; exit 1 ;; esac
case $other in
  *'O=\xC3\xA6\xC2\x9E\xC2\xB6'*) echo "as described: the same section of the file, encoded twice in the extension" ;;
  *) echo "CHANGED: the name in the extension is another" >&2; exit 1 ;;
esac
