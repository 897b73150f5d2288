package wire

import (
	"bytes"
	"net/netip"
	"strings"
)

// maxHead is how much of a URL is read to find its host: a scheme, a host name of at most 253 bytes, a port.
const maxHead = 512

// hostOf returns the host that a provider would contact for a URL, in lower case, without port and final dot; "" for a
// data: URL. Everything that two URL parsers could read as different hosts is a problem instead: the message says what
// was found and what it should be.
//
// head is the beginning of the URL, at least maxHead bytes where it is longer.
func hostOf(head []byte) (host, problem string) {
	rest, ok := cutScheme(head, "https://")
	if !ok {
		rest, ok = cutScheme(head, "http://")
	}
	if !ok {
		if _, ok := cutScheme(head, "data:"); ok {
			return "", ""
		}
		return "", "found a string that is no URL; it should be an https://, http:// or data: URL"
	}
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	name, port := authority, []byte(nil)
	bracket := 0
	if bytes.HasPrefix(authority, []byte("[")) {
		if bracket = bytes.IndexByte(authority, ']'); bracket < 0 {
			return "", notIPv6
		}
		name, port = authority[:bracket+1], authority[bracket+1:]
	} else if i := bytes.IndexByte(authority, ':'); i >= 0 {
		name, port = authority[:i], authority[i:]
	}
	if len(port) > 0 && !only(port[1:], "0123456789") || len(port) > 6 || len(port) > 0 && port[0] != ':' {
		return "", "found an unclear port in the URL; it should be a colon and up to five digits"
	}
	if name = bytes.TrimSuffix(name, []byte(".")); len(name) == 0 {
		return "", "found a URL without a host; it should name one"
	}
	if len(name) > 253 {
		return "", "found a URL whose host is longer than 253 bytes; it should be a host name"
	}
	if bracket > 0 {
		// Without a zone: that is a network interface of whoever reads it.
		addr, err := netip.ParseAddr(string(name[1:bracket]))
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", notIPv6
		}
		return "[" + addr.String() + "]", ""
	}
	if !only(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") || name[0] == '.' || bytes.Contains(name, []byte("..")) || bytes.HasSuffix(name, []byte(".")) {
		return "", "found a URL whose host parsers may read differently; it should be labels of letters, digits, '-' and '_' with dots between them, and no user name (write international names as xn--…)"
	}
	host = string(bytes.ToLower(name))
	// Browsers read 0x7f.1, 127.1 and 2130706433 as 127.0.0.1, other parsers as a name.
	if last := host[strings.LastIndexByte(host, '.')+1:]; only([]byte(last), "0123456789") || strings.HasPrefix(last, "0x") && only([]byte(last[2:]), "0123456789abcdef") {
		if addr, err := netip.ParseAddr(host); err != nil || !addr.Is4() {
			return "", "found an unclear host in the URL; an IPv4 address should be four decimal numbers"
		}
	}
	return host, ""
}

const notIPv6 = "found an unclear host in the URL; it should be an IPv6 address in brackets"

func cutScheme(url []byte, scheme string) ([]byte, bool) {
	if len(url) < len(scheme) || !bytes.EqualFold(url[:len(scheme)], []byte(scheme)) {
		return nil, false
	}
	return url[len(scheme):], true
}

func only(b []byte, chars string) bool {
	return len(bytes.Trim(b, chars)) == 0
}
