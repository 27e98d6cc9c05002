package api

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeClientQuotas, versions 0 and 1 (KIP-546).
//
//	1 flexible

// Types of a quota entity's parts (ClientQuotaEntity).
const (
	quotaUser    = "user"
	quotaClient  = "client-id"
	quotaAddress = "ip"
)

func (h *handlers) describeClientQuotas(_ *wire.Request, q *kmsg.DescribeClientQuotasRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	if err := checkQuotaFilter(q.Components); err != nil {
		resp.ErrorCode, resp.ErrorMessage = code(err), message(err)
		return resp
	}
	empty := ""
	resp.ErrorMessage = &empty
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	for _, quota := range h.Image().ClientQuotas() {
		if !quotaMatches(quota, q.Components, q.Strict) {
			continue
		}
		out := kmsg.NewDescribeClientQuotasResponseEntry()
		for _, part := range quota.Entity {
			e := kmsg.NewDescribeClientQuotasResponseEntryEntity()
			e.Type, e.Name = part.Type, part.Name
			out.Entity = append(out.Entity, e)
		}
		for _, key := range sortedKeys(quota.Values) {
			v := kmsg.NewDescribeClientQuotasResponseEntryValue()
			v.Key, v.Value = key, quota.Values[key]
			out.Values = append(out.Values, v)
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp
}

// checkQuotaFilter refuses what ClientQuotasImage.describe refuses.
func checkQuotaFilter(filter []kmsg.DescribeClientQuotasRequestComponent) error {
	seen := map[string]bool{}
	for _, c := range filter {
		switch {
		case c.EntityType == "":
			return &apiError{errInvalidRequest, "Invalid empty entity type."}
		case seen[c.EntityType]:
			return &apiError{errInvalidRequest, "Entity type " + c.EntityType + " cannot appear more than once in the filter."}
		case c.EntityType != quotaUser && c.EntityType != quotaClient && c.EntityType != quotaAddress:
			return &apiError{errUnsupportedVersion, "Unsupported entity type " + c.EntityType}
		}
		seen[c.EntityType] = true
		switch c.MatchType {
		case kmsg.QuotasMatchTypeExact:
			if c.Match == nil {
				return &apiError{errInvalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null."}
			}
		case kmsg.QuotasMatchTypeDefault:
			if c.Match != nil {
				return &apiError{errInvalidRequest, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string."}
			}
		case kmsg.QuotasMatchTypeAny:
			if c.Match != nil {
				return &apiError{errInvalidRequest, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."}
			}
		default:
			return &apiError{errInvalidRequest, fmt.Sprint("Unknown match type ", int8(c.MatchType))}
		}
	}
	if seen[quotaAddress] && len(seen) > 1 {
		return &apiError{errInvalidRequest, "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component."}
	}
	return nil
}

// quotaMatches tells whether an entity has every part of a filter, and with strict none beside.
func quotaMatches(q *meta.ClientQuota, filter []kmsg.DescribeClientQuotasRequestComponent, strict bool) bool {
	if strict && len(filter) != len(q.Entity) {
		return false
	}
	for _, c := range filter {
		i := slices.IndexFunc(q.Entity, func(e meta.QuotaEntity) bool { return e.Type == c.EntityType })
		if i < 0 {
			return false
		}
		name := q.Entity[i].Name
		switch c.MatchType {
		case kmsg.QuotasMatchTypeExact:
			if name == nil || *name != *c.Match {
				return false
			}
		case kmsg.QuotasMatchTypeDefault:
			if name != nil {
				return false
			}
		}
	}
	return true
}
