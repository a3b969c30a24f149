#!/bin/sh
# Tool:      pcscd 1.9.9 (Debian 12), through pyscard 2.3.1, with vpcd and vicc 3.3 as reader and card. Needs root or user
#            namespaces.
# Behaviour: Two clients share a card, and one ends with SCARD_UNPOWER_CARD, which is what pyscard's disconnect() does. The
#            other gets SCARD_W_RESET_CARD, reconnects with SCARD_LEAVE_CARD, and that succeeds. But the card has no power:
#            its next command fails.
# Guess:     The documented remedy for SCARD_W_RESET_CARD is SCardReconnect, and after its success the card can be used:
#            SCARD_LEAVE_CARD says not to reset it once more, and it has been started again by then.
# Remedy:    Reconnect with SCARD_RESET_CARD; connect with disposition=SCARD_LEAVE_CARD where others share the card.
# Seen:      2026-11-30: reconnect succeeds with both; the command fails after LEAVE and gets a response after RESET.
set -eu
directory=$(mktemp -d)
trap 'kill $(cat "$directory"/*.id 2>/dev/null) 2>/dev/null || true; rm -rf "$directory"' EXIT
trap 'exit 1' INT TERM
cd "$directory"

case $(/usr/sbin/pcscd --version) in
  *"version 1.9.9"*) ;;
  *) echo "this describes pcscd 1.9.9, and here is: $(/usr/sbin/pcscd --version | head -1)" >&2; exit 1 ;;
esac
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install pyscard==2.3.1

mkdir run conf drivers
cp /usr/lib/pcsc/drivers/serial/libifdvpcd.so drivers/vpcd.so
printf 'FRIENDLYNAME "Virtual"\nDEVICENAME /dev/null:0x9C40\nLIBPATH %s/drivers/vpcd.so\nCHANNELID 0x9C40\n' "$directory" \
  > conf/vpcd
rights=--mount
[ "$(id -u)" = 0 ] || rights="--mount --map-root-user"
# shellcheck disable=SC2086  # two options
unshare $rights sh -c '
  [ -d /run/pcscd ] || { mount -t tmpfs tmpfs /run; mkdir /run/pcscd; }
  mount --bind run /run/pcscd
  exec /usr/sbin/pcscd --foreground --config "$PWD/conf" > pcscd.log 2>&1' &
echo $! > pcscd.id
for _ in $(seq 300); do
  if [ -S run/pcscd.comm ]; then break; fi
  sleep 0.1
done
/usr/bin/vicc --type iso7816 --hostname 127.0.0.1 --port 40000 > vicc.log 2>&1 < /dev/null &
echo $! > vicc.id

cat > client.py <<'PYTHON'
import sys
import time
from smartcard import scard
from smartcard.Exceptions import SmartcardException
from smartcard.System import readers

reader = readers()[0]
for _ in range(100):
    try:
        first, second = reader.createConnection(), reader.createConnection()
        first.connect()
        second.connect()
        break
    except SmartcardException:  # pcscd has not noticed the card yet
        time.sleep(0.5)
second.disconnect()
first.reconnect(disposition=getattr(scard, sys.argv[1]))
try:
    first.transmit([0x00, 0xA4, 0x00, 0x00, 0x02, 0x3F, 0x00])
    print("response")
except SmartcardException:
    print("error")
PYTHON
export PCSCLITE_CSOCK_NAME="$directory/run/pcscd.comm"
reset=$(env/bin/python client.py SCARD_RESET_CARD)
left=$(env/bin/python client.py SCARD_LEAVE_CARD)
echo "after SCARD_RESET_CARD: $reset; after SCARD_LEAVE_CARD: $left"
[ "$reset; $left" = "response; error" ]
