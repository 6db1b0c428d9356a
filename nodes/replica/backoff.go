package replica

import (
	"errors"
	"time"
)

// Backoff is how long to wait before a peer is tried again.
type Backoff struct {
	// Min is the wait after the first failure; each further one doubles it, up to Max.
	Min, Max time.Duration
	// Jitter is the part of a wait that is left to chance, from 0 to 1, so that the nodes that lost one peer at the same
	// moment do not all come back at the same moment.
	Jitter float64
}

// DefaultBackoff is 200 ms to 30 s, half of it left to chance.
func DefaultBackoff() Backoff {
	return Backoff{Min: 200 * time.Millisecond, Max: 30 * time.Second, Jitter: 0.5}
}

func (b Backoff) check() error {
	if b.Min <= 0 || b.Max < b.Min || b.Jitter < 0 || b.Jitter > 1 {
		return errors.New("replica configuration: Backoff needs 0 < Min <= Max and a Jitter from 0 to 1")
	}
	return nil
}

// Delay is the wait after so many failures in a row, at least one. chance is from 0 up to, not including, 1.
func (b Backoff) Delay(failures int, chance float64) time.Duration {
	delay := b.Min
	for range failures - 1 {
		if delay >= b.Max/2 {
			delay = b.Max
			break
		}
		delay *= 2
	}
	return delay - time.Duration(float64(delay)*b.Jitter*chance)
}
