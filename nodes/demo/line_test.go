package demo

import (
	"io"
	"net"
	"testing"
)

// echo answers each connection with what it says.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

// says sends a word over a connection and reads it back.
func says(conn net.Conn) error {
	_, err := conn.Write([]byte("word"))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 4))
	return err
}

func TestALineIsCutAndMended(t *testing.T) {
	l, err := lay(t.Context(), echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.cut() })
	open, err := net.Dial("tcp", l.public)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	err = says(open)
	if err != nil {
		t.Fatalf("the line carries nothing: %v", err)
	}
	for range 2 { // the second time changes nothing
		err = l.cut()
		if err != nil {
			t.Fatal(err)
		}
	}
	if says(open) == nil {
		t.Error("an open connection outlives the cut")
	}
	_, err = net.Dial("tcp", l.public)
	if err == nil {
		t.Error("a line that is cut takes a connection")
	}
	err = l.mend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := net.Dial("tcp", l.public)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	err = says(again)
	if err != nil {
		t.Errorf("the mended line carries nothing: %v", err)
	}
}
