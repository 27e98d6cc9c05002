package assign

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

func topic(i int) (id TopicID) {
	binary.BigEndian.PutUint64(id[8:], uint64(i+1))
	return id
}

// kafkaCase is a line of testdata/kafka-4.3.1-assignments.jsonl: what the assignor classes of Kafka 4.3.1 made of random groups whose members
// and topics were given in order, each a step after another.
type kafkaCase struct {
	Assignor    string
	Homogeneous bool
	Topics      []int32
	Members     []struct {
		ID, Instance  string
		Topics        []int
		Before, After map[int][]int32
	}
}

func assignment(m map[int][]int32) Assignment {
	var list []TopicPartitions
	for t, p := range m {
		list = append(list, TopicPartitions{topic(t), p})
	}
	return New(list)
}

func TestKafka(t *testing.T) {
	f, err := os.Open("testdata/kafka-4.3.1-assignments.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var c kafkaCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		g := Group{Homogeneous: c.Homogeneous, Partitions: func(id TopicID) int32 { return c.Topics[binary.BigEndian.Uint64(id[8:])-1] }}
		for _, m := range c.Members {
			var subscribed []TopicID
			for _, i := range m.Topics {
				subscribed = append(subscribed, topic(i))
			}
			g.Members = append(g.Members, Member{ID: m.ID, InstanceID: m.Instance, Topics: subscribed, Target: assignment(m.Before)})
		}
		got := Named(c.Assignor)(g)
		for i, m := range c.Members {
			if want := assignment(m.After); !got[i].Equal(want) {
				t.Fatalf("line %d: %s\nmember %s gets\n%v, of Kafka\n%v", n+1, lines.Bytes(), m.ID, got[i], want)
			}
		}
	}
	if lines.Err() != nil || n == 0 {
		t.Fatal(n, lines.Err())
	}
}

// world is a random group that changes step by step.
type world struct {
	r      *rand.Rand
	counts []int32
	g      Group
	next   int
}

func newWorld(seed uint64, homogeneous bool) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 1)), counts: make([]int32, 8)}
	for i := range w.counts {
		w.counts[i] = w.r.Int32N(20)
	}
	w.g.Homogeneous = homogeneous
	w.g.Partitions = func(id TopicID) int32 { return w.counts[binary.BigEndian.Uint64(id[8:])-1] }
	for range 1 + w.r.IntN(12) {
		w.join()
	}
	return w
}

func (w *world) subscription() (s []TopicID) {
	if w.g.Homogeneous && len(w.g.Members) > 0 {
		return w.g.Members[0].Topics
	}
	for i := range w.counts {
		if w.r.IntN(3) > 0 {
			s = append(s, topic(i))
		}
	}
	return s
}

func (w *world) join() {
	w.next++
	m := Member{ID: fmt.Sprintf("%d-%d", w.r.IntN(100), w.next), Topics: w.subscription()}
	if w.r.IntN(4) == 0 {
		m.InstanceID = fmt.Sprint("instance-", w.next)
	}
	w.g.Members = append(w.g.Members, m)
}

func (w *world) change() {
	switch w.r.IntN(4) {
	case 0:
		w.join()
	case 1:
		if n := len(w.g.Members); n > 1 {
			i := w.r.IntN(n)
			w.g.Members = slices.Delete(w.g.Members, i, i+1)
		}
	case 2:
		w.counts[w.r.IntN(len(w.counts))] += w.r.Int32N(4)
	case 3:
		s := w.r.IntN(len(w.counts))
		if w.g.Homogeneous {
			all := slices.DeleteFunc(slices.Clone(w.g.Members[0].Topics), func(id TopicID) bool { return id == topic(s) })
			for i := range w.g.Members {
				w.g.Members[i].Topics = all
			}
			return
		}
		i := w.r.IntN(len(w.g.Members))
		w.g.Members[i].Topics = w.subscription()
	}
	w.r.Shuffle(len(w.g.Members), func(i, j int) { w.g.Members[i], w.g.Members[j] = w.g.Members[j], w.g.Members[i] })
}

// check proves that every partition of a subscribed topic has exactly one owner, which subscribes to it.
func (w *world) check(t *testing.T, out []Assignment) {
	owner := map[TopicID][]int{}
	want := map[TopicID]bool{}
	for i, m := range w.g.Members {
		for _, id := range m.Topics {
			want[id] = w.counts[binary.BigEndian.Uint64(id[8:])-1] > 0
		}
		if !slices.IsSortedFunc(out[i], func(x, y TopicPartitions) int { return compareTopic(x, y.Topic) }) {
			t.Fatalf("member %s: topics out of order: %v", m.ID, out[i])
		}
		for _, tp := range out[i] {
			if !slices.Contains(m.Topics, tp.Topic) {
				t.Fatalf("member %s does not subscribe to topic %x", m.ID, tp.Topic)
			}
			if len(tp.Partitions) == 0 || !slices.IsSorted(tp.Partitions) {
				t.Fatalf("member %s: partitions %v", m.ID, tp.Partitions)
			}
			for _, p := range tp.Partitions {
				o := owner[tp.Topic]
				if o == nil {
					o = make([]int, w.g.Partitions(tp.Topic))
					owner[tp.Topic] = o
				}
				if o[p]++; o[p] > 1 {
					t.Fatalf("partition %d of %x has two owners", p, tp.Topic)
				}
			}
		}
	}
	for id, some := range want {
		if some && slices.Contains(owner[id], 0) || some && owner[id] == nil {
			t.Fatalf("topic %x: partitions without an owner: %v", id, owner[id])
		}
	}
}

func TestProperties(t *testing.T) {
	for seed := range uint64(400) {
		for _, name := range []string{"uniform", "range"} {
			w := newWorld(seed, seed%2 == 0)
			for range 12 {
				out := Named(name)(w.g)
				w.check(t, out)
				if name == "uniform" && w.g.Homogeneous {
					w.even(t, out)
				}
				again := slices.Clone(out)
				for i := range w.g.Members {
					w.g.Members[i].Target = out[i]
				}
				for i, a := range Named(name)(w.g) {
					if w.g.Homogeneous && !a.Equal(again[i]) {
						t.Fatalf("seed %d: %s moves partitions of a group that did not change", seed, name)
					}
				}
				w.change()
			}
		}
	}
}

// even proves balance, and that no partition moved without need: as many stay as any balanced assignment lets stay.
func (w *world) even(t *testing.T, out []Assignment) {
	total := 0
	sizes := make([]int, len(out))
	for i, a := range out {
		sizes[i] = a.Len()
		total += sizes[i]
	}
	if slices.Max(sizes)-slices.Min(sizes) > 1 {
		t.Fatalf("sizes %v", sizes)
	}
	least, extra := total/len(out), total%len(out)
	stayed, could := 0, 0
	for i, m := range w.g.Members {
		valid := 0
		for _, tp := range m.Target {
			for _, p := range tp.Partitions {
				if slices.Contains(m.Topics, tp.Topic) {
					valid++
				}
				if out[i].Has(tp.Topic, p) {
					stayed++
				}
			}
		}
		switch {
		case valid > least && extra > 0:
			extra--
			could += least + 1
		default:
			could += min(valid, least)
		}
	}
	if stayed != could {
		t.Fatalf("%d partitions stayed, %d could have", stayed, could)
	}
}

// TestOverlap: a log may claim one partition for two members; one of them keeps it.
func TestOverlap(t *testing.T) {
	for _, homogeneous := range []bool{true, false} {
		both := Assignment{{topic(0), []int32{0, 1, 7}}}
		g := Group{Homogeneous: homogeneous, Partitions: func(TopicID) int32 { return 2 }, Members: []Member{
			{ID: "a", Topics: []TopicID{topic(0)}, Target: both}, {ID: "b", Topics: []TopicID{topic(0)}, Target: both},
		}}
		out := Uniform(g)
		if out[0].Len() != 1 || out[1].Len() != 1 || out[0].Has(topic(0), 1) == out[1].Has(topic(0), 1) {
			t.Errorf("homogeneous %v: %v", homogeneous, out)
		}
	}
}

func TestEmpty(t *testing.T) {
	if Uniform(Group{}) != nil || len(Range(Group{})) != 0 || Named("sticky") != nil {
		t.Error("assignments of nobody")
	}
	for _, homogeneous := range []bool{true, false} {
		g := Group{Members: []Member{{ID: "a"}}, Homogeneous: homogeneous, Partitions: func(TopicID) int32 { return 1 }}
		if out := Uniform(g); len(out) != 1 || len(out[0]) != 0 {
			t.Error(out)
		}
		if out := Range(g); len(out) != 1 || len(out[0]) != 0 {
			t.Error(out)
		}
	}
}

func TestNew(t *testing.T) {
	given := []TopicPartitions{{topic(2), []int32{3, 1}}, {topic(0), nil}, {topic(1), []int32{5}}, {topic(2), []int32{2, 3}}}
	a := New(given)
	want := Assignment{{topic(1), []int32{5}}, {topic(2), []int32{1, 2, 3}}}
	if !a.Equal(want) || a.Len() != 4 || !a.Has(topic(2), 3) || a.Has(topic(2), 4) || a.Has(topic(9), 0) {
		t.Error(a)
	}
	if !slices.Equal(given[0].Partitions, []int32{3, 1}) {
		t.Error("the list given changed")
	}
}

func BenchmarkAssign(b *testing.B) {
	const members, topics, partitions = 100, 10, 100
	for _, c := range []struct {
		name        string
		assignor    Assignor
		homogeneous bool
	}{{"uniform", Uniform, true}, {"uniform-uneven", Uniform, false}, {"range", Range, true}} {
		b.Run(c.name, func(b *testing.B) {
			g := Group{Homogeneous: c.homogeneous, Partitions: func(TopicID) int32 { return partitions }}
			for i := range members {
				m := Member{ID: fmt.Sprint("member-", i)}
				for t := range topics {
					if c.homogeneous || (i+t)%4 > 0 {
						m.Topics = append(m.Topics, topic(t))
					}
				}
				g.Members = append(g.Members, m)
			}
			for i, a := range c.assignor(g) {
				g.Members[i].Target = a
			}
			all := g.Members
			b.ReportAllocs()
			for b.Loop() {
				g.Members = all[:members-1]
				for i, a := range c.assignor(g) {
					g.Members[i].Target = a
				}
				g.Members = all
				for i, a := range c.assignor(g) {
					g.Members[i].Target = a
				}
			}
		})
	}
}
