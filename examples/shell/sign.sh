#!/bin/sh
# Sign with the authentication key of the card in a reader, and verify the signature: sh sign.sh "Kazashi 00 00" [PIN]
set -eu
reader=$1 pin=${2:-1234}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

opensc-tool --reader "$reader" --name
pkcs15-tool --reader "$reader" --read-certificate 1 --output "$work/certificate.pem"
openssl x509 -in "$work/certificate.pem" -noout -pubkey > "$work/key.pem"

printf 'signed in a shell\n' > "$work/message"
openssl dgst -sha256 -binary "$work/message" > "$work/digest"
pkcs15-crypt --reader "$reader" --sign --key 1 --pin "$pin" --sha-256 --pkcs1 --raw \
  --input "$work/digest" --output "$work/signature"
openssl dgst -sha256 -verify "$work/key.pem" -signature "$work/signature" "$work/message"
