#!/bin/sh
# Tool:      OpenSSH 9.2 (Debian 12), `ssh-keygen -D MODULE` and `ssh-add -s MODULE`
# Behaviour: Both take every certificate on a token for a key of its holder, also one that has no private key there, such
#            as the certificate of the authority. `ssh-keygen -D` prints the authority's key beside the holder's; who
#            writes the output to authorized_keys, as guides say, lets the authority log in. The agent offers the key,
#            and refuses to sign ("agent refused operation"), which uses up one of the server's MaxAuthTries.
# Guess:     "Download the public keys provided by the PKCS#11 shared library" are the keys that one can log in with; a
#            token knows which of its certificates have a private key, because the CKA_ID is the same.
# Remedy:    Take the line whose comment is the holder's key, and `ssh-add -L | ssh-keygen -l -f -` to look at the rest.
# Seen:      2026-11-30, OpenSSH 9.2p1 with SoftHSM 2.6.1: as described; OpenSSH 10.0 of Debian 13 does the same with a card.
set -eu
directory=$(mktemp -d)
trap 'kill "$agent" 2>/dev/null || true; rm -rf "$directory"' EXIT
agent=0
cd "$directory"

case $(ssh -V 2>&1) in
  "OpenSSH_9.2p1 "*) ;;
  *) echo "this describes OpenSSH 9.2, and here is: $(ssh -V 2>&1)" >&2; exit 1 ;;
esac
module=$(find /usr/lib -name libsofthsm2.so | head -n 1)
export SOFTHSM2_CONF="$directory/softhsm2.conf"
mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\n' "$directory" > softhsm2.conf
softhsm2-util --init-token --free --label invented --pin 1234 --so-pin 5678 > /dev/null

openssl req -new -x509 -newkey rsa:2048 -nodes -keyout authority.key -out authority.pem -days 30 \
  -subj "/CN=an invented authority" 2> /dev/null
openssl req -new -newkey rsa:2048 -nodes -keyout holder.key -out holder.csr -subj "/CN=an invented holder" 2> /dev/null
openssl x509 -req -in holder.csr -CA authority.pem -CAkey authority.key -set_serial 2 -days 30 -out holder.pem 2> /dev/null
for name in authority holder; do openssl x509 -in $name.pem -outform DER -out $name.der; done
openssl pkey -in holder.key -outform DER -out holder.key.der
tool="pkcs11-tool --module $module --token-label invented --login --pin 1234"
$tool --write-object holder.key.der --type privkey --id 01 --label "holder" > /dev/null 2>&1
$tool --write-object holder.der --type cert --id 01 --label "holder" > /dev/null 2>&1
$tool --write-object authority.der --type cert --id 02 --label "authority" > /dev/null 2>&1

of() { # NAME: the public key of a certificate as OpenSSH writes it
  openssl x509 -in "$1.pem" -noout -pubkey > "$1.public"
  ssh-keygen -i -m PKCS8 -f "$1.public" | cut -d ' ' -f 2
}
has() { # FILE NAME: whether a key is in a list
  if grep -q -F "$(of "$2")" "$1"; then echo yes; else echo no; fi
}
failed=0
expect() { # WANTED NAME FOUND
  echo "$2: $3"
  [ "$1" = "$3" ] || { echo "CHANGED: expected $1" >&2; failed=1; }
}

ssh-keygen -D "$module" > listed 2> /dev/null
expect yes "ssh-keygen -D prints the holder's key" "$(has listed holder)"
expect yes "ssh-keygen -D prints the authority's key" "$(has listed authority)"

printf '#!/bin/sh\necho 1234\n' > ask
chmod +x ask
export SSH_ASKPASS="$directory/ask" SSH_ASKPASS_REQUIRE=force
ssh-agent -a "$directory/agent" -D > /dev/null 2>&1 &
agent=$!
export SSH_AUTH_SOCK="$directory/agent"
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S agent ] && break; sleep 0.2; done
ssh-add -q -s "$(realpath "$module")" < /dev/null 2> /dev/null
ssh-add -L > held
expect yes "the agent has the authority's key" "$(has held authority)"
echo "an invented letter" > letter
for name in holder authority; do
  grep -F "$(of $name)" held > $name.pub
  if ssh-keygen -q -Y sign -n file -f $name.pub letter > output 2>&1 < /dev/null; then found=signs; else found=refuses; fi
  rm -f letter.sig
  [ $name = holder ] && wanted=signs || wanted=refuses
  expect $wanted "the agent, asked to sign with the key of the $name," "$found"
done
exit "$failed"
