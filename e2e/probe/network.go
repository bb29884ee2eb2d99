package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ask asks for an address through every proxy on loopback, as one who does not know its password can: the lines are
// "ASKED STATUS", and "ASKED none" when nothing listens.
func ask(address string) {
	listening, err := listeners()
	if err != nil {
		fail(err)
	}
	for _, proxy := range listening {
		for _, user := range []*url.Userinfo{nil, url.User("build"), url.UserPassword("build", "wrong")} {
			through := &url.URL{Scheme: "http", Host: proxy, User: user}
			client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through)}, Timeout: 10 * time.Second}
			answer, err := client.Get(address)
			if err != nil {
				fmt.Println("ASKED", err)
				continue
			}
			_ = answer.Body.Close()
			fmt.Println("ASKED", answer.StatusCode)
		}
	}
	if len(listening) == 0 {
		fmt.Println("ASKED none")
	}
}

// listeners reads which ports of loopback are listened on (proc_pid_net(5)).
func listeners() ([]string, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		const listen = "0A"
		if len(fields) < 4 || fields[3] != listen {
			continue
		}
		ip, port, _ := strings.Cut(fields[1], ":")
		number, err := strconv.ParseUint(port, 16, 16)
		if err != nil {
			return nil, err
		}
		if bytes, err := hex.DecodeString(ip); err == nil && len(bytes) == 4 && bytes[3] == 127 { // in the machine's order
			found = append(found, net.JoinHostPort("127.0.0.1", strconv.FormatUint(number, 10)))
		}
	}
	return found, nil
}

// openRaw says of each kind of socket that reads others' packets whether it can be had.
func openRaw() {
	const everything = 0x0300 // ETH_P_ALL in network order
	for name, kind := range map[string][3]int{
		"packet": {unix.AF_PACKET, unix.SOCK_RAW, everything}, "tcp": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP},
	} {
		socket, err := unix.Socket(kind[0], kind[1], kind[2])
		if err != nil {
			fmt.Println("REFUSED", name, err)
			continue
		}
		_ = unix.Close(socket)
		fmt.Println("OPENED", name)
	}
}
