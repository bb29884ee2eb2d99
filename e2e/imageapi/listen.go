package imageapi

import (
	"fmt"
	"net"
)

// Listen opens a listener on an address, which must be one of loopback: whoever reaches this cluster can have programs
// run on this machine.
func Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("listening on %q: only loopback addresses are allowed", address)
	}
	return net.Listen("tcp", address)
}
