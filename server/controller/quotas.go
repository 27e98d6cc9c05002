package controller

import (
	"math"
	"net/netip"

	"github.com/gregor-broker/gregor/server/meta"
)

// QuotaOp sets or removes one quota value.
type QuotaOp struct {
	Key    string
	Value  float64
	Remove bool
}

// QuotaAlteration is an entity of an AlterClientQuotas request.
type QuotaAlteration struct {
	Entity []meta.QuotaEntity
	Ops    []QuotaOp
}

// quotaKind is how a quota value is checked: the largest value allowed, and whether it must be whole.
type quotaKind struct {
	most  float64
	whole bool
}

var (
	clientQuotas = map[string]quotaKind{ // QuotaConfig.userAndClientQuotaConfigs
		"producer_byte_rate":       {math.MaxInt64, true},
		"consumer_byte_rate":       {math.MaxInt64, true},
		"request_percentage":       {math.MaxFloat64, false},
		"controller_mutation_rate": {math.MaxFloat64, false},
	}
	addressQuotas = map[string]quotaKind{ // QuotaConfig.ipConfigs
		"connection_creation_rate": {math.MaxInt32, true},
	}
)

// QuotaResult is the answer for one entity, whose parts are sorted by type.
type QuotaResult struct {
	Entity []meta.QuotaEntity
	Err    *Error // nil: done
}

// AlterClientQuotas changes client quotas and answers each entity once, in the order of the request. Of a part that an entity has
// twice the last one counts. With validateOnly it changes nothing.
func (k *Controller) AlterClientQuotas(list []QuotaAlteration, validateOnly bool) ([]QuotaResult, error) {
	var results []QuotaResult
	err := k.Change(func(im *meta.Image) (records []meta.Record, err error) {
		results = nil
		at := map[string]int{}
		for i := range list {
			a := QuotaAlteration{meta.SortedEntity(list[i].Entity), list[i].Ops}
			name := entityName(a.Entity)
			if j, ok := at[name]; ok {
				// What was decided for the first one stays, as in Kafka.
				results[j].Err = &Error{CodeInvalidRequest, "Ignoring duplicate entity " + name}
				continue
			}
			at[name] = len(results)
			made, e := alterQuotas(im, &a)
			results = append(results, QuotaResult{a.Entity, e})
			records = append(records, made...)
		}
		if validateOnly {
			records = nil
		}
		return records, nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// entityName tells entities apart, in the words of ClientQuotaEntity.toString.
func entityName(entity []meta.QuotaEntity) string {
	name := "ClientQuotaEntity(entries={"
	for i, e := range entity {
		if i > 0 {
			name += ", "
		}
		value := "null"
		if e.Name != nil {
			value = *e.Name
		}
		name += e.Type + "=" + value
	}
	return name + "})"
}

func alterQuotas(im *meta.Image, a *QuotaAlteration) ([]meta.Record, *Error) {
	seen := map[string]bool{}
	for _, op := range a.Ops {
		if seen[op.Key] {
			return nil, &Error{CodeInvalidRequest, "Ignoring duplicate entity " + entityName(a.Entity)}
		}
		seen[op.Key] = true
	}
	keys, e := quotaKeys(a.Entity)
	if e != nil {
		return nil, e
	}
	var values map[string]float64
	if q := im.ClientQuota(a.Entity...); q != nil {
		values = q.Values
	}
	var records []meta.Record
	for _, op := range a.Ops {
		current, had := values[op.Key]
		if op.Remove {
			if had {
				records = append(records, &meta.ClientQuotaRecord{Entity: a.Entity, QuotaKey: op.Key, Remove: true})
			}
			continue
		}
		if e := checkQuota(keys, &op); e != nil {
			return nil, e
		}
		if !had || current != op.Value {
			records = append(records, &meta.ClientQuotaRecord{Entity: a.Entity, QuotaKey: op.Key, Value: op.Value})
		}
	}
	return records, nil
}

// quotaKeys checks the entity and returns the quotas it may have.
func quotaKeys(entity []meta.QuotaEntity) (map[string]quotaKind, *Error) {
	if len(entity) == 0 {
		return nil, &Error{CodeInvalidRequest, "Invalid empty client quota entity"}
	}
	names := map[string]*string{}
	for _, e := range entity {
		if e.Type != "user" && e.Type != "client-id" && e.Type != "ip" {
			return nil, &Error{CodeInvalidRequest, "Unhandled client quota entity type: " + e.Type}
		}
		if e.Name != nil && *e.Name == "" {
			return nil, &Error{CodeInvalidRequest, "Empty " + e.Type + " not supported"}
		}
		names[e.Type] = e.Name
	}
	address, ok := names["ip"]
	if !ok {
		return clientQuotas, nil
	}
	if len(names) > 1 {
		return nil, &Error{CodeInvalidRequest, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId"}
	}
	if address != nil {
		if _, err := netip.ParseAddr(*address); err != nil && *address != "localhost" {
			return nil, &Error{CodeInvalidRequest, *address + " is not a valid IP or resolvable host."}
		}
	}
	return addressQuotas, nil
}

func checkQuota(keys map[string]quotaKind, op *QuotaOp) *Error {
	kind, ok := keys[op.Key]
	switch {
	case !ok:
		return &Error{CodeInvalidRequest, "Invalid configuration key " + op.Key}
	case !(op.Value > 0):
		return &Error{CodeInvalidRequest, "Quota " + op.Key + " must be greater than 0"}
	case op.Value > kind.most && kind.most == math.MaxInt32:
		return &Error{CodeInvalidRequest, "Proposed value for " + op.Key + " is too large for an INT."}
	case op.Value > kind.most:
		return &Error{CodeInvalidRequest, "Proposed value for " + op.Key + " is too large for a LONG."}
	case kind.whole && math.Abs(math.Mod(op.Value, 1)) > 1e-6:
		return &Error{CodeInvalidRequest, op.Key + " cannot be a fractional value."}
	}
	return nil
}
