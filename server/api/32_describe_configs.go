package api

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeConfigs, versions 1 to 4.
//
//	1 synonyms and the source of a value (KIP-226)
//	3 documentation and types (KIP-569)
//	4 flexible
//
// Topics, groups and client metrics subscriptions have every config described;
// this broker has its own and the static ones, the cluster's default (broker
// resource "") what is set there, and a broker's loggers their levels.

// What is said of a broker that is not this one, where the cluster's default
// could have been meant, and where not.
const (
	brokerOrDefault = "Unexpected broker id, expected %d or empty string, but received %s"
	brokerOnly      = "Unexpected broker id, expected %d, but received %s"
)

func (h *handlers) describeConfigs(req *wire.Request, q *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	im := h.Image()
	type place struct {
		kind kmsg.ConfigResourceType
		name string
	}
	seen := map[place]bool{}
	for i := range q.Resources {
		r := &q.Resources[i]
		// One resource is a few bytes to ask for and a hundred kilobytes to tell:
		// it is told once.
		if seen[place{r.ResourceType, r.ResourceName}] {
			continue
		}
		seen[place{r.ResourceType, r.ResourceName}] = true
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		out.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		none := ""
		out.ErrorMessage = &none
		entries, err := h.configEntries(im, int8(r.ResourceType), r.ResourceName)
		if err != nil {
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
		}
		for j := range entries {
			e := &entries[j]
			if len(r.ConfigNames) > 0 && !slices.Contains(r.ConfigNames, e.Name) {
				continue
			}
			out.Configs = append(out.Configs, configEntry(e, q.IncludeSynonyms, q.IncludeDocumentation))
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func configEntry(e *config.Entry, synonyms, docs bool) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly, c.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	c.Source, c.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	c.IsDefault = e.Source == config.SourceDefault
	c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if synonyms {
		for _, s := range e.Synonyms {
			one := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			one.Name, one.Value, one.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
			c.ConfigSynonyms = append(c.ConfigSynonyms, one)
		}
	}
	if docs {
		c.Documentation = &e.Doc
	}
	return c
}

// ownBroker refuses names of brokers that are not this one.
func (h *handlers) ownBroker(name, unexpected string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return &apiError{errInvalidRequest, "Node id must be an integer, but it is: " + name}
	case int32(id) != h.NodeID:
		return &apiError{errInvalidRequest, fmt.Sprintf(unexpected, h.NodeID, name)}
	}
	return nil
}

// configEntries lists the configs of a resource.
func (h *handlers) configEntries(im *meta.Image, kind int8, name string) ([]config.Entry, error) {
	cluster := im.Configs(meta.ResourceBroker, "")
	own := im.Configs(meta.ResourceBroker, strconv.Itoa(int(h.NodeID)))
	switch kind {
	case meta.ResourceTopic:
		if e := controller.ValidateTopicName(name); e != nil {
			return nil, e
		}
		if im.Topic(name) == nil {
			return nil, &apiError{errUnknownTopicOrPartition, ""}
		}
		return h.Config.TopicEntries(im.Configs(kind, name), own, cluster), nil
	case meta.ResourceBroker:
		if name == "" {
			return h.Config.ClusterEntries(cluster), nil
		}
		if err := h.ownBroker(name, brokerOrDefault); err != nil {
			return nil, err
		}
		return h.Config.BrokerEntries(own, cluster), nil
	case meta.ResourceBrokerLogger:
		if name == "" {
			return nil, &apiError{errInvalidRequest, "Broker id must not be empty"}
		}
		if err := h.ownBroker(name, brokerOnly); err != nil {
			return nil, err
		}
		return h.loggerEntries(), nil
	case meta.ResourceClientMetrics:
		if name == "" {
			return nil, &apiError{errInvalidRequest, "Client metrics subscription name must not be empty"}
		}
		return config.ClientMetricsEntries(im.Configs(kind, name)), nil
	case meta.ResourceGroup:
		if name == "" {
			return nil, &apiError{errInvalidRequest, "Group name must not be empty"}
		}
		return h.Config.GroupEntries(im.Configs(kind, name), own, cluster), nil
	}
	return nil, &apiError{errInvalidRequest, fmt.Sprintf("unsupported resource type: %d", kind)}
}
