package controller

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/server/meta"
)

// Operations of IncrementalAlterConfigs (AlterConfigOp.OpType).
const (
	OpSet      int8 = 0
	OpDelete   int8 = 1
	OpAppend   int8 = 2
	OpSubtract int8 = 3
)

const (
	minInSyncReplicas = "min.insync.replicas"
	cordonedLogDirs   = "cordoned.log.dirs"

	cordonedVersion int16 = 30 // 4.3-IV0
)

// ConfigOp is one operation on one config.
type ConfigOp struct {
	Name  string
	Op    int8
	Value *string // may be null for OpDelete only
}

// ConfigChange is a resource of an IncrementalAlterConfigs request.
type ConfigChange struct {
	Resource meta.ConfigResource
	Ops      []ConfigOp
}

// ConfigReplacement is a resource of an AlterConfigs request: what it does not name is removed.
type ConfigReplacement struct {
	Resource meta.ConfigResource
	Configs  []TopicConfig
}

// ConfigResult is the answer for one resource.
type ConfigResult struct {
	Resource meta.ConfigResource
	Err      *Error // nil: done
}

// IncrementalAlterConfigs changes configs of topics, brokers (name "" is the cluster's default), groups and client metrics, and
// answers each resource in the order of the request. With validateOnly it changes nothing.
func (k *Controller) IncrementalAlterConfigs(changes []ConfigChange, validateOnly bool) ([]ConfigResult, error) {
	return k.alterConfigs(len(changes), validateOnly,
		func(i int) meta.ConfigResource { return changes[i].Resource },
		func(im *meta.Image, i int) ([]meta.Record, *Error) {
			if e := CheckConfigOps(changes[i].Ops); e != nil {
				return nil, e
			}
			return k.alterResource(im, changes[i].Resource, changes[i].Ops, false)
		})
}

// AlterConfigs replaces all configs of each resource, as the older request does.
func (k *Controller) AlterConfigs(changes []ConfigReplacement, validateOnly bool) ([]ConfigResult, error) {
	return k.alterConfigs(len(changes), validateOnly,
		func(i int) meta.ConfigResource { return changes[i].Resource },
		func(im *meta.Image, i int) ([]meta.Record, *Error) {
			ops := make([]ConfigOp, 0, len(changes[i].Configs))
			for _, c := range changes[i].Configs {
				ops = append(ops, ConfigOp{Name: c.Name, Op: OpSet, Value: c.Value})
			}
			if e := CheckConfigOps(ops); e != nil {
				return nil, e
			}
			return k.replaceResource(im, changes[i].Resource, ops)
		})
}

func (k *Controller) alterConfigs(n int, validateOnly bool, resource func(i int) meta.ConfigResource,
	alter func(im *meta.Image, i int) ([]meta.Record, *Error)) ([]ConfigResult, error) {
	var results []ConfigResult
	err := k.Change(func(im *meta.Image) (records []meta.Record, err error) {
		results = make([]ConfigResult, n)
		count := map[meta.ConfigResource]int{}
		for i := range n {
			count[resource(i)]++
		}
		for i := range n {
			r := resource(i)
			results[i].Resource = r
			if count[r] > 1 {
				results[i].Err = &Error{CodeInvalidRequest, "Each resource must appear at most once."}
				continue
			}
			made, e := alter(im, i)
			results[i].Err = e
			records = append(records, made...)
		}
		if validateOnly {
			return nil, nil
		}
		return append(records, clearElr(im, records)...), nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// CheckConfigOps makes the checks that brokers make before they look at a resource (ConfigAdminManager.preprocess).
func CheckConfigOps(ops []ConfigOp) *Error {
	seen := map[string]bool{}
	var null []string
	for _, op := range ops {
		if seen[op.Name] {
			return &Error{CodeInvalidRequest, "Error due to duplicate config keys"}
		}
		seen[op.Name] = true
		if op.Value == nil && op.Op != OpDelete {
			null = append(null, op.Name)
		}
	}
	if len(null) > 0 {
		return &Error{CodeInvalidRequest, "Null value not supported for : " + strings.Join(null, ", ")}
	}
	for _, op := range ops {
		if op.Op < OpSet || op.Op > OpSubtract {
			return errorf(CodeInvalidRequest, "Unknown operations type %d", op.Op)
		}
	}
	return nil
}

func (k *Controller) alterResource(im *meta.Image, r meta.ConfigResource, ops []ConfigOp, created bool) ([]meta.Record, *Error) {
	current := im.Configs(r.Type, r.Name)
	var records []*meta.ConfigRecord
	for _, op := range ops {
		before, had := current[op.Name]
		value := op.Value
		switch op.Op {
		case OpDelete:
			value = nil
		case OpAppend, OpSubtract:
			if k.c.IsList == nil || !k.c.IsList(r.Type, op.Name) {
				return nil, errorf(CodeInvalidConfig, "Can't %s to key %s because its type is not LIST.", [...]string{"SET", "DELETE", "APPEND", "SUBTRACT"}[op.Op], op.Name)
			}
			list := k.listValue(r.Type, op.Name, before, had)
			for _, part := range javaSplit(*op.Value) {
				i := slices.Index(list, part)
				switch {
				case op.Op == OpAppend && i < 0:
					list = append(list, part)
				case op.Op == OpSubtract && i >= 0:
					list = slices.Delete(list, i, i+1)
				}
			}
			joined := strings.Join(list, ",")
			value = &joined
		}
		unchanged := value == nil && !had || value != nil && had && *value == before
		if !unchanged || r.Type == meta.ResourceBroker {
			records = append(records, &meta.ConfigRecord{ResourceType: r.Type, ResourceName: r.Name, Name: op.Name, Value: value})
		}
	}
	return k.checkAltered(im, r, current, records, nil, created)
}

func (k *Controller) replaceResource(im *meta.Image, r meta.ConfigResource, ops []ConfigOp) ([]meta.Record, *Error) {
	current := im.Configs(r.Type, r.Name)
	named := map[string]bool{}
	var altered, removed []*meta.ConfigRecord
	for _, op := range ops {
		named[op.Name] = true
		if before, had := current[op.Name]; !had || before != *op.Value || r.Type == meta.ResourceBroker {
			altered = append(altered, &meta.ConfigRecord{ResourceType: r.Type, ResourceName: r.Name, Name: op.Name, Value: op.Value})
		}
	}
	for _, name := range sortedKeys(current) {
		if !named[name] {
			removed = append(removed, &meta.ConfigRecord{ResourceType: r.Type, ResourceName: r.Name, Name: name})
		}
	}
	return k.checkAltered(im, r, current, altered, removed, false)
}

// listValue returns the parts of a list config, of its default where it has no override.
func (k *Controller) listValue(resourceType int8, name, value string, has bool) []string {
	if !has && k.c.Default != nil {
		value, _ = k.c.Default(resourceType, name)
	}
	return slices.DeleteFunc(strings.Split(value, ","), func(s string) bool { return s == "" })
}

// javaSplit is String.split(","): empty strings at the end are dropped, the empty string is one part.
func javaSplit(s string) []string {
	parts := strings.Split(s, ",")
	for len(parts) > 1 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}

// checkAltered validates what a resource would have after the records (ConfigurationControlManager.validateAlterConfig).
func (k *Controller) checkAltered(im *meta.Image, r meta.ConfigResource, current map[string]string, altered, removed []*meta.ConfigRecord, created bool) ([]meta.Record, *Error) {
	values := make(map[string]string, len(current)+len(altered))
	for name, value := range current {
		values[name] = value
	}
	records := make([]meta.Record, 0, len(altered)+len(removed))
	for _, c := range slices.Concat(altered, removed) {
		if e := checkSpecial(im, c); e != nil {
			return nil, e
		}
		switch {
		case c.Value == nil:
			delete(values, c.Name)
		case utf16Length(*c.Value) > math.MaxInt16:
			return nil, errorf(CodeInvalidConfig, "The configuration value cannot be added because it exceeds the maximum value size of %d bytes.", math.MaxInt16)
		default:
			values[c.Name] = *c.Value
		}
		records = append(records, c)
	}
	if e := checkResource(r); e != nil {
		return nil, e
	}
	if k.c.ValidateConfig != nil {
		if err := k.c.ValidateConfig(r, values, current); err != nil {
			return nil, asError(err, CodeInvalidConfig)
		}
	}
	if !created {
		if e := k.checkExists(im, r); e != nil {
			return nil, e
		}
	}
	return records, nil
}

func elrEnabled(im *meta.Image) bool { return im.Features[meta.EligibleLeaderReplicasFeature] > 0 }

// checkSpecial refuses changes of min.insync.replicas that eligible leader replicas forbid, and cordoned directories where the
// metadata.version has none.
func checkSpecial(im *meta.Image, c *meta.ConfigRecord) *Error {
	broker := c.ResourceType == meta.ResourceBroker
	switch {
	case c.Name == minInSyncReplicas && broker && c.ResourceName != "" && elrEnabled(im):
		return &Error{CodeInvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled."}
	case c.Name == minInSyncReplicas && broker && c.Value == nil && elrEnabled(im):
		return &Error{CodeInvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."}
	case c.Name == cordonedLogDirs && broker && im.MetadataVersion() < cordonedVersion:
		return &Error{CodeInvalidConfig, "The cordoned.log.dirs configuration value cannot be set because it requires metadata.version >= 4.3-IV0"}
	}
	return nil
}

// checkResource checks the resource's type and name (ControllerConfigurationValidator).
func checkResource(r meta.ConfigResource) *Error {
	switch r.Type {
	case meta.ResourceTopic:
		if r.Name == "" {
			return &Error{CodeInvalidRequest, "Default topic resources are not allowed."}
		}
		return ValidateTopicName(r.Name)
	case meta.ResourceBroker:
		if r.Name == "" {
			return nil
		}
		id, err := strconv.ParseInt(r.Name, 10, 32)
		if err != nil {
			return &Error{CodeInvalidRequest, "Unable to parse broker name as a base 10 number."}
		}
		if id < 0 {
			return &Error{CodeInvalidRequest, "Invalid negative broker ID."}
		}
	case meta.ResourceGroup:
		if r.Name == "" {
			return &Error{CodeInvalidRequest, "Default group resources are not allowed."}
		}
	case meta.ResourceClientMetrics:
	default:
		return errorf(CodeInvalidRequest, "Unknown resource type %d", r.Type)
	}
	return nil
}

// checkExists refuses configs of topics and nodes that do not exist (QuorumController.ConfigResourceExistenceChecker).
func (k *Controller) checkExists(im *meta.Image, r meta.ConfigResource) *Error {
	switch {
	case r.Type == meta.ResourceTopic && im.Topic(r.Name) == nil:
		return errorf(CodeUnknownTopicOrPartition, "The topic '%s' does not exist.", r.Name)
	case r.Type == meta.ResourceBroker && r.Name != "":
		id, err := strconv.ParseInt(r.Name, 10, 32)
		if err != nil {
			return errorf(CodeInvalidRequest, "Invalid broker name %s", r.Name)
		}
		if im.Brokers[int32(id)] == nil && im.Controllers[int32(id)] == nil && int32(id) != k.c.NodeID {
			return errorf(CodeBrokerIDNotRegistered, "No node with id %d found.", id)
		}
	}
	return nil
}

// clearElr returns what changes of min.insync.replicas entail: eligible leader replicas were counted against the old value.
func clearElr(im *meta.Image, records []meta.Record) []meta.Record {
	if !elrEnabled(im) {
		return nil
	}
	var out []meta.Record
	for _, r := range records {
		if c, ok := r.(*meta.ConfigRecord); ok && c.Name == minInSyncReplicas {
			rec := &meta.ClearElrRecord{}
			if c.ResourceType == meta.ResourceTopic {
				rec.TopicName = c.ResourceName
			}
			out = append(out, rec)
		}
	}
	return out
}
