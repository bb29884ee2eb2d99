package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sys/unix"

	"dockline/e2e/attack"
)

// ask asks for an address through every proxy on loopback, as one who does not know its password can: the lines are
// "ASKED STATUS", and "ASKED none" when nothing listens.
func ask(address string) {
	listening, err := attack.Listeners()
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
