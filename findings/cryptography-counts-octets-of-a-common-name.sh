#!/bin/sh
# Tool: cryptography 50.0.2 (PyPI).
# Behaviour: NameAttribute refuses a commonName of 22 Japanese characters: "Attribute's length must be >= 1 and <= 64,
#   but it was 66". It counts the octets of UTF-8. Only commonName and countryName are limited; organizationName,
#   organizationalUnitName and localityName take 64 Japanese characters and more.
# Guess: a commonName takes 64 Japanese characters. RFC 5280, appendix A.1, has ub-common-name INTEGER ::= 64 for
#   UTF8String (SIZE (1..ub-common-name)), and SIZE of a UTF8String counts characters (X.680, 51.5). OpenSSL 3.0 makes
#   such a request, and refuses the 65th character.
# Remedy: put long names of organisations into organizationName, or limit them to 64 octets where they are entered.
# Seen: 2026-12-01
#   cryptography, 21 characters: ok
#   cryptography, 22 characters: Attribute's length must be >= 1 and <= 64, but it was 66
#   openssl, 64 characters: ok
#   openssl, 65 characters: refused
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cryptography==50.0.2

seen() {
  "$folder/venv/bin/python" - <<'PYTHON'
from cryptography.x509 import NameAttribute
from cryptography.x509.oid import NameOID
for count in (21, 22):
    try:
        NameAttribute(NameOID.COMMON_NAME, "架" * count)
        print(f"cryptography, {count} characters: ok")
    except ValueError as error:
        print(f"cryptography, {count} characters: {error}")
NameAttribute(NameOID.ORGANIZATION_NAME, "架" * 64)
PYTHON
  for count in 64 65; do
    name=$(python3 -c "print('架' * $count)")
    if openssl req -new -newkey rsa:2048 -nodes -utf8 -subj "/CN=$name" -keyout "$folder/key" -out "$folder/request" \
      2>/dev/null; then
      echo "openssl, $count characters: ok"
    else
      echo "openssl, $count characters: refused"
    fi
  done
}

expected="cryptography, 21 characters: ok
cryptography, 22 characters: Attribute's length must be >= 1 and <= 64, but it was 66
openssl, 64 characters: ok
openssl, 65 characters: refused"
found=$(seen)
printf '%s\n' "$found"
[ "$found" = "$expected" ]
