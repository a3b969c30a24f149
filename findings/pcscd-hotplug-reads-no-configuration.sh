#!/bin/sh
# Tool:      pcscd 1.9.9 as Debian 12 builds it (libudev); `opensc-tool` 0.23 and the driver of vsmartcard-vpcd show it.
# Behaviour: `pcscd --hotplug`, and SIGUSR1, which it sends, add no reader whose file was put into reader.conf.d, and take
#            none out whose file is gone. Nothing is said, and the exit status is 0. A restart reads the files.
# Guess:     They do: pcscd(8) says that the option asks pcscd to re-read the files "to detect added or removed non-USB
#            readers".
# Remedy:    Restart pcscd (systemctl restart pcscd); programs that run lose their connections. Readers that come and go
#            have to be USB devices, or slots of a reader that is there from the start.
# Seen:      2026-11-30, pcscd 1.9.9-2, vsmartcard-vpcd 3.3: as described. (The source says "nothing to do here" in 2.0
#            and 2.3 too; later ones scan the USB bus again. A build with libusb refuses if a file has changed.)
set -eu
if [ "${1:-}" != inside ]; then
  # A pcscd of its own, whose socket has a fixed path, which sees no reader of this machine, and no port of it.
  rights=--map-root-user
  [ "$(id -u)" = 0 ] && rights=
  # shellcheck disable=SC2086  # no option is no word
  exec unshare $rights --mount --net --pid --fork --kill-child sh "$0" inside
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
PATH=$PATH:/usr/sbin
case $(pcscd --version | head -n 1) in
  *1.9.9*) ;;
  *) echo "this describes pcscd 1.9.9, and here is: $(pcscd --version | head -n 1)" >&2; exit 1 ;;
esac
cp /usr/lib/pcsc/drivers/serial/libifdvpcd.so one.so
cp one.so two.so
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/pcscd
mount -t tmpfs tmpfs /usr/lib/pcsc/drivers

reader() { # NAME PORT
  printf 'FRIENDLYNAME "%s"\nDEVICENAME /dev/null:%s\nLIBPATH %s/%s.so\nCHANNELID %s\n' "$1" "$2" "$directory" "$1" "$2"
}
start() {
  pcscd --foreground --config "$directory/conf" > pcscd.log 2>&1 &
  pcscd=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S /run/pcscd/pcscd.comm ] && break; sleep 0.3; done
}
listed() { # the readers' names, sorted
  opensc-tool --list-readers | sed -n 's/^[0-9].* \(one\|two\) 0.*/\1/p' | sort -u | tr '\n' ' '
}
failed=0
expect() { # WANTED NAME FOUND
  echo "$2: $3"
  [ "$1" = "$3" ] || { echo "CHANGED: expected $1" >&2; failed=1; }
}
mkdir conf
reader one 0x8C7B > conf/one
start
expect "one " "at the start" "$(listed)"
reader two 0x8C7D > conf/two
pcscd --hotplug && expect 0 "exit status of pcscd --hotplug" $?
sleep 2
expect "one " "a second file, and pcscd --hotplug" "$(listed)"
rm conf/one
kill -USR1 "$pcscd"
sleep 2
expect "one " "the first file removed, and SIGUSR1" "$(listed)"
kill "$pcscd"
wait "$pcscd" || true
rm -f /run/pcscd/*
start
expect "two " "after a restart" "$(listed)"
kill "$pcscd"
wait "$pcscd" || true
exit "$failed"
