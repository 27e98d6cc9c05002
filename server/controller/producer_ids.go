package controller

import "sync"

// ProducerIDs gives out producer ids, each once, from blocks of the metadata log (ProducerIds records). Safe for
// concurrent use.
type ProducerIDs struct {
	allocate  func() (first int64, err error)
	mu        sync.Mutex
	next, end int64
	returned  []int64
}

// NewProducerIDs makes a giver of ids of a controller's blocks.
func NewProducerIDs(c *Controller) *ProducerIDs { return &ProducerIDs{allocate: c.AllocateProducerIDs} }

// Next is an id that was never given to anybody. It waits for the metadata log when a new block is needed.
func (p *ProducerIDs) Next() (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.returned); n > 0 {
		id := p.returned[n-1]
		p.returned = p.returned[:n-1]
		return id, nil
	}
	if p.next == p.end {
		first, err := p.allocate()
		if err != nil {
			return -1, err
		}
		p.next, p.end = first, first+ProducerIDBlockSize
	}
	id := p.next
	p.next++
	return id, nil
}

// Return takes back an id that nobody has seen.
func (p *ProducerIDs) Return(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returned = append(p.returned, id)
}
