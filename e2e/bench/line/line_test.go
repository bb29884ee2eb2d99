package line_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"dockline/e2e/bench/line"
)

const oneWay = 20 * time.Millisecond

// echo says all back that it is told.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				_, _ = io.Copy(connection, connection)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestALineDelaysAndLosesNothing(t *testing.T) {
	t.Parallel()
	long, err := line.Listen(echo(t), oneWay, line.Window)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	said := make([]byte, 8<<20)
	_, _ = rand.Read(said)
	started := time.Now()
	connection, err := net.Dial("tcp", long.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	go func() {
		_, _ = connection.Write(said)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	first := make([]byte, 1)
	if _, err := io.ReadFull(connection, first); err != nil {
		t.Fatal(err)
	}
	// One round trip to connect, one to say it and hear it.
	if took := time.Since(started); took < 4*oneWay {
		t.Errorf("the first byte was back after %s, sooner than two round trips", took)
	}
	heard, err := io.ReadAll(connection)
	if err != nil || !bytes.Equal(said, append(first, heard...)) {
		t.Errorf("heard %d of %d bytes, or others: %v", len(heard)+1, len(said), err)
	}
}

func TestAnOpenLineCostsOneRoundTripEach(t *testing.T) {
	t.Parallel()
	long, err := line.Listen(echo(t), oneWay, line.Window)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	started := time.Now() // opening the connection is a part of it
	connection, err := net.Dial("tcp", long.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	word := make([]byte, 4)
	const times = 10
	for range times {
		if _, err := connection.Write(word); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(connection, word); err != nil {
			t.Fatal(err)
		}
	}
	least := (times + 1) * 2 * oneWay
	if took := time.Since(started); took < least || took > 10*least {
		t.Errorf("%d words there and back took %s, want some %s", times, took, least)
	}
}

func TestWhereALineLeadsCanChange(t *testing.T) {
	t.Parallel()
	long, err := line.Listen("127.0.0.1:1", 0, line.Window) // nobody is there
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	long.Aim(echo(t))
	connection, err := net.Dial("tcp", long.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	word := []byte("word")
	if _, err := connection.Write(word); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(connection, word); err != nil || string(word) != "word" {
		t.Errorf("heard %q: %v", word, err)
	}
}
