package sim

import (
	"net"

	"golang.org/x/sys/unix"
)

// reserve keeps an address, on which nobody listens, from being given to anybody who asks for a free port. Connecting to it is
// refused, and who asks for it by name can listen on it.
func reserve(address string) (release func(), err error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	at := a.AddrPort().Addr().Unmap()
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: a.Port, Addr: at.As16()})
	if at.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: at.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, to)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return func() { unix.Close(fd) }, nil
}
