#!/bin/sh
# Tool:      libp11's engine for OpenSSL (Debian 12: libengine-pkcs11-openssl 0.4.12, OpenSSL 3.0)
# Behaviour: For a key that asks for its PIN with every signature (CKA_ALWAYS_AUTHENTICATE, as keys for signatures on identity
#            cards do), `pin-value` in the key's URI is used for the log-in only. For the signature the engine asks a
#            terminal; without one it ends with "UI routines: processing error", and -passin does not help. The same URI
#            signs with an ordinary key of the same token.
# Guess:     RFC 7512: "pin-value" is the token's PIN; a program that was given it has no reason to ask for it.
# Remedy:    pkcs11-provider with `pkcs11-module-token-pin` in the configuration (its `pin-value` has the same limit in
#            1.0 and 1.2), or pkcs11-tool, whose --pin is used for both.
# Seen:      2026-11-30, libp11 0.4.12 with SoftHSM 2.6.1: as described.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

version=$(dpkg-query --show --showformat '${Version}' libengine-pkcs11-openssl)
case $version in
  0.4.12-*) ;;
  *) echo "this describes libp11 0.4.12, and here is: $version" >&2; exit 1 ;;
esac
module=$(find /usr/lib -name libsofthsm2.so | head -n 1)
export SOFTHSM2_CONF="$directory/softhsm2.conf" PKCS11_MODULE_PATH="$module"
mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\n' "$directory" > softhsm2.conf
softhsm2-util --init-token --free --label invented --pin 1234 --so-pin 5678 > /dev/null
tool="pkcs11-tool --module $module --token-label invented --login --pin 1234"
$tool --keypairgen --key-type rsa:2048 --id 01 --label ordinary > /dev/null 2>&1
$tool --keypairgen --key-type rsa:2048 --id 02 --label signing --always-auth > /dev/null 2>&1
echo "an invented letter" > letter

sign() { # ID OPTION...: whether OpenSSL signs with the key
  id=$1; shift
  if setsid openssl dgst -engine pkcs11 -keyform engine "$@" -sha256 -out signature \
    -sign "pkcs11:token=invented;id=%$id;type=private;pin-value=1234" letter < /dev/null > output 2>&1; then
    echo signs
  elif grep -q 'UI routines.*processing error' output; then
    echo asks
  else
    cat output >&2
    echo fails
  fi
}

failed=0
expect() { # WANTED NAME FOUND
  echo "$2: $3"
  [ "$1" = "$3" ] || { echo "CHANGED: expected $1" >&2; failed=1; }
}
expect signs "ordinary key, pin-value" "$(sign 01)"
expect asks "key with CKA_ALWAYS_AUTHENTICATE, pin-value" "$(sign 02)"
expect asks "the same with -passin" "$(sign 02 -passin pass:1234)"
if $tool --sign --id 02 --mechanism SHA256-RSA-PKCS --input-file letter --output-file signature > /dev/null 2>&1; then
  found=signs
else
  found=fails
fi
expect signs "the same key with pkcs11-tool" "$found"
exit "$failed"
