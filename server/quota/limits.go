package quota

import (
	"net/netip"

	"github.com/gregor-broker/gregor/server/meta"
)

// Kind is what is measured of clients.
type Kind uint8

// The quotas of users and client ids.
const (
	Produce  Kind = iota // producer_byte_rate: bytes of Produce requests a second
	Fetch                // consumer_byte_rate: bytes of Fetch responses a second
	Request              // request_percentage: share of the time of one request handler, in percent
	Mutation             // controller_mutation_rate: partitions created and deleted a second

	kinds
)

var kindKeys = [kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"}

const addressKey = "connection_creation_rate"

// scope names a part of an entity: nobody's, a name's, or the default's.
type scope struct {
	set, named bool
	name       string
}

func the(name string) scope { return scope{true, true, name} }

var others = scope{set: true}

// entity is what a quota is set on.
type entity struct{ user, client scope }

// Which shapes of entities have a quota (ClientQuotaManager's quotaTypesEnabled).
const (
	clientQuotas uint8 = 1 << iota
	userQuotas
	userClientQuotas
)

// limits are the quotas of one image. It never changes.
type limits struct {
	clients [kinds]struct {
		shapes uint8
		by     map[entity]float64
	}
	hasAddresses bool
	addresses    map[netip.Addr]float64
	anyAddress   float64 // 0: none
}

// newLimits reads the quotas of an image; nil when there are none.
func newLimits(im *meta.Image) *limits {
	l := &limits{}
	found := false
	for _, q := range im.ClientQuotas() {
		var e entity
		address, isAddress := scope{}, false
		for _, part := range q.Entity {
			s := others
			if part.Name != nil {
				s = the(*part.Name)
			}
			switch part.Type {
			case "user":
				e.user = s
			case "client-id":
				e.client = s
			case "ip":
				address, isAddress = s, true
			}
		}
		if isAddress {
			if rate, ok := q.Values[addressKey]; ok {
				found = l.setAddress(address, rate) || found
			}
			continue
		}
		for kind, key := range kindKeys {
			if value, ok := q.Values[key]; ok {
				l.set(Kind(kind), e, value)
				found = true
			}
		}
	}
	if !found {
		return nil
	}
	return l
}

func (l *limits) set(kind Kind, e entity, value float64) {
	c := &l.clients[kind]
	if c.by == nil {
		c.by = map[entity]float64{}
	}
	c.by[e] = value
	switch {
	case e.user.set && e.client.set:
		c.shapes |= userClientQuotas
	case e.user.set:
		c.shapes |= userQuotas
	default:
		c.shapes |= clientQuotas
	}
}

func (l *limits) setAddress(s scope, rate float64) bool {
	if !s.named {
		l.anyAddress, l.hasAddresses = rate, true
		return true
	}
	name := s.name
	if name == "localhost" {
		name = "127.0.0.1"
	}
	address, err := netip.ParseAddr(name)
	if err != nil {
		return false // a name that another broker could resolve
	}
	if l.addresses == nil {
		l.addresses = map[netip.Addr]float64{}
	}
	l.addresses[address.Unmap()], l.hasAddresses = rate, true
	return true
}

// address is the limit of new connections a second; 0 for none.
func (l *limits) address(a netip.Addr) float64 {
	if rate, ok := l.addresses[a]; ok {
		return rate
	}
	return l.anyAddress
}

// find says whose meter a client's use is counted on, by user, client id or both, and the limit of that meter; 0 for none
// (DefaultQuotaCallback.quotaMetricTags and quotaLimit).
func (l *limits) find(kind Kind, user, client string) (meterUser, meterClient string, limit float64) {
	c := &l.clients[kind]
	look := func(u, cl scope) bool {
		value, ok := c.by[entity{u, cl}]
		if ok {
			limit = value
		}
		return ok
	}
	none := scope{}
	switch c.shapes {
	case 0:
		return "", "", 0
	case clientQuotas:
		meterClient = client
	case userQuotas:
		meterUser = user
	case userClientQuotas:
		meterUser, meterClient = user, client
	default:
		switch {
		case look(the(user), the(client)), look(the(user), others):
			return user, client, limit
		case look(the(user), none):
			return user, "", limit
		case look(others, the(client)), look(others, others):
			return user, client, limit
		case look(others, none):
			return user, "", limit
		}
		meterClient = client
	}
	switch {
	case meterUser != "" && meterClient != "":
		_ = look(the(user), the(client)) || look(the(user), others) || look(others, the(client)) || look(others, others)
	case meterUser != "":
		_ = look(the(user), none) || look(others, none)
	case meterClient != "":
		_ = look(none, the(client)) || look(none, others)
	}
	return meterUser, meterClient, limit
}
