package channel

import (
	"context"
	"errors"
	"net"
	"net/url"
	"time"
)

// Together half a second: what a restart of the server takes, and not what a user who waits notices.
var pauses = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond}

// lostError is a try that got no answer. sent: something of the request may have left.
type lostError struct {
	err  error
	sent bool
}

func newLostError(err error) *lostError {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the address, which names the client id
	}
	var dial *net.OpError
	return &lostError{err, !(errors.As(err, &dial) && dial.Op == "dial")}
}

func (l *lostError) Error() string { return l.err.Error() }

// reason is what the caller is told: that its own context ended, or what went wrong.
func (l *lostError) reason(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if errors.Is(l.err, context.DeadlineExceeded) {
		return errNoAnswer
	}
	return l.err
}

// errNoAnswer is not that of a context: the one of the caller has not ended.
var errNoAnswer = errors.New("no answer in time")

// pause waits, and tells whether the context still lasts.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
