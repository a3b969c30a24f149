// Hosts a small card in a slot of Kazashi's reader driver (docs/driver.md): go run ./hostcard DIRECTORY/SLOT
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

const (
	hello, powerUp, powerDown, reset, transmit, protocol, settled = 0, 1, 2, 3, 4, 8, 9
	reply, done, unsupported, version, present                    = 0x80, 0, 4, 1, 1
)

var (
	atr      = []byte{0x3B, 0x80, 0x01, 0x81} // T=1, no historical bytes
	aid      = []byte{0xF0, 'K', 'A', 'Z', 'A', 'S', 'H', 'I'}
	contents = []byte("Hello from Go")
)

func card(command []byte) []byte {
	switch {
	case len(command) > 5 && command[1] == 0xA4 && bytes.HasPrefix(command[5:], aid):
		return []byte{0x90, 0x00}
	case len(command) > 4 && command[1] == 0xB0 && int(command[2])<<8|int(command[3]) <= len(contents):
		rest := contents[int(command[2])<<8|int(command[3]):]
		if le := int(command[4]); le > 0 && le < len(rest) { // Le 00 is 256
			rest = rest[:le]
		}
		return append(append([]byte{}, rest...), 0x90, 0x00)
	case len(command) > 1 && command[1] == 0xA4:
		return []byte{0x6A, 0x82}
	}
	return []byte{0x6D, 0x00}
}

func answer(kind byte, body []byte) []byte {
	switch kind {
	case hello:
		return []byte{hello, version, present}
	case powerUp, reset:
		return append([]byte{reply, done}, atr...)
	case powerDown, protocol:
		return []byte{reply, done}
	case transmit:
		return append([]byte{reply, done}, card(body[1:])...)
	case settled:
		return nil
	}
	return []byte{reply, unsupported}
}

func serve(driver net.Conn) {
	defer driver.Close()
	for head := make([]byte, 4); ; {
		if _, err := io.ReadFull(driver, head); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint32(head))
		if _, err := io.ReadFull(driver, message); err != nil {
			return
		}
		if out := answer(message[0], message[1:]); out != nil {
			driver.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(out))), out...))
		}
	}
}

func main() {
	os.Remove(os.Args[1])
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the card is in the reader")
	for {
		driver, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(driver)
	}
}
