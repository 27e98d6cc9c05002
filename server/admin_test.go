package server_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const loggerKind, metricsKind, groupKind kmsg.ConfigResourceType = 8, 16, 32

// finalized are the features that ApiVersions tells.
func (p *peer) finalized() map[string]int16 {
	p.t.Helper()
	r := kmsg.NewPtrApiVersionsRequest()
	r.Version, r.ClientSoftwareName, r.ClientSoftwareVersion = 4, "test", "1"
	out := map[string]int16{}
	for _, f := range asked[*kmsg.ApiVersionsResponse](p, r).FinalizedFeatures {
		out[f.Name] = f.MaxVersionLevel
	}
	return out
}

func TestUpdateFeatures(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	update := func(version int16, dry bool, name string, level int16, kind int8) *kmsg.UpdateFeaturesResponse {
		t.Helper()
		r := kmsg.NewPtrUpdateFeaturesRequest()
		r.Version, r.ValidateOnly = version, dry
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType = name, level, kind
		r.FeatureUpdates = append(r.FeatureUpdates, f)
		return asked[*kmsg.UpdateFeaturesResponse](p, r)
	}
	if got := p.finalized(); got["transaction.version"] != 2 || got["group.version"] != 1 || got["metadata.version"] != 30 {
		t.Fatalf("a new cluster has %v", got)
	}
	if r := update(2, true, "transaction.version", 0, 2); r.ErrorCode != 0 || p.finalized()["transaction.version"] != 2 {
		t.Errorf("a dry run: %+v, %v", r, p.finalized())
	}
	if r := update(1, false, "transaction.version", 0, 2); r.ErrorCode != 0 || len(r.Results) != 1 || r.Results[0].Feature != "transaction.version" {
		t.Errorf("%+v", r)
	}
	if _, ok := p.finalized()["transaction.version"]; ok {
		t.Error("a feature that was turned off is finalized")
	}
	if r := update(2, false, "transaction.version", 1, 1); r.ErrorCode != 0 || r.Results != nil || p.finalized()["transaction.version"] != 1 {
		t.Errorf("%+v, %v", r, p.finalized())
	}
	r := update(2, false, "group.version", 0, 1)
	if want := "The update failed for all features since the following feature had an error: Invalid update version 0 for feature group.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."; r.ErrorCode != 95 || r.ErrorMessage == nil || *r.ErrorMessage != want {
		t.Errorf("%+v", r)
	}
}

func TestElectionsAndReassignments(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	p.createTopic("t", 2)
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Version = 2
	all := asked[*kmsg.ElectLeadersResponse](p, elect)
	if all.ErrorCode != 0 || !slices.ContainsFunc(all.Topics, func(x kmsg.ElectLeadersResponseTopic) bool { return x.Topic == "t" && len(x.Partitions) == 0 }) {
		t.Errorf("of all topics: %+v", all)
	}
	topic := kmsg.NewElectLeadersRequestTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 9}
	elect.Topics = append(elect.Topics, topic)
	if got := asked[*kmsg.ElectLeadersResponse](p, elect).Topics[0].Partitions; got[0].ErrorCode != 84 || got[1].ErrorCode != 3 {
		t.Errorf("%+v", got)
	}
	elect.ElectionType = 7
	if got := asked[*kmsg.ElectLeadersResponse](p, elect); got.ErrorCode != 42 || got.Topics[0].Partitions[1].ErrorCode != 42 {
		t.Errorf("%+v", got)
	}

	alter := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	alter.Version = 1
	to := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	to.Topic = "t"
	for i, replicas := range [][]int32{{1}, nil, {1, 2}, {}} {
		x := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		x.Partition, x.Replicas = int32(i%2), replicas
		to.Partitions = append(to.Partitions, x)
	}
	alter.Topics = append(alter.Topics, to)
	var codes []int16
	for _, x := range asked[*kmsg.AlterPartitionAssignmentsResponse](p, alter).Topics[0].Partitions {
		codes = append(codes, x.ErrorCode)
	}
	if want := []int16{0, 85, 39, 39}; !slices.Equal(codes, want) {
		t.Errorf("codes %v, expected %v", codes, want)
	}
	if got := asked[*kmsg.ListPartitionReassignmentsResponse](p, kmsg.NewPtrListPartitionReassignmentsRequest()); got.ErrorCode != 0 || len(got.Topics) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestDescribeQuorumAndVoters(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	r := kmsg.NewPtrDescribeQuorumRequest()
	r.Version = 2
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	r.Topics = append(r.Topics, topic)
	resp := asked[*kmsg.DescribeQuorumResponse](p, r)
	got := resp.Topics[0].Partitions[0]
	if got.ErrorCode != 0 || got.LeaderID != 1 || got.HighWatermark <= 0 || len(got.CurrentVoters) != 1 || len(got.Observers) != 0 {
		t.Fatalf("%+v", got)
	}
	voter := got.CurrentVoters[0]
	if voter.ReplicaID != 1 || voter.ReplicaDirectoryID == [16]byte{} || voter.LogEndOffset != got.HighWatermark || voter.LastFetchTimestamp <= 0 {
		t.Errorf("%+v", voter)
	}
	if len(resp.Nodes) != 1 || resp.Nodes[0].NodeID != 1 {
		t.Errorf("%+v", resp.Nodes)
	}
	before := got.HighWatermark
	p.createTopic("more", 1)
	if after := asked[*kmsg.DescribeQuorumResponse](p, r).Topics[0].Partitions[0].HighWatermark; after <= before {
		t.Errorf("the high watermark went from %d to %d", before, after)
	}
	remove := kmsg.NewPtrRemoveRaftVoterRequest()
	remove.VoterID, remove.VoterDirectoryID = 1, voter.ReplicaDirectoryID
	if got := asked[*kmsg.RemoveRaftVoterResponse](p, remove); got.ErrorCode != 127 {
		t.Errorf("the only voter: %+v", got)
	}
	add := kmsg.NewPtrAddRaftVoterRequest()
	add.Version, add.VoterID, add.VoterDirectoryID = 1, 1, voter.ReplicaDirectoryID
	if got := asked[*kmsg.AddRaftVoterResponse](p, add); got.ErrorCode == 0 {
		t.Errorf("a voter was added: %+v", got)
	}
	unregister := kmsg.NewPtrUnregisterBrokerRequest()
	for id, code := range map[int32]int16{1: 42, 2: 102} {
		unregister.BrokerID = id
		if got := asked[*kmsg.UnregisterBrokerResponse](p, unregister); got.ErrorCode != code {
			t.Errorf("unregistering %d: %+v", id, got)
		}
	}
}

func TestListConfigResources(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	p.createTopic("t", 1)
	p.alter(groupKind, "g", "consumer.session.timeout.ms", "50000")
	p.alter(metricsKind, "m", "interval.ms", "1000")
	list := func(version int16, kinds ...int8) (names []string, code int16) {
		t.Helper()
		r := kmsg.NewPtrListConfigResourcesRequest()
		r.Version, r.ResourceTypes = version, kinds
		resp := asked[*kmsg.ListConfigResourcesResponse](p, r)
		for _, c := range resp.ConfigResources {
			names = append(names, fmt.Sprintf("%d:%s", c.Type, c.Name))
		}
		return names, resp.ErrorCode
	}
	if got, _ := list(1); !slices.Equal(got, []string{"32:g", "16:m", "8:1", "4:1", "2:t"}) {
		t.Errorf("all: %v", got)
	}
	if got, _ := list(0); !slices.Equal(got, []string{"16:m"}) {
		t.Errorf("version 0: %v", got)
	}
	if got, code := list(1, 2, 64); got != nil || code != 35 {
		t.Errorf("unknown kind: %v, %d", got, code)
	}
	p.alter(groupKind, "g", "consumer.session.timeout.ms", "-")
	if got, _ := list(1, 32); got != nil {
		t.Errorf("without configs: %v", got)
	}
}

func TestScramCredentials(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	alter := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = "u", 2, 8192, []byte("salt"), []byte("salted")
	alter.Upsertions = append(alter.Upsertions, u)
	if got := asked[*kmsg.AlterUserSCRAMCredentialsResponse](p, alter).Results; len(got) != 1 || got[0].ErrorCode != 0 {
		t.Fatalf("%+v", got)
	}
	describe := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	got := asked[*kmsg.DescribeUserSCRAMCredentialsResponse](p, describe).Results
	if len(got) != 1 || got[0].User != "u" || len(got[0].CredentialInfos) != 1 || got[0].CredentialInfos[0].Iterations != 8192 || got[0].CredentialInfos[0].Mechanism != 2 {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"nobody", "u", "u"} {
		x := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
		x.Name = name
		describe.Users = append(describe.Users, x)
	}
	got = asked[*kmsg.DescribeUserSCRAMCredentialsResponse](p, describe).Results
	if len(got) != 2 || got[0].ErrorCode != 91 || got[1].ErrorCode != 92 || got[1].CredentialInfos != nil {
		t.Errorf("%+v", got)
	}
}

func TestLoggers(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	level := func() string {
		t.Helper()
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.Version = 4
		x := kmsg.NewDescribeConfigsRequestResource()
		x.ResourceType, x.ResourceName = loggerKind, "1"
		r.Resources = append(r.Resources, x)
		configs := asked[*kmsg.DescribeConfigsResponse](p, r).Resources[0].Configs
		if len(configs) != 1 || configs[0].Name != "root" || configs[0].Source != 6 {
			t.Fatalf("%+v", configs)
		}
		return *configs[0].Value
	}
	if got := level(); got != "INFO" {
		t.Errorf("at first %s", got)
	}
	p.alter(loggerKind, "1", "root", "TRACE")
	if got := level(); got != "TRACE" {
		t.Errorf("after the change %s", got)
	}
	for _, c := range []struct {
		name, value string
		op          kmsg.IncrementalAlterConfigOp
		code        int16
	}{{"root", "loud", 0, 40}, {"kafka.server", "INFO", 0, 40}, {"root", "", 1, 42}, {"root", "INFO", 2, 42}} {
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r.Version = 1
		x := kmsg.NewIncrementalAlterConfigsRequestResource()
		x.ResourceType, x.ResourceName = loggerKind, "1"
		o := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		o.Name, o.Op, o.Value = c.name, c.op, &c.value
		x.Configs = append(x.Configs, o)
		r.Resources = append(r.Resources, x)
		if got := asked[*kmsg.IncrementalAlterConfigsResponse](p, r).Resources[0]; got.ErrorCode != c.code {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}
