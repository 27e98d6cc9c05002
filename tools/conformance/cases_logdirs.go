package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// oneDirectory puts what the data directories of a broker have into the first: which one has what is chance.
func oneDirectory(r *kmsg.DescribeLogDirsResponse) {
	for i := range r.Dirs {
		if i == 0 {
			continue
		}
		for _, t := range r.Dirs[i].Topics {
			at := slices.IndexFunc(r.Dirs[0].Topics, func(x kmsg.DescribeLogDirsResponseDirTopic) bool { return x.Topic == t.Topic })
			if at < 0 {
				r.Dirs[0].Topics = append(r.Dirs[0].Topics, t)
				continue
			}
			x := &r.Dirs[0].Topics[at]
			x.Partitions = append(x.Partitions, t.Partitions...)
			slices.SortFunc(x.Partitions, func(a, b kmsg.DescribeLogDirsResponseDirTopicPartition) int { return int(a.Partition - b.Partition) })
		}
		r.Dirs[i].Topics = nil
	}
}

// logDirs are a broker's data directories; which one is which differs, so that they are told by what they have.
func (b *broker) logDirs(topic string) (dirs []kmsg.DescribeLogDirsResponseDir) {
	r := kmsg.NewPtrDescribeLogDirsRequest()
	r.SetVersion(5)
	t := kmsg.NewDescribeLogDirsRequestTopic()
	t.Topic, t.Partitions = topic, []int32{0, 1}
	r.Topics = append(r.Topics, t)
	if resp, _ := b.ask(r).(*kmsg.DescribeLogDirsResponse); resp != nil {
		return resp.Dirs
	}
	return nil
}

// replica is what a data directory says of partition 0.
func replica(d kmsg.DescribeLogDirsResponseDir) (p kmsg.DescribeLogDirsResponseDirTopicPartition, ok bool) {
	for _, t := range d.Topics {
		for _, p := range t.Partitions {
			if p.Partition == 0 {
				return p, true
			}
		}
	}
	return p, false
}

// home is the directory that has partition 0, and those that have not.
func (b *broker) home(topic string) (dir string, others []string) {
	for _, d := range b.logDirs(topic) {
		if p, ok := replica(d); ok && !p.IsFuture {
			dir = d.Dir
		} else {
			others = append(others, d.Dir)
		}
	}
	return dir, others
}

// moves says where partition 0 is and goes, by names that were given before.
func (b *broker) moves(label, topic string, names map[string]string) {
	var said []string
	for _, d := range b.logDirs(topic) {
		p, ok := replica(d)
		switch {
		case !ok:
		case p.IsFuture:
			said = append(said, fmt.Sprintf("future in %s, behind %v", names[d.Dir], p.OffsetLag > 0))
		default:
			said = append(said, fmt.Sprintf("in %s, %d bytes, lag %d", names[d.Dir], p.Size, p.OffsetLag))
		}
	}
	slices.Sort(said)
	b.said(label, 5, strings.Join(said, "; "))
}

// arrived waits until partition 0 is nowhere on its way.
func (b *broker) arrived(topic string) {
	for range 100 {
		future := false
		for _, d := range b.logDirs(topic) {
			p, ok := replica(d)
			future = future || ok && p.IsFuture
		}
		if !future {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// setBroker changes a config of the broker, "" takes it back.
func (b *broker) setBroker(name, value string) {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r.SetVersion(1)
	x := kmsg.NewIncrementalAlterConfigsRequestResource()
	x.ResourceType, x.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	if value == "" {
		c.Op, c.Value = kmsg.IncrementalAlterConfigOpDelete, nil
	}
	x.Configs = append(x.Configs, c)
	r.Resources = append(r.Resources, x)
	b.do(name, r)
	b.settleConfigs()
}

// large is a batch of nearly a megabyte.
func large() batch.Batch {
	x := batch.NewBuilder(codec.None)
	x.Append(now, nil, make([]byte, 900_000))
	return x.Bytes()
}

func alterReplicaLogDirs(b *broker) {
	name, _ := b.create("d", 2, "max.message.bytes", "2000000")
	b.append(name, 0, records(5))
	dir, others := b.home(name)
	if len(others) < 2 {
		b.said("directories", 0, "needs three log.dirs")
		return
	}
	names := map[string]string{dir: "the first", others[0]: "the second", others[1]: "the third"}
	topic := func(name string, partitions ...int32) kmsg.AlterReplicaLogDirsRequestDirTopic {
		t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
		t.Topic, t.Partitions = name, partitions
		return t
	}
	to := func(dir string, topics ...kmsg.AlterReplicaLogDirsRequestDirTopic) kmsg.AlterReplicaLogDirsRequestDir {
		d := kmsg.NewAlterReplicaLogDirsRequestDir()
		d.Dir, d.Topics = dir, topics
		return d
	}
	send := func(v int16, label string, dirs ...kmsg.AlterReplicaLogDirsRequestDir) {
		r := kmsg.NewPtrAlterReplicaLogDirsRequest()
		r.SetVersion(v)
		r.Dirs = dirs
		b.do(label, r)
	}
	for v := int16(1); v <= 2; v++ {
		send(v, "nothing")
		send(v, "no topics", to(dir))
		send(v, "no partitions", to(dir, topic(name)))
		send(v, "where it is", to(dir, topic(name, 0)))
		send(v, "no such directory", to("/no/such/directory", topic(name, 0)))
		send(v, "not absolute", to("d1", topic(name, 0)))
		send(v, "with a slash", to(dir+"/", topic(name, 0)))
		send(v, "unknown partition", to(dir, topic(name, 9)))
		send(v, "negative partition", to(dir, topic(name, -1)))
		send(v, "unknown topic", to(dir, topic(b.prefix+"missing", 0)))
		send(v, "bad topic", to(dir, topic("a b", 0)))
		send(v, "empty names", to("", topic("", 0)))
		long := b.prefix
		for len(long) < 220 {
			long += "x"
		}
		send(v, "a long topic", to(dir, topic(long, 0)))
		send(v, "twice, last where it is", to(others[0], topic(name, 0)), to(dir, topic(name, 0)))
		b.moves("after these", name, names)
		send(v, "away", to(others[0], topic(name, 0)))
		b.arrived(name)
		b.moves("arrived", name, names)
		send(v, "back", to(dir, topic(name, 0)))
		b.arrived(name)
		b.moves("came back", name, names)
	}
	// So slow that it does not arrive; more than one fetch of Kafka's copying thread.
	b.setBroker("replica.alter.log.dirs.io.max.bytes.per.second", "1000")
	for range 4 {
		b.append(name, 0, large())
	}
	b.moves("before", name, names)
	send(2, "slowly", to(others[0], topic(name, 0)))
	time.Sleep(time.Second)
	b.moves("on its way", name, names)
	send(2, "the same again", to(others[0], topic(name, 0)))
	b.moves("still on its way", name, names)
	send(2, "elsewhere", to(others[1], topic(name, 0)))
	b.moves("on its way elsewhere", name, names)
	send(2, "not at all", to(dir, topic(name, 0)))
	b.moves("taken back", name, names)
	b.setBroker("replica.alter.log.dirs.io.max.bytes.per.second", "")
	send(2, "at once", to(others[1], topic(name, 0)))
	b.arrived(name)
	b.moves("arrived elsewhere", name, names)
	b.setBroker("cordoned.log.dirs", others[0])
	send(2, "to a cordoned directory", to(others[0], topic(name, 0)))
	found := ""
	for _, d := range b.logDirs(name) {
		if d.IsCordoned {
			found += names[d.Dir]
		}
	}
	b.said("cordoned", 5, found)
	b.setBroker("cordoned.log.dirs", "*")
	time.Sleep(3 * time.Second) // a heartbeat of Kafka's broker tells its controller
	create := func(label string) {
		r := kmsg.NewPtrCreateTopicsRequest()
		r.SetVersion(7)
		r.TimeoutMillis = 10_000
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = b.prefix+"nowhere", 1, 1
		r.Topics = append(r.Topics, t)
		b.do(label, r)
	}
	create("with every directory cordoned")
	b.setBroker("cordoned.log.dirs", "")
	time.Sleep(3 * time.Second)
	create("with none cordoned")
}
