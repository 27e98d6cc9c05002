package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// Listener is one entry of listeners.
type Listener struct {
	// Name is in upper case, as Kafka normalises it.
	Name string
	// Host is empty for every interface.
	Host string
	// Port is 0 when the operating system is to pick one.
	Port int32
	// Protocol is the listener's security protocol: PLAINTEXT for every listener of the broker.
	Protocol string
	// MaxConnections and MaxConnectionCreationRate bound this listener alone (listener.name.<name>.max.connections); without values
	// of its own it has those of the broker. MaxInt32 is no limit.
	MaxConnections, MaxConnectionCreationRate int32
}

// Endpoint is an address told to others. Name is the listener's, or empty where there is none.
type Endpoint struct {
	Name string
	Host string
	Port int32
}

// Addr returns host:port, with brackets around an IPv6 address.
func (e Endpoint) Addr() string { return joinHostPort(e.Host, e.Port) }

// Addr returns host:port as net.Listen takes it.
func (l Listener) Addr() string { return joinHostPort(l.Host, l.Port) }

func joinHostPort(host string, port int32) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

// parseEndpoint reads name://host:port, where the host may be empty and an IPv6 address stands in brackets.
func parseEndpoint(s string) (Endpoint, error) {
	name, rest, ok := strings.Cut(s, "://")
	if !ok || name == "" {
		return Endpoint{}, fmt.Errorf("%q: expected name://host:port", s)
	}
	e, err := parseHostPort(rest)
	if err != nil {
		return Endpoint{}, err
	}
	e.Name = strings.ToUpper(name)
	return e, nil
}

func parseHostPort(s string) (Endpoint, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return Endpoint{}, fmt.Errorf("%q: expected host:port", s)
	}
	host := s[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return Endpoint{}, fmt.Errorf("%q: expected brackets around an IPv6 address", s)
	}
	for i := 0; i < len(host); i++ {
		switch c := host[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("-%._:", c) >= 0:
		default:
			return Endpoint{}, fmt.Errorf("%q: expected a host name or address before the port", s)
		}
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q: expected a port from 0 to 65535 after the last colon", s)
	}
	return Endpoint{Host: host, Port: int32(port)}, nil
}

// protocols parses listener.security.protocol.map.
func (c *Config) protocols() (map[string]string, error) {
	const name = "listener.security.protocol.map"
	out := map[string]string{}
	for _, item := range splitList(c.String(name)) {
		listener, protocol, ok := strings.Cut(item, ":")
		protocol = strings.ToUpper(javaTrim(protocol))
		listener = strings.ToUpper(javaTrim(listener))
		if !ok || listener == "" {
			return nil, c.static.valueErrorf(name, "expected name:protocol pairs, found %q", item)
		}
		switch protocol {
		case "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL":
		default:
			return nil, c.static.valueErrorf(name, "expected PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL for listener %s, found %q", listener, protocol)
		}
		out[listener] = protocol
	}
	return out, nil
}

// noLimit is Kafka's way to say that a count of connections is not limited.
const noLimit = math.MaxInt32

// listenerLimits reads the limits of a listener: its own or, where it has none, those of the broker.
func (c *Config) listenerLimits(l *Listener) {
	prefix := listenerPrefix + strings.ToLower(l.Name) + "."
	read := func(name string) int32 {
		if v, ok := c.raw(prefix + name); ok {
			if n, err := strconv.ParseInt(javaTrim(v), 10, 32); err == nil {
				return int32(n)
			}
		}
		return c.int32(name)
	}
	l.MaxConnections, l.MaxConnectionCreationRate = read("max.connections"), read("max.connection.creation.rate")
}

// buildListeners reads listeners, advertised.listeners and what belongs to them (SocketServerConfigs, KafkaConfig).
func (c *Config) buildListeners() error {
	protocols, err := c.protocols()
	if err != nil {
		return err
	}
	controller := map[string]bool{}
	for _, name := range c.List("controller.listener.names") {
		name = strings.ToUpper(name)
		controller[name] = true
		if _, ok := protocols[name]; !ok && !c.IsSet("listener.security.protocol.map") {
			protocols[name] = "PLAINTEXT"
		}
	}
	if err := c.parseListeners(protocols, controller); err != nil {
		return err
	}
	if err := c.advertise(controller); err != nil {
		return err
	}
	c.InterBrokerListener = strings.ToUpper(c.String("inter.broker.listener.name"))
	switch set := c.IsSet("inter.broker.listener.name"); {
	case set && c.IsSet("security.inter.broker.protocol"):
		return c.static.errorf("inter.broker.listener.name", "expected either this or security.inter.broker.protocol, not both")
	case set:
		for _, l := range c.Listeners {
			if l.Name == c.InterBrokerListener {
				return nil
			}
		}
		return c.static.valueErrorf("inter.broker.listener.name", "expected the name of one of the broker's listeners")
	}
	c.InterBrokerListener = c.Listeners[0].Name
	for _, l := range c.Listeners {
		if l.Name == "PLAINTEXT" {
			c.InterBrokerListener = l.Name
		}
	}
	return nil
}

func (c *Config) parseListeners(protocols map[string]string, controller map[string]bool) error {
	where := "listeners"
	var all []Listener
	for _, item := range c.List(where) {
		e, err := parseEndpoint(item)
		if err != nil {
			return c.listenerError(where, "%v", err)
		}
		for _, other := range all {
			if other.Name == e.Name {
				return c.listenerError(where, "listener %s is named twice", e.Name)
			}
			if other.Port == e.Port && e.Port != 0 && !bothFamilies(other.Host, e.Host) {
				return c.listenerError(where, "listeners %s and %s have the same port %d", other.Name, e.Name, e.Port)
			}
		}
		protocol, ok := protocols[e.Name]
		if !ok {
			return c.listenerError(where, "listener %s has no security protocol; add it to listener.security.protocol.map", e.Name)
		}
		all = append(all, Listener{Name: e.Name, Host: e.Host, Port: e.Port, Protocol: protocol})
	}
	for _, l := range all {
		c.listenerLimits(&l)
		if controller[l.Name] {
			c.ControllerListeners = append(c.ControllerListeners, l)
			if l.Protocol == "PLAINTEXT" {
				c.OpenControllerListeners = append(c.OpenControllerListeners, l)
			} else {
				// Nobody but tools needs it, so a directory of a broker that was more careful can still be taken over.
				c.Warnings = append(c.Warnings, fmt.Sprintf("listener %s of the controller asks for %s, and this broker speaks PLAINTEXT only: it is not opened", l.Name, l.Protocol))
			}
			continue
		}
		if l.Protocol != "PLAINTEXT" {
			return c.listenerError(where, "listener %s asks for %s, and this broker speaks PLAINTEXT only; map the listener to PLAINTEXT or remove it", l.Name, l.Protocol)
		}
		c.Listeners = append(c.Listeners, l)
	}
	if len(c.Listeners) == 0 {
		return c.listenerError(where, "expected a listener for clients beside those of controller.listener.names")
	}
	if len(c.ControllerListeners) == 0 {
		// The metadata log names an address of the controller even when nobody listens there.
		names := c.List("controller.listener.names")
		c.ControllerListeners = []Listener{{Name: strings.ToUpper(names[0]), Host: "localhost", Port: 9093, Protocol: "PLAINTEXT",
			MaxConnections: noLimit, MaxConnectionCreationRate: noLimit}}
	}
	return nil
}

func (c *Config) listenerError(name, format string, args ...any) error {
	if !c.static.has(name) {
		return c.static.errorf(name, format, args...)
	}
	return c.static.valueErrorf(name, format, args...)
}

// bothFamilies allows one port for an IPv4 and an IPv6 address.
func bothFamilies(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Is4() != y.Is4()
}

// advertise decides what clients are told. Without advertised.listeners that is listeners. An empty host becomes the
// machine's name, as in Kafka, though without Kafka's question to DNS for the canonical form of it; a broker without a
// file says localhost, which works on the machine where somebody tries it out.
func (c *Config) advertise(controller map[string]bool) error {
	name := "advertised.listeners"
	for _, l := range c.ControllerListeners {
		e := Endpoint{Name: l.Name, Host: l.Host, Port: l.Port}
		if a, err := netip.ParseAddr(e.Host); err == nil && a.IsUnspecified() {
			e.Host = ""
		}
		c.ControllerAdvertised = append(c.ControllerAdvertised, e)
	}
	var list []Endpoint
	if c.IsSet(name) {
		for _, item := range c.List(name) {
			e, err := parseEndpoint(item)
			if err != nil {
				return c.listenerError(name, "%v", err)
			}
			for _, other := range list {
				if other.Name == e.Name {
					return c.listenerError(name, "listener %s is named twice", e.Name)
				}
			}
			if controller[e.Name] {
				for i := range c.ControllerAdvertised {
					if c.ControllerAdvertised[i].Name == e.Name {
						c.ControllerAdvertised[i] = e
					}
				}
				continue
			}
			if !c.hasListener(e.Name) {
				return c.listenerError(name, "listener %s is not in listeners", e.Name)
			}
			list = append(list, e)
		}
	} else {
		name = "listeners"
		for _, l := range c.Listeners {
			list = append(list, Endpoint{Name: l.Name, Host: l.Host, Port: l.Port})
		}
	}
	if len(list) == 0 {
		return c.listenerError(name, "expected at least one listener of the broker")
	}
	for _, all := range [][]Endpoint{c.ControllerAdvertised, list} {
		for i := range all {
			e := &all[i]
			if a, err := netip.ParseAddr(e.Host); err == nil && a.IsUnspecified() {
				return c.listenerError(name, "clients cannot connect to %s; set advertised.listeners to a name or address of this machine", e.Host)
			}
			if e.Host == "" {
				e.Host = c.ownHost()
			}
		}
	}
	c.Advertised = list
	return nil
}

// ownHost is the host that others are told where none is written.
func (c *Config) ownHost() string {
	if !c.localOnly {
		if host, err := c.hostname(); err == nil && host != "" {
			return host
		}
	}
	return "localhost"
}

func (c *Config) hasListener(name string) bool {
	for _, l := range c.Listeners {
		if l.Name == name {
			return true
		}
	}
	return false
}
