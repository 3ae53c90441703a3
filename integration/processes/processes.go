// Package processes keeps what the processes write that tests start, and waits for them.
package processes

import (
	"bytes"
	"context"
	"sync"
	"time"
)

const pollInterval = 5 * time.Millisecond

// Until repeats what fails until it succeeds or the context has ended.
func Until(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// Output collects what a process writes while the test may read it. The zero value keeps
// everything.
type Output struct {
	// Limit is how many bytes of the end are kept at least. 0 is no limit.
	Limit int

	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if extra := o.buf.Len() - o.Limit; o.Limit > 0 && extra > o.Limit {
		o.buf.Next(extra)
	}
	return len(p), nil
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
