#!/bin/sh
# Tool:      Java 17 `javax.smartcardio` (SunPCSC; Debian 12: OpenJDK 17.0), pcsc-lite 1.9.9
# Behaviour: Once a JVM has asked pcscd for readers, it does not find a pcscd that was restarted. Every call ends with
#            SCARD_E_NO_SERVICE as long as the JVM lives, also one to a new TerminalFactory of a new provider, while a new
#            JVM is told of the readers (here, that there are none: SCARD_E_NO_READERS_AVAILABLE).
# Guess:     The error lasts as long as there is no service: the API has no call to connect again, so list() establishes
#            a new context when the old one is dead, as pyscard and PC/SC programs in C do.
# Remedy:    Start the JVM again; or set sun.security.smartcardio.PCSCTerminals.contextId to 0 by reflection
#            (--add-opens java.smartcardio/sun.security.smartcardio=ALL-UNNAMED), and take a new TerminalFactory.
# Seen:      2026-11-30, OpenJDK 17.0.15, pcscd 1.9.9: as described, with the remedy.
set -eu
if [ "${1:-}" != inside ]; then
  # A pcscd of its own, whose socket has a fixed path, and which sees no reader of this machine.
  rights=--map-root-user
  [ "$(id -u)" = 0 ] && rights=
  # shellcheck disable=SC2086  # no option is no word
  exec unshare $rights --mount --pid --fork --kill-child sh "$0" inside
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
mount -t tmpfs tmpfs /run
mkdir /run/pcscd
mount -t tmpfs tmpfs /usr/lib/pcsc/drivers
PATH=$PATH:/usr/sbin

case $(java -version 2>&1 | head -n 1) in
  *'"17.'*) ;;
  *) echo "this describes Java 17, and here is: $(java -version 2>&1 | head -n 1)" >&2; exit 1 ;;
esac

cat > Readers.java <<'SOURCE'
import java.security.Security;
import java.util.Scanner;
import javax.smartcardio.*;

class Readers {
    public static void main(String[] arguments) throws Exception {
        for (Scanner in = new Scanner(System.in); in.hasNextLine();) {
            if (in.nextLine().equals("forget")) {
                var context = Class.forName("sun.security.smartcardio.PCSCTerminals").getDeclaredField("contextId");
                context.setAccessible(true);
                context.setLong(null, 0);
            }
            try {
                var provider = Security.getProvider("SunPCSC").getClass().getDeclaredConstructor().newInstance();
                var factory = TerminalFactory.getInstance("PC/SC", null, (java.security.Provider) provider);
                System.out.println(factory.terminals().list());
            } catch (CardException error) {
                System.out.println(error.getCause().getMessage());
            }
        }
    }
}
SOURCE
javac Readers.java
set -- --add-opens=java.smartcardio/sun.security.smartcardio=ALL-UNNAMED -cp . Readers

start() {
  pcscd --foreground --config "$directory/none" > pcscd.log 2>&1 &
  pcscd=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S /run/pcscd/pcscd.comm ] && break; sleep 0.3; done
}
stop() {
  kill "$pcscd"
  wait "$pcscd" || true
  rm -f /run/pcscd/*
}
failed=0
expect() { # WANTED NAME FOUND
  echo "$2: $3"
  [ "$1" = "$3" ] || { echo "CHANGED: expected $1" >&2; failed=1; }
}
mkfifo asked answered
mkdir none
start
java "$@" < asked > answered &
exec 3> asked 4< answered
ask() { # WORD: what the JVM that was started first says
  echo "$1" >&3
  read -r answer <&4
  echo "$answer"
}
expect SCARD_E_NO_READERS_AVAILABLE "first JVM" "$(ask list)"
stop
expect SCARD_E_NO_SERVICE "first JVM, no pcscd" "$(ask list)"
start
expect SCARD_E_NO_SERVICE "first JVM, pcscd is back" "$(ask list)"
expect SCARD_E_NO_READERS_AVAILABLE "new JVM" "$(echo list | java "$@")"
expect SCARD_E_NO_READERS_AVAILABLE "first JVM, made to forget its context" "$(ask forget)"
exec 3>&-
stop
exit "$failed"
