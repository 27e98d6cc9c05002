package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// ApiVersions, versions 0 to 4.
//
//	1 throttle time
//	3 flexible, client name and version (KIP-511), features (KIP-584)
//	4 features whose lowest level is 0 may be listed
//
// The response header is version 0 whatever the version. A version this broker
// does not know is answered in version 0 with UNSUPPORTED_VERSION and the row
// of ApiVersions itself, so that the client can go on (KIP-511).

func (h *handlers) apiVersions(req *wire.Request) wire.Reply {
	if req.VersionUnsupported {
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ErrorCode = errUnsupportedVersion
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: wire.KeyAPIVersions, MinVersion: req.Spec.Min, MaxVersion: req.Spec.Max}}
		return wire.Bytes(resp.AppendTo(nil))
	}
	q := kmsg.NewPtrApiVersionsRequest()
	q.SetVersion(req.Version)
	if len(req.Body) > smallColdBytes {
		return wire.CloseConnection(fmt.Errorf("ApiVersions request of %d bytes, at most %d", len(req.Body), smallColdBytes))
	}
	if err := checkCold(req); err != nil {
		return wire.CloseConnection(fmt.Errorf("malformed ApiVersions request: %w", err))
	}
	if err := q.ReadFrom(req.Body); err != nil {
		return wire.CloseConnection(fmt.Errorf("malformed ApiVersions request: %w", err))
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if req.Version >= 3 {
		if !softwareName(q.ClientSoftwareName) || !softwareName(q.ClientSoftwareVersion) {
			resp.ErrorCode = errInvalidRequest
			return encode(req, resp)
		}
		req.Conn.ClientSoftwareName, req.Conn.ClientSoftwareVersion = q.ClientSoftwareName, q.ClientSoftwareVersion
	}
	for _, s := range h.table.All() {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: s.Key, MinVersion: s.AdvertiseMin, MaxVersion: s.Max})
	}
	h.addFeatures(resp, req.Version)
	return encode(req, resp)
}

// addFeatures lists supported and finalized features. Clients up to version 3
// cannot parse a lowest level of 0, and a finalized level 0 is no level.
func (h *handlers) addFeatures(resp *kmsg.ApiVersionsResponse, version int16) {
	if version < 3 {
		return
	}
	for _, f := range meta.Features() {
		if version <= 3 && f.Min == 0 {
			continue
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{
			Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max})
	}
	im := h.Image()
	resp.FinalizedFeaturesEpoch = im.Offset
	levels := map[string]int16{}
	maps.Copy(levels, im.Features)
	if h.KRaftVersion != nil {
		// Its level stands in a control record, not in the image.
		levels["kraft.version"] = h.KRaftVersion()
	}
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if level := levels[name]; level > 0 {
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{
				Name: name, MinVersionLevel: level, MaxVersionLevel: level})
		}
	}
}

// softwareName is KIP-511's rule [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?.
func softwareName(s string) bool {
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	if s == "" || !plain(s[0]) || !plain(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !plain(s[i]) && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return true
}
