package channel

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Policy says who receives when several pages of one client id are open (contract, G7).
type Policy string

// The policies.
const (
	Replace Policy = "replace" // the newest page
	Reject  Policy = "reject"  // the page that holds the place, if it answers
	Share   Policy = "share"   // every page
)

// A CreateOption says how a channel is made.
type CreateOption func(form url.Values)

// Duration is how long the token lasts: whole minutes, from one to 1440.
func Duration(life time.Duration) CreateOption {
	return func(form url.Values) { form.Set("duration_minutes", number(life.Minutes())) }
}

// WithPolicy says who receives when several pages are open. The newest token's policy is the channel's.
func WithPolicy(policy Policy) CreateOption {
	return func(form url.Values) { form.Set("policy", string(policy)) }
}

// A SendOption says how one message is sent.
type SendOption func(*sendOptions)

type sendOptions struct {
	query  url.Values
	header http.Header
	keyed  bool
	key    string
	wait   time.Duration
}

// IdempotencyKey names a send: one that is repeated with the same key, 1 to 255 printable ASCII characters without
// spaces, takes effect once, within ten minutes. Only a send with a key is made again when its answer got lost.
func IdempotencyKey(key string) SendOption {
	return func(options *sendOptions) {
		options.keyed, options.key = true, key
		options.header.Set("Idempotency-Key", key)
	}
}

// TTL is how long the message is kept for a page that is away, in place of the server's retention.
func TTL(life time.Duration) SendOption {
	return func(options *sendOptions) { options.query.Set("ttl", number(life.Seconds())) }
}

// Wait lets the answer wait, for so long at most (30 seconds or less), until a page has acknowledged the message: its
// status is then [Delivered].
func Wait(limit time.Duration) SendOption {
	return func(options *sendOptions) {
		options.wait = limit
		options.query.Set("wait", number(limit.Seconds()))
	}
}

func number(value float64) string {
	return strconv.FormatFloat(value, 'f', -1, 64)
}

// isKey tells whether key is one that a header carries unaltered.
func isKey(key string) bool {
	for _, character := range []byte(key) {
		if character <= ' ' || character > '~' {
			return false
		}
	}
	return 1 <= len(key) && len(key) <= 255
}
