package quota

import "math"

// windows are how a meter divides time: quota.window.num samples of quota.window.size.seconds each.
type windows struct {
	samples int
	ms      int64
}

// span is how long an amount is remembered.
func (w windows) span() int64 { return int64(w.samples) * w.ms }

// sample is what was used in one window.
type sample struct {
	start, last int64 // ms
	value       float64
}

// rate is an amount per second over the last windows, as Kafka's Rate over a WindowedSum measures it. The zero value is empty.
type rate struct {
	samples []sample // a ring of one more than windows.samples
	current int
}

// record adds an amount, which may be negative to take one back.
func (r *rate) record(w windows, value float64, now int64) {
	s := r.now(now)
	if now-s.start >= w.ms {
		s = r.advance(w, now)
	}
	s.value += value
	s.last = now
}

func (r *rate) now(now int64) *sample {
	if len(r.samples) == 0 {
		r.samples = append(r.samples, sample{start: now, last: now})
	}
	return &r.samples[r.current]
}

func (r *rate) advance(w windows, now int64) *sample {
	r.current = (r.current + 1) % (w.samples + 1)
	if r.current >= len(r.samples) {
		r.samples = append(r.samples, sample{})
	}
	r.samples[r.current] = sample{start: now, last: now}
	return &r.samples[r.current]
}

// measure returns the amount per second, and the milliseconds it was measured over.
func (r *rate) measure(w windows, now int64) (perSecond float64, over int64) {
	oldest, total := r.now(now).start, 0.0
	for i := range r.samples {
		if s := &r.samples[i]; now-s.last >= w.span() {
			*s = sample{start: now, last: now}
		}
	}
	for i := range r.samples {
		total += r.samples[i].value
		if i == 0 || r.samples[i].start < oldest {
			oldest = r.samples[i].start
		}
	}
	// A meter that is younger than its windows counts as if it had been silent before, so that the first amounts do not look like a
	// torrent.
	over = now - oldest
	if full, least := over/w.ms, int64(w.samples-1); full < least {
		over += (least - full) * w.ms
	}
	over = max(over, 1)
	return total / (float64(over) / 1000), over
}

// excess is how many milliseconds without any amount bring the rate down to limit; 0 while it is not above.
func (r *rate) excess(w windows, limit float64, now int64) int64 {
	perSecond, over := r.measure(w, now)
	if perSecond <= limit {
		return 0
	}
	return pause((perSecond - limit) / limit * float64(over))
}

// silent reports whether nothing is remembered any more.
func (r *rate) silent(w windows, now int64) bool {
	for i := range r.samples {
		if s := &r.samples[i]; s.value != 0 && now-s.last < w.span() {
			return false
		}
	}
	return true
}

// maxPauseMs is what Kafka's throttle_time_ms, an int32, can say.
const maxPauseMs = math.MaxInt32

func pause(ms float64) int64 {
	if ms >= maxPauseMs {
		return maxPauseMs
	}
	return int64(math.Round(ms))
}

// bucket is Kafka's TokenBucket: it fills by limit a second up to what limit gives in all windows, and may be taken from below
// zero. The zero value is full.
type bucket struct {
	used   bool
	tokens float64
	last   int64 // ms
}

func (b *bucket) refill(w windows, limit float64, now int64) {
	burst := limit * float64(w.span()) / 1000
	if !b.used {
		b.used, b.tokens, b.last = true, burst, now
		return
	}
	b.tokens = min(burst, b.tokens+limit*float64(now-b.last)/1000)
	b.last = now
}

func (b *bucket) take(w windows, limit, n float64, now int64) {
	b.refill(w, limit, now)
	b.tokens = min(b.tokens-n, limit*float64(w.span())/1000)
}

// debt is how many milliseconds it takes until the bucket is not below zero; 0 while it is not.
func (b *bucket) debt(w windows, limit float64, now int64) int64 {
	b.refill(w, limit, now)
	if b.tokens >= 0 {
		return 0
	}
	return pause(-b.tokens / limit * 1000)
}
