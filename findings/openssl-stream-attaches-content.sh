#!/bin/sh
# Tool:      OpenSSL 3.0 (Debian 12: 3.0.x), `openssl cms -sign -stream` with `-outform DER` or PEM
# Behaviour: Without `-nodetach` a signature is detached: the document is not in it. With `-stream` the document is in it,
#            without a word, although `-nodetach` was not given. Signature and document verify in both cases.
# Guess:     `-stream` ("enable streaming I/O for encoding operations") changes the encoding, from definite to indefinite
#            lengths, and not what is encoded.
# Remedy:    Leave `-stream` out where the signature goes to somebody who must not have the document, or look into it
#            with `openssl asn1parse`.
# Seen:      2026-11-30, OpenSSL 3.0.19: DER and PEM both contain the document.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

case $(openssl version) in
  "OpenSSL 3.0."*) ;;
  *) echo "this describes OpenSSL 3.0, and here is: $(openssl version)" >&2; exit 1 ;;
esac

openssl req -new -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 30 -subj /CN=invented 2>/dev/null
printf 'an invented letter' > letter

for form in DER PEM; do
  for option in "" -stream; do
    # shellcheck disable=SC2086  # no option is no word
    openssl cms -sign -binary $option -in letter -signer certificate.pem -inkey key.pem -outform "$form" -out signature
    openssl cms -verify -binary -noverify -inform "$form" -in signature -content letter -out /dev/null 2>/dev/null
    if openssl asn1parse -inform "$form" -in signature | grep -q 'OCTET STRING *:an invented letter'; then
      found=attached
    else
      found=detached
    fi
    echo "$form ${option:-without -stream}: $found"
    case "$option $found" in
      " detached" | "-stream attached") ;;
      *) echo "CHANGED: $form ${option:-without -stream} is $found" >&2; exit 1 ;;
    esac
  done
done
echo "as described: with -stream the document is in the signature"
