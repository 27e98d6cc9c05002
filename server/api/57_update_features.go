package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/wire"
)

// UpdateFeatures, versions 0 to 2 (KIP-584, KIP-778).
//
//	1 upgrade type: upgrade (1), safe downgrade (2), unsafe downgrade (3); dry runs
//	2 no results of single features: all or none
//
// Version 0 knows upgrades only; its AllowDowngrade is ignored, as in Kafka.

const featuresFailed = "The update failed for all features since the following feature had an error: "

func (h *handlers) updateFeatures(req *wire.Request, q *kmsg.UpdateFeaturesRequest) kmsg.Response {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	// Of a feature that is named twice the last update counts.
	at := map[string]int{}
	var updates []controller.FeatureUpdate
	for _, f := range q.FeatureUpdates {
		u := controller.FeatureUpdate{Name: f.Feature, Level: f.MaxVersionLevel, UpgradeType: f.UpgradeType}
		if req.Version < 1 {
			u.UpgradeType = controller.Upgrade
		}
		if i, ok := at[f.Feature]; ok {
			updates[i] = u
			continue
		}
		at[f.Feature] = len(updates)
		updates = append(updates, u)
	}
	if err := h.Controller.UpdateFeatures(updates, req.Version >= 1 && q.ValidateOnly); err != nil {
		failed := featuresFailed
		if m := message(err); m != nil {
			failed += *m
		}
		resp.ErrorCode, resp.ErrorMessage = code(err), &failed
		return resp
	}
	if req.Version <= 1 {
		for _, f := range q.FeatureUpdates {
			r := kmsg.NewUpdateFeaturesResponseResult()
			none := "NONE"
			r.Feature, r.ErrorMessage = f.Feature, &none
			resp.Results = append(resp.Results, r)
		}
	}
	return resp
}
