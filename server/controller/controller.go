package controller

import (
	"log/slog"
	"sync"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/quorum"
)

// Config is what the controller asks the rest of the server.
type Config struct {
	NumPartitions            int32 // num.partitions
	DefaultReplicationFactor int16 // default.replication.factor
	DeleteTopicEnable        bool  // delete.topic.enable
	NodeID                   int32 // node.id

	// ValidateConfig checks all values a resource would have, overrides only, against those it has now. An error that is no *Error
	// is answered as INVALID_CONFIG. nil allows everything.
	ValidateConfig func(resource meta.ConfigResource, values, existing map[string]string) error
	// IsList says whether APPEND and SUBTRACT apply to a config. nil: to none.
	IsList func(resourceType int8, name string) bool
	// Default is the value of a config that has no override, where APPEND and SUBTRACT begin; ok is false for none. May be nil.
	Default func(resourceType int8, name string) (value string, ok bool)
	// EffectiveTopicConfigs lists the configs of a topic created with the given overrides, sorted by name, as CreateTopics answers
	// them. May be nil.
	EffectiveTopicConfigs func(im *meta.Image, overrides map[string]string) []EffectiveConfig

	Logger *slog.Logger // discards when nil
}

// EffectiveConfig is one config in the answer to CreateTopics.
type EffectiveConfig struct {
	Name      string
	Value     *string // nil: sensitive
	ReadOnly  bool
	Source    int8 // DescribeConfigs source: 1 topic, 2 broker, 3 default broker, 4 static broker, 5 default
	Sensitive bool
}

// Controller is the active controller. Safe for concurrent use.
type Controller struct {
	c      Config
	q      *quorum.Quorum
	work   chan *operation
	stop   chan struct{}
	done   chan struct{}
	closed sync.Once

	listeners sync.Mutex
	onImage   []func(old, new *meta.Image)

	names *nameIndex // of the goroutine run
}

// operation is one caller's change, decided by the goroutine run.
type operation struct {
	decide func(im *meta.Image) ([]meta.Record, error)
	answer chan error
	err    error
}

// maxRound bounds how many operations share one append.
const maxRound = 256

// New starts a controller on a quorum that it is then the only one to write to. Register listeners with OnImage before the first
// operation. Close it before the quorum.
func New(q *quorum.Quorum, c Config) *Controller {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Controller{
		c: c, q: q, work: make(chan *operation, maxRound), stop: make(chan struct{}), done: make(chan struct{}),
		names: newNameIndex(q.Image()),
	}
	go k.run()
	return k
}

// Image is the metadata as of the last durable change. It never blocks.
func (k *Controller) Image() *meta.Image { return k.q.Image() }

// OnImage registers a function that is told every new image, with the one before, in order and before the callers whose changes
// are in it are answered. It runs on the controller's goroutine: it must not call operations, and everything waits for it.
func (k *Controller) OnImage(f func(old, new *meta.Image)) {
	k.listeners.Lock()
	defer k.listeners.Unlock()
	k.onImage = append(k.onImage, f)
}

// Change makes a change that no other operation offers. decide gets the image to decide on and returns the records, all or none of
// which will count; it runs on the controller's goroutine and must not block or call operations. Its error is returned as it is.
// Otherwise the error is nil, when the records are durable and published, or an *Error of code KAFKA_STORAGE_ERROR or
// UNKNOWN_SERVER_ERROR.
func (k *Controller) Change(decide func(im *meta.Image) ([]meta.Record, error)) error {
	op := &operation{decide: decide, answer: make(chan error, 1)}
	select {
	case k.work <- op:
	case <-k.stop:
		return &Error{CodeKafkaStorageError, "The controller is shutting down."}
	}
	select {
	case err := <-op.answer:
		return err
	case <-k.done:
		// The goroutine answers what it took; it may have done so just before it ended.
		select {
		case err := <-op.answer:
			return err
		default:
			return &Error{CodeKafkaStorageError, "The controller is shutting down."}
		}
	}
}

// Close waits for the operations under way and refuses later ones.
func (k *Controller) Close() {
	k.closed.Do(func() { close(k.stop) })
	<-k.done
}

func (k *Controller) run() {
	defer close(k.done)
	for {
		select {
		case op := <-k.work:
			k.round(op)
		case <-k.stop:
			return
		}
	}
}

// round decides an operation and those that wait behind it, and makes them durable with one append.
func (k *Controller) round(first *operation) {
	ops := []*operation{first}
	for len(ops) < maxRound {
		select {
		case op := <-k.work:
			ops = append(ops, op)
			continue
		default:
		}
		break
	}
	k.commit(ops)
	for _, op := range ops {
		op.answer <- op.err
	}
}

func (k *Controller) commit(ops []*operation) {
	r, err := k.q.Begin()
	if err != nil {
		for _, op := range ops {
			op.err = k.storageError(err)
		}
		return
	}
	old := r.Image()
	var changed []*operation
	for _, op := range ops {
		records, err := op.decide(r.Image())
		if err != nil {
			op.err = err
			continue
		}
		if len(records) == 0 {
			continue
		}
		before := r.Image()
		if err := r.Propose(records); err != nil {
			k.c.Logger.Error("a decided change does not fit the metadata", "error", err)
			op.err = asError(err, CodeUnknownServerError)
			continue
		}
		k.names.follow(before, r.Image())
		changed = append(changed, op)
	}
	im, err := r.Commit()
	if err != nil {
		for _, op := range changed {
			op.err = k.storageError(err)
		}
		return
	}
	if im == old {
		return
	}
	k.listeners.Lock()
	listeners := k.onImage
	k.listeners.Unlock()
	for _, f := range listeners {
		f(old, im)
	}
}

func (k *Controller) storageError(err error) *Error {
	k.c.Logger.Error("a change of the metadata failed", "error", err)
	return &Error{CodeKafkaStorageError, messageStorage}
}
